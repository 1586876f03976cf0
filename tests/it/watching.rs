//! Watching: what other processes do to the files, and what a look makes of it.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use libtest_mimic::Trial;
use litekeeper::budget::Budget;
use litekeeper::sample::Facts;
use litekeeper::sample::Look;
use litekeeper::sample::LookOutcome;
use litekeeper::sample::Previous;
use litekeeper::sample::Settled;
use litekeeper::sample::look;
use litekeeper::sample::look_at_tables;
use litekeeper::sample::settled;
use litekeeper::sidecar::DatabaseFiles;
use litekeeper::sqlite::Checkpoint;
use litekeeper::sqlite::RowCount;
use litekeeper::sqlite::SqliteError;
use litekeeper::sqlite::Writer;

use crate::promises::database;
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
        test("a_shm_truncated_under_a_writer_is_survived", a_shm_truncated_under_a_writer_is_survived),
        test_with_tool(
            "a_commit_is_seen_however_long_its_fsync_takes",
            compiler(),
            a_commit_is_seen_however_long_its_fsync_takes,
        ),
    ]
}

fn sidecar(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn facts_of(look: &Look) -> &Facts {
    match &look.outcome {
        LookOutcome::Up(facts) => facts,
        other => panic!("{other:?}"),
    }
}

/// A WAL of 2 frames with a valid header, as its owner left it.
fn wal_of_two_frames(path: &Path) -> Vec<u8> {
    let mut owner = SecondProcess::open(path);
    owner.run("PRAGMA journal_mode = WAL").run("CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)");
    owner.run("INSERT INTO items VALUES (1, '2026-11-24')").run("PRAGMA wal_checkpoint(TRUNCATE)");
    owner.run("PRAGMA user_version = 1").run("INSERT INTO items VALUES (2, '2026-11-25')");
    let wal = std::fs::read(sidecar(path, "-wal")).unwrap();
    owner.kill();
    std::fs::remove_file(sidecar(path, "-shm")).unwrap();
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
        std::fs::write(sidecar(&path, "-wal"), wal).unwrap();
        let database = database(&path);
        facts_of(&look(&database, None));
        let tables = look_at_tables(&database).unwrap().unwrap_or_else(|| panic!("{what}: busy"));
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
        let shm = sidecar(&path, "-shm");
        assert!(std::fs::metadata(&shm).unwrap().len() > 64 * 1024);
        let mut tries = 0;
        let budget = Budget::impatient(Duration::from_secs(60));
        let read = settled(&path, &DatabaseFiles::of(&path), &budget, |reader| -> Result<_, SqliteError> {
            reader.header()?;
            tries += 1;
            if tries == 1 {
                std::fs::OpenOptions::new().write(true).open(&shm).unwrap().set_len(cut).unwrap();
            }
            reader.count_rows("items", Duration::from_secs(30))
        });
        // Right or an error, and this process lives.
        match read {
            Ok(Settled::Read { answer, .. }) => assert_eq!(answer, RowCount::Exact(i64::from(ROWS)), "{cut}"),
            Ok(Settled::Moving) => {}
            // A -shm that ends in the middle of its index is broken for its owner too.
            Err(error) => assert!(cut >= 32 * 1024, "{cut}: {error}"),
        }
        assert!(tries > 1 || cut >= 32 * 1024, "{cut}: the first try read zeros and was believed");
        // Another database is none the worse for it.
        let other = directory.path().join("other.db");
        let _other = owner_with_wal(&other, 3);
        let tables = look_at_tables(&database(&other)).unwrap().unwrap();
        assert_eq!(tables.readings.rows[0].rows, 3);
        owner.kill();
    }
}

fn a_shm_truncated_under_a_writer_is_survived() {
    for cut in CUTS {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cut.db");
        let owner = owner_with_wal(&path, 9000);
        let budget = Budget::impatient(Duration::from_secs(60));
        let mut writer = Writer::open(&path, Duration::from_secs(10), &budget).unwrap();
        let shm = std::fs::OpenOptions::new().write(true).open(sidecar(&path, "-shm")).unwrap();
        shm.set_len(cut).unwrap();
        let checkpointed = writer.checkpoint(Checkpoint::Passive);
        assert!(checkpointed.is_err(), "{cut}: {checkpointed:?}");
        drop(writer);
        owner.kill();
        // Whoever opens it next builds the index anew from the WAL, and nothing is lost.
        std::fs::remove_file(sidecar(&path, "-shm")).unwrap();
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
    let made =
        Command::new(compiler).args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
    assert!(made.success());
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
    let wal = sidecar(&path, "-wal");
    let written = std::fs::metadata(&wal).unwrap().len();
    std::fs::write(&hold, "").unwrap();
    writeln!(input, "PRAGMA user_version = 7").unwrap();
    let database = database(&path);
    // The frames are written, the commit waits, and the clock's tick is over: nothing will move again.
    let hidden = eventually("a look into the fsync", || {
        let looked = look(&database, None);
        let stamp = looked.stamp.unwrap();
        let is_written = stamp.wal.unwrap().size > written;
        (is_written && !stamp.is_racy(looked.taken_at)).then_some(looked)
    });
    let facts = facts_of(&hidden).clone();
    assert_eq!(facts.header.user_version, 0);
    std::fs::remove_file(&hold).unwrap();
    done();
    let previous = Previous {
        stamp: hidden.stamp,
        taken_at: hidden.taken_at,
        looked_at: Instant::now(),
        file: hidden.stamp.and_then(|stamp| stamp.main).map(|main| main.identity()),
        facts: std::sync::Arc::new(facts),
    };
    let seen = look(&database, Some(&previous));
    assert_eq!(seen.stamp, hidden.stamp, "the files have not moved");
    assert_eq!(facts_of(&seen).header.user_version, 7);
    drop(input);
    owner.wait().unwrap();
}
