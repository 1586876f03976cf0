//! Every page has one use, and a check says so whatever SQLite's own check leaves out.

use std::path::Path;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::Output;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_view_hides_no_page_from_a_check", a_view_hides_no_page_from_a_check),
        test("pages_in_the_wal_are_accounted_for", pages_in_the_wal_are_accounted_for),
        test("the_lock_page_has_no_use", the_lock_page_has_no_use),
        test(
            "more_pages_than_fit_a_signed_number_are_counted",
            more_pages_than_fit_a_signed_number_are_counted,
        ),
    ]
}

/// Tables, indexes and values of all kinds that have pages, and free pages where `auto_vacuum` leaves any.
fn make(path: &Path, page_size: u32, auto_vacuum: u32, reserved: u8) -> Connection {
    let pragmas = format!("PRAGMA page_size = {page_size}; PRAGMA auto_vacuum = {auto_vacuum};");
    Connection::open(path).unwrap().execute_batch(&format!("{pragmas} PRAGMA user_version = 1")).unwrap();
    reserve(path, reserved);
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(&format!(
            "{pragmas}
             CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX by_text ON items (text);
             CREATE TABLE keyed (key TEXT PRIMARY KEY, value) WITHOUT ROWID; CREATE TABLE gone (x);
             CREATE VIRTUAL TABLE words USING fts5 (text); INSERT INTO words VALUES ('a word');
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
             INSERT INTO items SELECT i, hex(zeroblob(20 + i % 9 * i)) || i FROM n;
             INSERT INTO keyed SELECT id || text, text FROM items WHERE id % 5 = 0;
             INSERT INTO gone SELECT text FROM items; DELETE FROM gone;"
        ))
        .unwrap();
    hide_with_a_view(path, &connection);
    connection
}

/// Reserves bytes at the end of each page of an empty database, as SQLITE_FCNTL_RESERVE_BYTES does.
fn reserve(path: &Path, reserved: u8) {
    /// Where the content of the cells begins, in the header of the b-tree on page 1.
    const CONTENT: std::ops::Range<usize> = 105..107;
    if reserved > 0 {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[20] = reserved;
        let usable = u16::try_from(bytes.len() - usize::from(reserved)).unwrap();
        bytes[CONTENT].copy_from_slice(&usable.to_be_bytes());
        std::fs::write(path, bytes).unwrap();
    }
}

/// Makes views until one of them leads the list of SQLite's check.
fn hide_with_a_view(path: &Path, connection: &Connection) {
    for name in 0..200 {
        connection.execute_batch(&format!("CREATE VIEW seen_{name} AS SELECT id FROM items")).unwrap();
        let first: String = Connection::open(path)
            .unwrap()
            .prepare("EXPLAIN PRAGMA integrity_check")
            .unwrap()
            .query_map((), |row| Ok((row.get::<_, String>(1)?, row.get::<_, Option<String>>(5)?)))
            .unwrap()
            .map(Result::unwrap)
            .find_map(|(opcode, roots)| if opcode == "IntegrityCk" { roots } else { None })
            .unwrap();
        if first.starts_with("[0,") {
            return;
        }
    }
    panic!("no name of a view is first");
}

fn page_of(connection: &Connection, kind: &str) -> u32 {
    let sql = "SELECT max(pageno) FROM dbstat WHERE pagetype = ?1 AND name IN ('items', 'by_text', 'keyed')";
    connection.query_row(sql, [kind], |row| row.get(0)).unwrap()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// What is done to the bytes of a file, and a part of the finding.
type Damage = (&'static str, fn(&mut [u8], usize, &Connection), &'static str);

const DAMAGES: &[Damage] = &[
    ("nothing", |_, _, _| (), ""),
    (
        "a leaf in use is free",
        |bytes, size, connection| {
            let trunk = (word(bytes, 32) as usize - 1) * size;
            put(bytes, trunk + 8, page_of(connection, "leaf"));
        },
        "is used twice",
    ),
    (
        "an overflow page in use is free",
        |bytes, size, connection| {
            let trunk = (word(bytes, 32) as usize - 1) * size;
            put(bytes, trunk + 8, page_of(connection, "overflow"));
        },
        "is used twice",
    ),
    ("free pages are on no list", |bytes, _, _| bytes[32..40].fill(0), "never used"),
    (
        "the freelist leads back to itself",
        |bytes, size, _| {
            let trunk = word(bytes, 32);
            put(bytes, (trunk as usize - 1) * size, trunk);
        },
        "is used twice: the freelist",
    ),
    (
        "a free page is outside of the file",
        |bytes, size, _| {
            let trunk = (word(bytes, 32) as usize - 1) * size;
            put(bytes, trunk + 8, u32::MAX);
        },
        "refers to page 4294967295",
    ),
    ("the count of free pages is wrong", |bytes, _, _| put(bytes, 36, 9_999), "the header says 9999"),
];

fn check(options: &[&str], path: &Path) -> (Output, Value) {
    let path = path.display().to_string();
    let arguments: Vec<&str> =
        ["check", "--json"].into_iter().chain(options.iter().copied()).chain([path.as_str()]).collect();
    let output = Output::of(&arguments);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let mut checks = document["databases"][0]["checks"].as_array().unwrap().iter();
    let full = checks.find(|check| check["check"] != "file_size").cloned().unwrap();
    (output, full)
}

fn a_view_hides_no_page_from_a_check() {
    for (page_size, auto_vacuum, reserved) in
        [(4096, 0, 0), (512, 2, 0), (65_536, 0, 0), (1024, 1, 0), (4096, 0, 32), (512, 2, 32)]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hidden.db");
        let connection = make(&path, page_size, auto_vacuum, reserved);
        let content = std::fs::read(&path).unwrap();
        let free = word(&content, 36) > 1;
        assert!(free || auto_vacuum == 1, "there are free pages");
        for (kind, damage, words) in DAMAGES.iter().filter(|(_, _, words)| free || words.is_empty()) {
            let mut bytes = content.clone();
            damage(&mut bytes, page_size as usize, &connection);
            let damaged = directory.path().join("damaged.db");
            std::fs::write(&damaged, bytes).unwrap();
            for options in [&[][..], &["--quick"], &["--by-table"]] {
                let case = format!(
                    "{kind}, pages of {page_size}, auto_vacuum {auto_vacuum}, {reserved} reserved, {options:?}"
                );
                let (output, full) = check(options, &damaged);
                assert_eq!(output.code, Some(i32::from(!words.is_empty())), "{case}: {output:?}");
                assert!(full["problems"].to_string().contains(words), "{case}: {full}");
                assert_eq!(full["whole"], true, "{case}: {full}");
            }
        }
    }
}

