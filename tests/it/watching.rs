//! Watching: what other processes do to the files, and what a look makes of it.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use libtest_mimic::Trial;
use litekeeper::internals::collectors::CollectOutcome;
use litekeeper::internals::collectors::Collected;
use litekeeper::internals::collectors::Consistent;
use litekeeper::internals::collectors::CountMethod;
use litekeeper::internals::collectors::DatabaseFacts;
use litekeeper::internals::collectors::PreviousCollection;
use litekeeper::internals::collectors::TableSizes;
use litekeeper::internals::collectors::collect_custom;
use litekeeper::internals::collectors::collect_table_sizes;
use litekeeper::internals::collectors::collect_tables;
use litekeeper::internals::collectors::read_consistently;
use litekeeper::internals::collectors::sample_database;
use litekeeper::internals::config::CustomKind;
use litekeeper::internals::config::CustomMetric;
use litekeeper::internals::database_files::DatabaseFiles;
use litekeeper::internals::limits::QueryLimits;
use litekeeper::internals::sqlite::Checkpoint;
use litekeeper::internals::sqlite::RowCount;
use litekeeper::internals::sqlite::SqliteError;
use litekeeper::internals::sqlite::Writer;

use crate::safety_guarantees::database;
use crate::support::SecondProcess;
use crate::support::eventually;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    let compiler = || tool("cc").and_then(|compiler| tool("python3").map(|_| compiler));
    vec![
        test("a_wal_without_a_valid_frame_is_empty", a_wal_without_a_valid_frame_is_empty),
        test("a_shm_truncated_in_a_read_is_survived", a_shm_truncated_in_a_read_is_survived),
        test(
            "an_owner_without_busy_timeout_is_not_disturbed",
            an_owner_without_busy_timeout_is_not_disturbed,
        ),
        test("what_is_read_without_a_lock_is_committed", what_is_read_without_a_lock_is_committed),
        test("a_shm_truncated_under_a_writer_is_survived", a_shm_truncated_under_a_writer_is_survived),
        test_with_tool(
            "a_commit_is_seen_however_long_its_fsync_takes",
            compiler(),
            a_commit_is_seen_however_long_its_fsync_takes,
        ),
    ]
}

fn companion(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn facts_of(look: &Collected) -> &DatabaseFacts {
    match &look.outcome {
        CollectOutcome::Up(facts) => facts,
        other => panic!("{other:?}"),
    }
}

/// A WAL of 2 frames with a valid header, as its owner left it.
fn wal_of_two_frames(path: &Path) -> Vec<u8> {
    let mut owner = SecondProcess::open(path);
    owner.run("PRAGMA journal_mode = WAL").run("CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)");
    owner.run("INSERT INTO items VALUES (1, '2026-11-24')").run("PRAGMA wal_checkpoint(TRUNCATE)");
    owner.run("PRAGMA user_version = 1").run("INSERT INTO items VALUES (2, '2026-11-25')");
    let wal = std::fs::read(companion(path, "-wal")).unwrap();
    owner.kill();
    std::fs::remove_file(companion(path, "-shm")).unwrap();
    wal
}

/// What a power loss, a copy that was cut short or a cleaning script can leave beside a database that nobody has open.
fn a_wal_without_a_valid_frame_is_empty() {
    let changed = |wal: &[u8], at: usize, byte: u8| {
        let mut wal = wal.to_vec();
        wal[at] ^= byte;
        wal
    };
    type Make<'a> = Box<dyn Fn(&[u8]) -> Vec<u8> + 'a>;
    let cases: Vec<(&str, Make<'_>, usize)> = vec![
        ("as it was", Box::new(<[u8]>::to_vec), 2),
        ("one frame", Box::new(|wal| wal[..32 + 24 + 4096].to_vec()), 1),
        ("the header alone", Box::new(|wal| wal[..32].to_vec()), 1),
        ("the header and one byte", Box::new(|wal| wal[..33].to_vec()), 1),
        ("less than a header", Box::new(|wal| wal[..31].to_vec()), 1),
        ("one byte", Box::new(|wal| wal[..1].to_vec()), 1),
        ("another magic number", Box::new(|wal| changed(wal, 0, 0xff)), 1),
        ("a page size that is none", Box::new(|wal| changed(wal, 10, 0xff)), 1),
        ("a wrong checksum", Box::new(|wal| changed(wal, 31, 1)), 1),
        ("other salts", Box::new(|wal| changed(wal, 16, 1)), 1),
        ("zeros", Box::new(|wal| vec![0; wal.len()]), 1),
        ("33 bytes of garbage", Box::new(|_| vec![7; 33]), 1),
        ("5,000 bytes of garbage", Box::new(|_| vec![1; 5000]), 1),
    ];
    for (what, make, rows) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("left.db");
        let wal = make(&wal_of_two_frames(&path));
        std::fs::write(companion(&path, "-wal"), wal).unwrap();
        let database = database(&path);
        facts_of(&sample_database(&database, None));
        let tables = collect_tables(&database).unwrap().unwrap_or_else(|| panic!("{what}: busy"));
        assert_eq!(tables.readings.rows[0].rows, rows as i64, "{what}: {tables:?}");
        // SQLite itself says the same.
        let count: i64 = rusqlite::Connection::open(&path)
            .unwrap()
            .query_row("SELECT count(*) FROM items", (), |row| row.get(0))
            .unwrap();
        assert_eq!(count, rows as i64, "{what}");
    }
}

