//! `litekeeper check`: each kind of damage is found and named, and exit codes tell kinds apart.

use std::io::Seek as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::Output;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("each_kind_of_damage_is_found", each_kind_of_damage_is_found),
        test("page_sizes_do_not_get_in_each_others_way", page_sizes_do_not_get_in_each_others_way),
        test(
            "content_that_cannot_be_checked_is_distinguished",
            content_that_cannot_be_checked_is_distinguished,
        ),
        test_with_tool("what_may_not_be_read_is_named", tool("setpriv"), what_may_not_be_read_is_named),
        test("the_json_has_its_shape", the_json_has_its_shape),
        test("an_interrupt_ends_a_check", an_interrupt_ends_a_check),
        test("a_count_out_of_time_is_an_estimate", a_count_out_of_time_is_an_estimate),
    ]
}

fn database() -> TestDatabase {
    TestDatabase::new("checked")
        .rows(2000)
        .sql("CREATE INDEX by_text ON items (text); CREATE TABLE child (item INTEGER REFERENCES items (id));")
        .make()
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(std::io::SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn root_page(connection: &Connection, name: &str) -> u64 {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    u64::try_from(connection.query_row(sql, [name], |row| row.get::<_, i64>(0)).unwrap()).unwrap()
}

/// Makes SQLite believe that the index covers something else, so that what is written next does not fit it.
fn redefine_index(fixture: &TestDatabase, covers: &str) {
    let sql = format!(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX by_text ON items ({covers})' WHERE name = 'by_text';"
    );
    fixture.connect().execute_batch(&sql).unwrap();
}

/// A kind of damage, how it is done, and what finds it.
struct Damage {
    kind: &'static str,
    make: fn(&TestDatabase),
    /// The check of `litekeeper check` that finds it, with a part of the finding; `None` where nothing does.
    found: Option<(&'static str, &'static str)>,
    /// Whether `--quick` finds it.
    quick: bool,
    /// Whether `--by-table` finds it.
    by_table: bool,
}

const fn damage(
    kind: &'static str,
    make: fn(&TestDatabase),
    found: Option<(&'static str, &'static str)>,
    quick: bool,
    by_table: bool,
) -> Damage {
    Damage { kind, make, found, quick, by_table }
}

/// Writes over a page of a table from an offset in it.
fn overwrite_in_page(fixture: &TestDatabase, page: u64, offset: u64, bytes: &[u8]) {
    overwrite(&fixture.path(), (page - 1) * 4096 + offset, bytes);
}

/// Where a text stands in the file.
fn place_of(fixture: &TestDatabase, text: &str) -> u64 {
    let content = std::fs::read(fixture.path()).unwrap();
    content.windows(text.len()).position(|window| window == text.as_bytes()).unwrap() as u64
}

fn word_at(fixture: &TestDatabase, at: u64) -> u64 {
    let content = std::fs::read(fixture.path()).unwrap();
    let at = usize::try_from(at).unwrap();
    u64::from(u32::from_be_bytes(content[at..at + 4].try_into().unwrap()))
}

/// Head and length of the freelist, as the header has them.
const FREELIST_AT: u64 = 32;

const DAMAGES: &[Damage] = &[
    damage(
        "a leaf page of a table is zeroed",
        |fixture| {
            let page = root_page(&fixture.connect(), "items") - 1;
            overwrite(&fixture.path(), page * 4096, &[0; 4096]);
        },
        Some(("full", "btreeInitPage() returns error code 11")),
        true,
        true,
    ),
    damage(
        "the overflow chain of a large value is cut",
        |fixture| {
            let connection = fixture.connect();
            connection.execute("INSERT INTO items VALUES (9001, ?1)", ["x".repeat(20_000)]).unwrap();
            drop(connection);
            // The value ends on the last pages of the file, each with the number of the next in front.
            let last = std::fs::metadata(fixture.path()).unwrap().len() / 4096;
            let first = (2..=last).find(|page| word_at(fixture, (page - 1) * 4096) == page + 1).unwrap();
            overwrite_in_page(fixture, first, 0, &[0; 4]);
        },
        Some(("full", "overflow list length")),
        true,
        true,
    ),
    damage(
        "a row is missing in an index",
        |fixture| {
            redefine_index(fixture, "text) WHERE (0");
            fixture.connect().execute_batch("INSERT INTO items VALUES (9000, 'unseen')").unwrap();
            redefine_index(fixture, "text");
        },
        Some(("full", "missing from index by_text")),
        true,
        true,
    ),
    damage(
        "an index entry has another value than its row",
        |fixture| {
            redefine_index(fixture, "upper(text)");
            fixture.connect().execute_batch("INSERT INTO items VALUES (9000, 'lower')").unwrap();
            redefine_index(fixture, "text");
        },
        Some(("full", "missing from index by_text")),
        false,
        true,
    ),
    damage(
        "the count of free pages is wrong",
        |fixture| overwrite(&fixture.path(), FREELIST_AT + 4, &[0, 0, 0, 9]),
        Some(("full", "reelist")),
        true,
        true,
    ),
    damage(
        "a page in use is on the list of free pages",
        |fixture| {
            let trunk = word_at(fixture, FREELIST_AT);
            let page = u32::try_from(root_page(&fixture.connect(), "by_text") - 1).unwrap();
            overwrite_in_page(fixture, trunk, 8, &page.to_be_bytes());
        },
        Some(("full", "reference to page")),
        true,
        true,
    ),
    damage(
        "free pages are on no list",
        |fixture| overwrite(&fixture.path(), FREELIST_AT, &[0; 8]),
        Some(("full", "never used")),
        true,
        true,
    ),
    damage(
        "two tables use the same pages",
        |fixture| {
            let connection = fixture.connect();
            connection
                .execute_batch(
                    "CREATE TABLE twin (id INTEGER PRIMARY KEY, text TEXT); PRAGMA writable_schema = ON;
                     UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'items')
                     WHERE name = 'twin';",
                )
                .unwrap();
        },
        Some(("full", "reference to page")),
        true,
        true,
    ),
    damage(
        "a foreign key refers to no row",
        |fixture| {
            fixture
                .connect()
                .execute_batch("PRAGMA foreign_keys = OFF; INSERT INTO child VALUES (77777)")
                .unwrap()
        },
        Some(("foreign_key", "row 1 of child refers to a missing row of items")),
        false,
        true,
    ),
    damage(
        "the file is truncated",
        |fixture| {
            std::fs::OpenOptions::new().write(true).open(fixture.path()).unwrap().set_len(4 * 4096).unwrap();
        },
        Some(("open", "malformed")),
        true,
        true,
    ),
    damage(
        "the first page is overwritten",
        |fixture| overwrite(&fixture.path(), 0, &b"a line of a log\n".repeat(256)),
        Some(("open", "its first page was overwritten")),
        true,
        true,
    ),
    damage(
        "the file is cut to 0 bytes beside a WAL",
        |fixture| {
            std::fs::write(fixture.path(), "").unwrap();
            std::fs::write(fixture.directory().join("checked.db-wal"), "frames").unwrap();
        },
        Some(("file_size", "its -wal has 6 bytes")),
        true,
        true,
    ),
    damage(
        "a bit is flipped in a text that is in no index",
        |fixture| {
            let at = place_of(fixture, "unindexed words");
            overwrite(&fixture.path(), at, b"t");
        },
        None,
        false,
        false,
    ),
];

/// Each kind of damage is made, and found by exactly the checks that the table in docs/CHECK.md names.
fn each_kind_of_damage_is_found() {
    let sound = damaged_soon();
    for options in [&[][..], &["--quick"], &["--by-table"]] {
        let output = check_with(options, &sound);
        assert_eq!(output.code, Some(0), "{options:?}: {output:?}");
    }
    let described = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CHECK.md")).unwrap();
    for damage in DAMAGES {
        let kind = damage.kind;
        let fixture = damaged_soon();
        (damage.make)(&fixture);
        let output = check_with(&["--json"], &fixture);
        assert_eq!(output.code, Some(i32::from(damage.found.is_some())), "{kind}: {output:?}");
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        let checks = document["databases"][0]["checks"].as_array().unwrap();
        if let Some((check, words)) = damage.found {
            let found = checks.iter().filter(|entry| entry["check"] == check).any(|entry| {
                let problems = entry["problems"].as_array().unwrap();
                problems.iter().any(|problem| problem.as_str().unwrap().contains(words))
            });
            assert!(found, "{kind}: {check} says {words:?}: {}", output.stdout);
        }
        let quick = check_with(&["--quick"], &fixture);
        assert_eq!(quick.code, Some(i32::from(damage.quick)), "{kind}, quick: {quick:?}");
        let by_table = check_with(&["--by-table"], &fixture);
        assert_eq!(by_table.code, Some(i32::from(damage.by_table)), "{kind}, by table: {by_table:?}");
        let mark = |found: bool| if found { "yes" } else { "no" };
        let by = damage.found.map_or("nothing".to_owned(), |(check, _)| format!("`{check}`"));
        let row = format!("| {kind} | {by} | {} | {} |", mark(damage.quick), mark(damage.by_table));
        assert!(described.contains(&row), "docs/CHECK.md lacks the row\n{row}");
    }
}

/// A database with free pages and with words that stand in no index.
fn damaged_soon() -> TestDatabase {
    let fixture = database();
    fixture
        .connect()
        .execute_batch(
            "CREATE TABLE notes (words TEXT); INSERT INTO notes VALUES ('unindexed words');
             CREATE TABLE gone (body BLOB);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
             INSERT INTO gone SELECT zeroblob(3000) FROM n; DROP TABLE gone;",
        )
        .unwrap();
    fixture
}

fn check_with(options: &[&str], fixture: &TestDatabase) -> Output {
    let path = fixture.path().display().to_string();
    let arguments: Vec<&str> =
        ["check"].into_iter().chain(options.iter().copied()).chain([path.as_str()]).collect();
    Output::of(&arguments)
}

/// One thread looks at all of them, one after the other.
fn page_sizes_do_not_get_in_each_others_way() {
    let directory = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for size in [4096, 512, 65_536, 1024, 4096, 512] {
        let path = directory.path().join(format!("{}-{size}.db", paths.len()));
        let sql = format!("PRAGMA page_size = {size}; CREATE TABLE t (a)");
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        paths.push(path);
    }
    let mut command = litekeeper();
    let output = command.arg("check").args(&paths).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

fn content_that_cannot_be_checked_is_distinguished() {
    let fixture = database();
    let check = |options: &[&str]| check_with(options, &fixture);
    let output = check(&["--rows", "items,nowhere"]);
    assert_eq!(output.code, Some(3));
    assert!(
        output.stdout.contains("partly checked") && output.stdout.contains("no such table"),
        "{}",
        output.stdout
    );
    assert!(output.stdout.contains("2,000"), "the other table is counted: {}", output.stdout);
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("BEGIN EXCLUSIVE");
    let output = check(&["--busy-timeout=0"]);
    assert_eq!(output.code, Some(3));
    assert!(output.stdout.contains("another process holds the lock"), "{}", output.stdout);
    owner.run("COMMIT");
    // The worst of several counts; problems weigh more than what could not be checked.
    let noise = fixture.directory().join("noise.db");
    std::fs::write(&noise, "SQLite format 3").unwrap();
    let output = check(&["/nowhere.db", &noise.display().to_string()]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("No such file") && output.stdout.contains("healthy"), "{}", output.stdout);
    let companion = fixture.directory().join("checked.db-wal");
    std::fs::write(&companion, "").unwrap();
    let output = Output::of(&["check".as_ref(), companion.as_os_str()]);
    assert!(output.stdout.contains("name the database itself"), "{}", output.stdout);
}

/// As root everything may be read, so the check runs as somebody else then.
fn what_may_not_be_read_is_named(setpriv: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = TestDatabase::new("denied").wal().rows(5).make();
    let owner = fixture.connect();
    owner.execute_batch("INSERT INTO items (text) VALUES ('in the WAL')").unwrap();
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let program = fixture.directory().join("litekeeper");
    std::fs::copy(env!("CARGO_BIN_EXE_litekeeper"), &program).unwrap();
    let companion = |suffix: &str| fixture.directory().join(format!("denied.db{suffix}"));
    let check = || {
        let mut command = std::process::Command::new(setpriv);
        if rustix::process::geteuid().is_root() {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        } else {
            command.arg("--no-new-privs");
        }
        let output = command.arg(&program).arg("check").arg(fixture.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    // A directory that may not be written to is no hindrance.
    mode(fixture.directory(), 0o555);
    let (code, text) = check();
    assert_eq!(code, Some(0), "{text}");
    for (suffix, name) in [("-shm", "-shm file"), ("-wal", "-wal file"), ("", "main file")] {
        mode(&companion(suffix), 0o000);
        let (code, text) = check();
        assert!(
            code == Some(3) && text.contains(&format!("may not read the {name}: Permission denied")),
            "{text}"
        );
        mode(&companion(suffix), 0o644);
    }
    mode(fixture.directory(), 0o755);
}

fn the_json_has_its_shape() {
    let fixture = TestDatabase::new("shape").wal().rows(30).make();
    let owner = fixture.connect();
    owner.execute_batch("INSERT INTO items (text) VALUES ('in the WAL')").unwrap();
    let output = Output::of(&[
        "check".as_ref(),
        "--json".as_ref(),
        "--rows=items".as_ref(),
        fixture.path().as_os_str(),
    ]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let report = &document["databases"][0];
    assert_eq!(
        (&document["format_version"], &document["status"]),
        (&Value::from(1), &Value::from("healthy"))
    );
    assert_eq!(
        report["rows"][0],
        serde_json::json!({"table": "items", "rows": 31, "method": "count", "error": null})
    );
    assert_eq!(report["facts"]["journal_mode"], "wal");
    assert!(report["facts"]["wal_frames"].as_u64().unwrap() > 0, "{report}");
    // Every field is in the document that describes them.
    let described =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CHECK.md")).unwrap();
    let mut names = Vec::new();
    collect_names(&document, &mut names);
    for name in names {
        assert!(
            described.contains(&format!("`{name}")) || described.contains(&format!("`.{name}")),
            "docs/CHECK.md lacks {name}"
        );
    }
}

fn collect_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            names.push(name.clone());
            collect_names(value, names);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn an_interrupt_ends_a_check() {
    let fixture = database();
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("BEGIN EXCLUSIVE");
    // It waits for the lock, as long as an hour; standard error is piped, so there is no bar to be drawn.
    let mut child = litekeeper()
        .args(["check", "--busy-timeout=3600"])
        .arg(fixture.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    crate::support::eventually("it waits for the lock", || {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", child.id())).ok()?;
        let open = descriptors
            .flatten()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == fixture.path()));
        open.then_some(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // The lock is held until it has ended, so that the check cannot get it before it hears of the interrupt.
    crate::support::eventually("it ends", || child.try_wait().unwrap());
    owner.run("COMMIT");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("stopped on request"), "{text}");
}

fn a_count_out_of_time_is_an_estimate() {
    use litekeeper::internals::limits::QueryLimits;
    use litekeeper::internals::sqlite::Access;
    use litekeeper::internals::sqlite::Reader;
    use litekeeper::internals::sqlite::RowCount;
    use std::time::Duration;
    let fixture = TestDatabase::new("slow")
        .rows(5_000)
        .sql(
            "CREATE TABLE keyed (name TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO keyed SELECT text FROM items;
             CREATE TABLE known (name TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO known SELECT text FROM items LIMIT 7;
             ANALYZE known; INSERT INTO known SELECT text || 'more' FROM items; DELETE FROM items WHERE id <= 1000;",
        )
        .make();
    let limits = QueryLimits::with_timeout(Duration::from_secs(60));
    let mut reader = Reader::open(&fixture.path(), Access::Shared, &limits).unwrap();
    // Statistics of another time do not count.
    for (table, rows) in [("items", 4_000), ("keyed", 5_000), ("known", 5_007)] {
        assert_eq!(
            reader.count_rows(table, Duration::from_secs(60)).unwrap(),
            RowCount::Exact(rows),
            "{table}"
        );
        let estimate = reader.count_rows(table, Duration::ZERO).unwrap();
        let close = |estimate: i64| (estimate - rows).abs() * 100 < rows * 15;
        assert!(matches!(estimate, RowCount::Estimate(estimate) if close(estimate)), "{table}: {estimate:?}");
    }
}