/// A page is what the last commit made of it, also where that is in the WAL alone.
fn pages_in_the_wal_are_accounted_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wal.db");
    let connection = make(&path, 4096, 0, 0);
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;").unwrap();
    connection
        .execute_batch("INSERT INTO gone SELECT text || text FROM items; DELETE FROM items WHERE id % 3 = 0;")
        .unwrap();
    let (output, full) = check(&[], &path);
    assert_eq!((output.code, &full["whole"]), (Some(0), &true.into()), "{output:?}");
    let twin = "CREATE TABLE twin (id INTEGER PRIMARY KEY, text TEXT); PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'items') WHERE name = 'twin'";
    connection.execute_batch(twin).unwrap();
    for options in [&[][..], &["--by-table"]] {
        let (output, full) = check(options, &path);
        assert_eq!(output.code, Some(1), "{options:?}: {output:?}");
        let problems = full["problems"].to_string();
        assert!(problems.contains("used twice") || problems.contains("reference to page"), "{full}");
    }
}

/// The page with the byte at 1 GiB, of which SQLite makes no use, in a sparse file whose other pages are free.
#[expect(clippy::disallowed_methods, reason = "the test makes the file")]
fn the_lock_page_has_no_use() {
    use std::os::unix::fs::FileExt as _;
    const PAGE_BYTES: u32 = 65_536;
    const LOCK_PAGE: u32 = 16_385;
    const PAGES: u32 = LOCK_PAGE + 5;
    for (free_too, exit) in [(false, 0), (true, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large.db");
        drop(make(&path, PAGE_BYTES, 0, 0));
        let mut first = std::fs::read(&path).unwrap();
        let (trunk, next, free) = (word(&first, 28) + 1, word(&first, 32), word(&first, 36));
        let leaves: Vec<u32> = (trunk + 1..=PAGES).filter(|page| free_too || *page != LOCK_PAGE).collect();
        let count = u32::try_from(leaves.len()).unwrap();
        for (at, value) in [(28, PAGES), (32, trunk), (36, free + count + 1)] {
            put(&mut first, at, value);
        }
        let list: Vec<u8> =
            [next, count].iter().chain(&leaves).flat_map(|value| value.to_be_bytes()).collect();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&first[..100], 0).unwrap();
        file.set_len(u64::from(PAGES) * u64::from(PAGE_BYTES)).unwrap();
        file.write_all_at(&list, u64::from(trunk - 1) * u64::from(PAGE_BYTES)).unwrap();
        let (output, full) = check(&[], &path);
        assert_eq!(output.code, Some(exit), "{output:?}");
        assert_eq!(full["problems"].to_string().contains("page 16385 is used twice"), free_too, "{full}");
    }
}

/// A sparse file of 1 TiB: SQLite numbers pages in 32 bits without a sign.
#[expect(clippy::disallowed_methods, reason = "the test makes the file")]
fn more_pages_than_fit_a_signed_number_are_counted() {
    use std::os::unix::fs::FileExt as _;
    const PAGES: u32 = (1 << 31) + 5;
    const FREE: u32 = (1 << 31) + 1;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("huge.db");
    drop(make(&path, 512, 0, 0));
    let mut first = std::fs::read(&path).unwrap();
    put(&mut first, 28, PAGES);
    put(&mut first, 36, FREE);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&first[..100], 0).unwrap();
    file.set_len(u64::from(PAGES) * 512).unwrap();
    std::fs::write(
        directory.path().join("lk.yml"),
        "databases: [{path: huge.db, name: huge, row_counts: [items]}]",
    )
    .unwrap();
    let agent = crate::maintenance::serve(&directory.path().join("lk.yml").display().to_string());
    let huge = [("db", "huge")];
    let metrics = agent.until("sqlite_pages", &huge, f64::from(PAGES));
    assert_eq!(metrics.value("sqlite_freelist_pages", &huge), Some(f64::from(FREE)));
    let main = metrics.value("sqlite_file_size_bytes", &[("db", "huge"), ("file", "main")]);
    assert_eq!(main, Some(f64::from(PAGES) * 512.0));
    agent.until("sqlite_table_rows", &[("db", "huge"), ("table", "items"), ("method", "count")], 900.0);
}