/// An idle owner of a database with `rows` rows of a page each, all in the WAL.
fn owner_with_wal(path: &Path, rows: u32) -> SecondProcess {
    let mut owner = SecondProcess::open(path);
    owner.run("PRAGMA journal_mode = WAL").run("PRAGMA wal_autocheckpoint = 0");
    owner.run("CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)");
    owner.run(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO items SELECT i, hex(zeroblob(1800)) FROM n"
    ));
    owner
}

/// To these lengths another process cuts a -shm of three regions while a reader has it mapped.
const CUTS: [u64; 5] = [0, 1, 4096, 32 * 1024, 64 * 1024];

fn a_shm_truncated_in_a_read_is_survived() {
    const ROWS: u32 = 9000;
    for cut in CUTS {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cut.db");
        let owner = owner_with_wal(&path, ROWS);
        let shm = companion(&path, "-shm");
        assert!(std::fs::metadata(&shm).unwrap().len() > 64 * 1024);
        let mut tries = 0;
        let limits = QueryLimits::with_timeout(Duration::from_secs(60));
        let read = read_consistently(
            &path,
            &DatabaseFiles::of(&path),
            &limits,
            |reader| -> Result<_, SqliteError> {
                reader.header()?;
                tries += 1;
                if tries == 1 {
                    std::fs::OpenOptions::new().write(true).open(&shm).unwrap().set_len(cut).unwrap();
                }
                reader.count_rows("items", Duration::from_secs(30))
            },
        );
        // Right or an error, and this process lives.
        match read {
            Ok(Consistent::Read { answer, .. }) => {
                assert_eq!(answer, RowCount::Exact(i64::from(ROWS)), "{cut}")
            }
            Ok(Consistent::Unstable) => {}
            // A -shm that ends in the middle of its index is broken for its owner too.
            Err(error) => assert!(cut >= 32 * 1024, "{cut}: {error}"),
        }
        assert!(tries > 1 || cut >= 32 * 1024, "{cut}: the first try read zeros and was believed");
        // Another database is none the worse for it.
        let other = directory.path().join("other.db");
        let _other = owner_with_wal(&other, 3);
        let tables = collect_tables(&database(&other)).unwrap().unwrap();
        assert_eq!(tables.readings.rows[0].rows, 3);
        owner.kill();
    }
}

fn a_shm_truncated_under_a_writer_is_survived() {
    for cut in CUTS {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cut.db");
        let owner = owner_with_wal(&path, 9000);
        let limits = QueryLimits::with_timeout(Duration::from_secs(60));
        let mut writer = Writer::open(&path, Duration::from_secs(10), &limits).unwrap();
        let shm = std::fs::OpenOptions::new().write(true).open(companion(&path, "-shm")).unwrap();
        shm.set_len(cut).unwrap();
        let checkpointed = writer.checkpoint(Checkpoint::Passive);
        assert!(checkpointed.is_err(), "{cut}: {checkpointed:?}");
        drop(writer);
        owner.kill();
        // The next program that opens it rebuilds the index from the WAL, and nothing is lost.
        std::fs::remove_file(companion(&path, "-shm")).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        let verdict: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok", "{cut}");
        let count: i64 = connection.query_row("SELECT count(*) FROM items", (), |row| row.get(0)).unwrap();
        assert_eq!(count, 9000, "{cut}");
    }
}

/// A library whose fsync waits while a file is there.
const SLOW_FSYNC: &str = r#"
#include <stdlib.h>
#include <unistd.h>
int fsync(int file) { while (access(getenv("HOLD_FSYNC"), F_OK) == 0) usleep(1000); return 0; }
int fdatasync(int file) { return fsync(file); }
"#;

const OWNER: &str = "
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute('PRAGMA journal_mode = WAL')
connection.execute('PRAGMA synchronous = FULL')
connection.execute('CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)')
for line in sys.stdin:
    connection.execute(line)
    print('done', flush=True)
";

fn a_commit_is_seen_however_long_its_fsync_takes(compiler: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (source, library) = (directory.path().join("slow.c"), directory.path().join("slow.so"));
    std::fs::write(&source, SLOW_FSYNC).unwrap();
    let fixture =
        Command::new(compiler).args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
    assert!(fixture.success());
    let (path, hold) = (directory.path().join("slow.db"), directory.path().join("hold"));
    let mut owner = Command::new("python3")
        .args(["-c", OWNER])
        .arg(&path)
        .env("LD_PRELOAD", &library)
        .env("HOLD_FSYNC", &hold)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (owner.stdin.take().unwrap(), BufReader::new(owner.stdout.take().unwrap()));
    let mut done = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    };
    writeln!(input, "INSERT INTO items VALUES (1, 'one')").unwrap();
    done();
    let wal = companion(&path, "-wal");
    let written = std::fs::metadata(&wal).unwrap().len();
    std::fs::write(&hold, "").unwrap();
    writeln!(input, "PRAGMA user_version = 7").unwrap();
    let database = database(&path);
    // The frames are written, the commit waits, and the clock's tick is over: nothing will move again.
    let hidden = eventually("a look into the fsync", || {
        let looked = sample_database(&database, None);
        let stamp = looked.stamp.unwrap();
        let is_written = stamp.wal.unwrap().size > written;
        (is_written && !stamp.is_racy(looked.taken_at)).then_some(looked)
    });
    let facts = facts_of(&hidden).clone();
    assert_eq!(facts.header.user_version, 0);
    std::fs::remove_file(&hold).unwrap();
    done();
    let previous = PreviousCollection {
        stamp: hidden.stamp,
        taken_at: hidden.taken_at,
        collected_at: Instant::now(),
        file: hidden.stamp.and_then(|stamp| stamp.main).map(|main| main.identity()),
        facts: Arc::new(facts),
    };
    let seen = sample_database(&database, Some(&previous));
    assert_eq!(seen.stamp, hidden.stamp, "the files have not moved");
    assert_eq!(facts_of(&seen).header.user_version, 7);
    drop(input);
    owner.wait().unwrap();
}

const JOURNAL_MODES: [&str; 6] = ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF", "WAL"];

/// An owner as many are: it waits for no lock. Each of its transactions leaves an even number of rows.
fn owner_without_busy_timeout(path: &Path, mode: &str) -> SecondProcess {
    let mut owner = SecondProcess::open(path);
    owner.run("PRAGMA busy_timeout = 0").run(&format!("PRAGMA journal_mode = {mode}"));
    owner
        .run("CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)")
        .run("CREATE INDEX by_text ON items (text)");
    owner.run("BEGIN; INSERT INTO items VALUES (1, '2026-11-24'), (2, '2026-11-25'); COMMIT");
    owner
}

fn an_owner_without_busy_timeout_is_not_disturbed() {
    const MIN_COMMITS: u32 = 300;
    const MAX_COMMITS: u32 = 100_000;
    let custom = CustomMetric {
        name: "twice".to_owned(),
        sql: "SELECT count(*) AS value FROM items AS a, (SELECT max(id) FROM items)".to_owned(),
        kind: CustomKind::Gauge,
        help: String::new(),
        value: "value".to_owned(),
        labels: Vec::new(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(60),
        max_rows: 10,
    };
    for mode in JOURNAL_MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("busy.db");
        let mut owner = owner_without_busy_timeout(&path, mode);
        // Each statement that meets a lock fails, and with it the test. The owner goes on until something was
        // read beside it: on a busy machine few of the reads fall between two commits.
        let was_read = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&was_read);
        let owner = std::thread::spawn(move || {
            let mut commits = 0;
            while commits < MIN_COMMITS || (commits < MAX_COMMITS && !stop.load(Ordering::Relaxed)) {
                owner.run(
                    "BEGIN; INSERT INTO items (text) VALUES ('2026-11-24'), (hex(randomblob(2000))); COMMIT",
                );
                commits += 1;
            }
            (owner, commits)
        });
        let database = database(&path);
        let (mut looks, mut counts, mut answers) = (0, 0, 0);
        while !owner.is_finished() {
            match sample_database(&database, None).outcome {
                CollectOutcome::Up(_) => looks += 1,
                CollectOutcome::Busy(_) => {}
                other => panic!("{mode}: {other:?}"),
            }
            if let Some(tables) = collect_tables(&database).unwrap() {
                for rows in &tables.readings.rows {
                    assert!(rows.method == CountMethod::Estimate || rows.rows % 2 == 0, "{mode}: {rows:?}");
                    counts += 1;
                }
                assert_eq!(tables.errors, [], "{mode}: {:?}", tables.problems);
            }
            collect_table_sizes(&database, &TableSizes::default()).unwrap();
            answers += u32::from(collect_custom(&database, &custom).unwrap().is_some());
            was_read.store(looks > 0 && counts > 0, Ordering::Relaxed);
        }
        let (mut owner, commits) = owner.join().unwrap_or_else(|_| panic!("{mode}: the owner met a lock"));
        owner.run("PRAGMA busy_timeout = 0");
        assert!(looks > 0 && counts > 0, "{mode}: {looks} looks, {counts} counts, {answers} answers");
        // At rest everything is read, and as it is.
        let tables = eventually("tables at rest", || collect_tables(&database).unwrap());
        assert_eq!(tables.readings.rows[0].rows, i64::from(commits) * 2 + 2, "{mode}");
        assert_eq!(tables.readings.rows[0].method, CountMethod::Count, "{mode}");
    }
}

/// Transactions that have reached the main file are not taken for commits.
fn what_is_read_without_a_lock_is_committed() {
    let spill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                 INSERT INTO items (text) SELECT hex(randomblob(200)) FROM n";
    // What the owner does in an open transaction, and whether the main file still holds the last commit.
    for (mode, work, readable) in [
        ("DELETE", &["BEGIN IMMEDIATE"][..], false),
        ("DELETE", &["BEGIN EXCLUSIVE"], false),
        ("DELETE", &["BEGIN", "INSERT INTO items (text) VALUES ('one')"], true),
        ("TRUNCATE", &["BEGIN", "INSERT INTO items (text) VALUES ('one')"], true),
        ("PERSIST", &["BEGIN", "INSERT INTO items (text) VALUES ('one')"], true),
        ("MEMORY", &["BEGIN", "INSERT INTO items (text) VALUES ('one')"], false),
        ("OFF", &["BEGIN", "INSERT INTO items (text) VALUES ('one')"], false),
        ("DELETE", &["BEGIN", spill], false),
        ("TRUNCATE", &["BEGIN", spill], false),
        ("PERSIST", &["BEGIN", spill], false),
        ("MEMORY", &["BEGIN", spill], false),
        ("OFF", &["BEGIN", spill], false),
        ("DELETE", &["BEGIN", "SELECT count(*) FROM items"], true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("open.db");
        let mut owner = owner_without_busy_timeout(&path, mode);
        owner.run("PRAGMA cache_size = 5");
        let database = database(&path);
        for statement in work {
            owner.run(statement);
        }
        let what = format!("{mode} {work:?}");
        let tables = collect_tables(&database).unwrap();
        assert_eq!(tables.is_some(), readable, "{what}: {tables:?}");
        assert!(tables.is_none_or(|tables| tables.readings.rows[0].rows == 2), "{what}");
        let looked = sample_database(&database, None);
        assert_eq!(matches!(looked.outcome, CollectOutcome::Up(_)), readable, "{what}: {:?}", looked.outcome);
        assert!(matches!(looked.outcome, CollectOutcome::Up(_) | CollectOutcome::Busy(_)), "{what}");
        if mode != "OFF" {
            owner.run("ROLLBACK");
            let tables = collect_tables(&database).unwrap().unwrap();
            assert_eq!(tables.readings.rows[0].rows, 2, "{what}");
        }
        owner.kill();
    }
}
