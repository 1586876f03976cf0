//! What maintenance makes of a machine that lets it down: disks that fill or fail, schemas and clocks that move.

use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::is_sound;
use crate::maintenance::number;
use crate::maintenance::outcome_of;
use crate::maintenance::run;
use crate::support::Agent;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::mount::can_mount;
use crate::support::mount::mount;
use crate::support::mount::unmount;
use crate::support::test;
use crate::support::test_with_tool;

pub fn trials() -> Vec<Trial> {
    let mount_tool = || can_mount().then(|| "mount".to_owned());
    vec![
        test("a_schema_that_changes_between_batches_is_seen", a_schema_that_changes_between_batches_is_seen),
        test(
            "an_archive_has_the_columns_that_come_meanwhile",
            an_archive_has_the_columns_that_come_meanwhile,
        ),
        test("a_write_that_fails_loses_nothing", a_write_that_fails_loses_nothing),
        test_with_tool(
            "a_disk_that_fills_in_a_vacuum_loses_nothing",
            mount_tool(),
            a_disk_that_fills_in_a_vacuum_loses_nothing,
        ),
        test_with_tool(
            "a_read_only_file_system_is_reported",
            mount_tool(),
            a_read_only_file_system_is_reported,
        ),
        test_with_tool("hours_that_clocks_skip_or_repeat", faketime(), hours_that_clocks_skip_or_repeat),
        test_with_tool("a_clock_that_jumps_makes_one_run", faketime(), a_clock_that_jumps_makes_one_run),
        test_with_tool(
            "a_clock_that_was_set_deletes_nothing",
            faketime(),
            a_clock_that_was_set_deletes_nothing,
        ),
    ]
}

/// The library that shows a program another time; Debian's faketime.
fn faketime() -> Option<String> {
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"]
        .map(|place| format!("{place}/faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| Path::new(path).is_file())
}

/// The binary with a wall clock that a file sets, as in `+3d`; the clock that nobody can set goes on.
fn with_clock(library: &str, file: &Path) -> Command {
    let mut command = litekeeper();
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    command
}

/// Expired rows that take a cleaning some seconds, and one that stays.
fn logs_to_clean(options: &str) -> (TestDatabase, String) {
    let fixture = TestDatabase::new("app")
        .wal()
        .sql(
            "CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX logs_at ON logs (at);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
             INSERT INTO logs (at) SELECT unixepoch() - 100 * 86400 + i FROM n;
             INSERT INTO logs (at) VALUES (unixepoch());",
        )
        .make();
    let tasks = format!(
        "{{log_cleaning: {{target_lock_hold: 1ms, pause_ratio: 2, tables: [{{table: logs, column: at, retention: 30d{options}}}]}}}}"
    );
    let config = configure(&fixture, &tasks);
    (fixture, config)
}

/// Starts a task and waits until `begun` sees it at work.
fn under_way(task: &str, config: &str, begun: impl Fn() -> bool) -> Child {
    let mut child = litekeeper()
        .args(["run", task, "--json", "--config", config, "--log.level", "off"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // One that ended before shows its outcome to the caller.
    eventually("the task is at work", || (begun() || child.try_wait().unwrap().is_some()).then_some(()));
    child
}

fn cleaning(fixture: &TestDatabase, config: &str) -> (Child, Connection) {
    let connection = fixture.connect();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    let begun = || number(&connection, "SELECT count(*) FROM logs") < 4_001;
    let child = under_way("log_cleaning", config, begun);
    (child, connection)
}

fn a_schema_that_changes_between_batches_is_seen() {
    for (change, words) in [
        ("DROP INDEX logs_at", None),
        ("CREATE INDEX other ON logs (at, id)", None),
        ("CREATE TABLE elsewhere (x)", None),
        ("ALTER TABLE logs RENAME COLUMN at TO moment", Some("has no column at")),
        ("ALTER TABLE logs RENAME TO entries", Some("there is no table logs")),
        ("CREATE TABLE child (log REFERENCES logs (id))", Some("write `foreign_keys: on` or `off`")),
    ] {
        // A change that comes after the last batch meets nothing; then there is another try.
        let attempt = |last: bool| {
            let (fixture, config) = logs_to_clean("");
            let (child, owner) = cleaning(&fixture, &config);
            owner.execute_batch(change).unwrap();
            let (code, run) = outcome_of(child);
            (last || words.is_none() || code != Some(0)).then_some((fixture, owner, code, run))
        };
        let (fixture, owner, code, run) = (0..10).find_map(|turn| attempt(turn == 9)).unwrap();
        let deleted = run["details"]["log_cleaning"]["deleted_rows"].as_i64().unwrap();
        let table = if change.contains("entries") { "entries" } else { "logs" };
        let left = number(&owner, &format!("SELECT count(*) FROM {table}"));
        assert_eq!(left + deleted, 4_001, "{change}: what it says is what it did: {run:#?}");
        match words {
            None => assert_eq!((code, left), (Some(0), 1), "{change}: {run:#?}"),
            Some(words) => {
                let message = run["message"].as_str().unwrap_or_default();
                assert!(code == Some(3) && message.contains(words) && left > 1, "{change}: {run:#?}");
            }
        }
        drop(owner);
        is_sound(&fixture.path());
    }
}

fn an_archive_has_the_columns_that_come_meanwhile() {
    // A column that comes after the last batch is in no archive; then there is another try.
    assert!(
        (0..10).any(|_| archived_with_the_new_column() > 0),
        "what the owner wrote into the new column was put away with its row"
    );
}

/// How many archived rows have the column that came during the cleaning.
fn archived_with_the_new_column() -> i64 {
    let (fixture, config) = logs_to_clean(", archive: archive");
    let directory = fixture.directory().join("archive");
    std::fs::create_dir(&directory).unwrap();
    let (child, owner) = cleaning(&fixture, &config);
    owner.execute_batch("ALTER TABLE logs ADD COLUMN who TEXT; UPDATE logs SET who = 'somebody'").unwrap();
    let (code, run) = outcome_of(child);
    assert_eq!(code, Some(0), "{run:#?}");
    let (mut rows, mut named) = (0, 0);
    for entry in std::fs::read_dir(&directory).unwrap().flatten() {
        is_sound(&entry.path());
        let archive = Connection::open(entry.path()).unwrap();
        rows += number(&archive, "SELECT count(*) FROM logs");
        let has_who =
            number(&archive, "SELECT count(*) FROM pragma_table_info('logs') WHERE name = 'who'") == 1;
        named +=
            if has_who { number(&archive, "SELECT count(*) FROM logs WHERE who = 'somebody'") } else { 0 };
    }
    assert_eq!((rows, number(&owner, "SELECT count(*) FROM logs")), (4_000, 1), "no row is in none");
    named
}

/// A limit on the size of files makes writes beyond it fail as a broken disk does: SQLite has an I/O error, at the commit
/// too, when the journal is already complete. The owner rolls back what was half written.
fn a_write_that_fails_loses_nothing() {
    for wal in [false, true] {
        for (task, tasks) in [
            ("log_cleaning", "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d}]}}"),
            ("vacuum", "{vacuum: {min_reclaimable: {bytes: 1, ratio: 0}}}"),
        ] {
            let fixture = TestDatabase::new("app");
            let owner = fixture.connect();
            if wal {
                owner.execute_batch("PRAGMA journal_mode = WAL").unwrap();
            }
            owner
                .execute_batch(
                    "CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, text TEXT); CREATE INDEX logs_at ON logs (at);
                     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
                     INSERT INTO logs (at, text) SELECT unixepoch() - CASE WHEN i % 2 THEN 0 ELSE 100 * 86400 END, hex(zeroblob(100)) FROM n;
                     CREATE TABLE gone AS SELECT * FROM logs; DROP TABLE gone; PRAGMA wal_checkpoint(TRUNCATE);",
                )
                .unwrap();
            let config = configure(&fixture, tasks);
            let sum = "SELECT sum(id) FROM logs WHERE at > unixepoch() - 86400";
            let before = number(&owner, sum);
            // In blocks of 512 bytes: space for the state file, not for the end of the database or a long WAL.
            let script = "trap '' XFSZ; ulimit -f 600; exec \"$@\"";
            let output = Command::new("sh")
                .args([
                    "-c",
                    script,
                    "sh",
                    env!("CARGO_BIN_EXE_litekeeper"),
                    "run",
                    task,
                    "--json",
                    "--config",
                    &config,
                ])
                .args(["--log.level", "off"])
                .output()
                .unwrap();
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            let run_ = &document["runs"][0];
            assert_eq!(
                (output.status.code(), &run_["reason"]),
                (Some(3), &"io".into()),
                "{task}, wal {wal}: {run_:#?}"
            );
            assert_eq!(number(&owner, sum), before, "{task}, wal {wal}");
            drop(owner);
            is_sound(&fixture.path());
            assert_eq!(run(task, &config).0, Some(0), "{task}, wal {wal}: the next run finishes");
            is_sound(&fixture.path());
        }
    }
}

/// The space is there when the vacuum looks, and gone when it needs it.
fn a_disk_that_fills_in_a_vacuum_loses_nothing(_mount: &str) {
    // A disk that is full only after the vacuum met nothing; then there is another try.
    let met = (0..5).any(|_| {
        let directory = tempfile::tempdir().unwrap();
        assert!(mount(directory.path(), "340m"));
        let result = std::panic::catch_unwind(|| fill_in_a_vacuum(directory.path()));
        unmount(directory.path());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert!(met, "the disk was full before a vacuum had ended");
}

/// Whether the disk was full before the vacuum had ended.
fn fill_in_a_vacuum(directory: &Path) -> bool {
    let database = directory.join("app.db");
    let owner = Connection::open(&database).unwrap();
    owner
        .execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE items (id INTEGER PRIMARY KEY, body BLOB);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
             INSERT INTO items SELECT i, randomblob(1000) FROM n; DELETE FROM items WHERE id <= 30000;
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
    let before = number(&owner, "SELECT sum(id) FROM items");
    // The copy goes to another disk, so that what grows here is the WAL, when the result is copied back.
    let elsewhere = tempfile::tempdir().unwrap();
    let config = elsewhere.path().join("litekeeper.yml");
    let settings = format!(
        "state: state.sqlite\ntemp_directory: {}\ndatabases:\n  - path: {}\n    tasks: {{vacuum: {{max_lock_hold: 60s, min_reclaimable: {{bytes: 1, ratio: 0}}, min_free_space: 0}}}}\n",
        elsewhere.path().display(),
        database.display()
    );
    std::fs::write(&config, settings).unwrap();
    let wal = directory.join("app.db-wal");
    let grown = || std::fs::metadata(&wal).is_ok_and(|wal| wal.len() > 1 << 20);
    let child = under_way("vacuum", config.to_str().unwrap(), grown);
    let filler = std::fs::File::create(directory.join("filler")).unwrap();
    let flags = rustix::fs::FallocateFlags::empty();
    let mut length = 64 << 20;
    while length >= 4096 {
        let at = filler.metadata().unwrap().len();
        if rustix::fs::fallocate(&filler, flags, at, length).is_err() {
            length /= 2;
        }
    }
    let (code, run_) = outcome_of(child);
    assert_eq!(number(&owner, "SELECT sum(id) FROM items"), before);
    if code == Some(0) {
        return false;
    }
    assert_eq!((code, &run_["reason"]), (Some(3), &"no_space".into()), "{run_:#?}");
    std::fs::remove_file(directory.join("filler")).unwrap();
    drop((owner, filler));
    is_sound(&database);
    assert_eq!(run("vacuum", config.to_str().unwrap()).0, Some(0), "the next run finishes");
    true
}

fn a_read_only_file_system_is_reported(_mount: &str) {
    let directory = tempfile::tempdir().unwrap();
    assert!(mount(directory.path(), "8m"));
    let result = std::panic::catch_unwind(|| {
        let database = directory.path().join("app.db");
        Connection::open(&database)
            .unwrap()
            .execute_batch("CREATE TABLE logs (at INTEGER); INSERT INTO logs VALUES (unixepoch()), (1)")
            .unwrap();
        let mut remount = Command::new("mount");
        assert!(remount.args(["-o", "remount,ro"]).arg(directory.path()).status().unwrap().success());
        let state = tempfile::tempdir().unwrap();
        let config = state.path().join("litekeeper.yml");
        let settings = format!(
            "state: state.sqlite\ndatabases:\n  - path: {}\n    tasks: {{log_cleaning: {{tables: [{{table: logs, column: at}}]}}}}\n",
            database.display()
        );
        std::fs::write(&config, settings).unwrap();
        let (code, runs) = run("log_cleaning", config.to_str().unwrap());
        assert_eq!((code, &runs[0]["reason"]), (Some(4), &"readonly".into()), "{runs:#?}");
    });
    unmount(directory.path());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Berlin, 2027: on 28 March 02:00 becomes 03:00, on 31 October 03:00 becomes 02:00 again.
fn hours_that_clocks_skip_or_repeat(library: &str) {
    let fixture = TestDatabase::new("app").make();
    let tasks = "{health_check: {schedule: \"30 2 * * *\", timezone: Europe/Berlin}}";
    let config = configure(&fixture, tasks);
    let clock = fixture.directory().join("clock");
    for (now, next) in [
        ("2027-03-27 12:00:00", "2027-03-28T03:00:00+02:00"),
        ("2027-03-28 01:30:00", "2027-03-29T02:30:00+02:00"),
        // The first half past two of the two; in the second, the day's run is over.
        ("2027-10-30 12:00:00", "2027-10-31T02:30:00+02:00"),
        ("2027-10-31 01:00:00", "2027-11-01T02:30:00+01:00"),
    ] {
        std::fs::write(&clock, format!("@{now}")).unwrap();
        let output = with_clock(library, &clock)
            .env("TZ", "UTC")
            .args(["schedule", "--json", "--config", &config])
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["schedule"][0]["next"], next, "at {now} UTC: {document:#?}");
    }
}

/// A month ahead in a moment: what fell due meanwhile is one run, and the rest is counted as missed.
fn a_clock_that_jumps_makes_one_run(library: &str) {
    let fixture = TestDatabase::new("app").rows(10).make();
    let config = configure(&fixture, "{health_check: {schedule: 1d}}");
    let clock = fixture.directory().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let mut command = with_clock(library, &clock);
    command.args(["serve", "--config", &config]);
    let agent = Agent::start(command);
    let labels = [("db", "app"), ("task", "health_check")];
    agent.until("litekeeper_job_runs_total", &labels, 0.0);
    std::fs::write(&clock, "+30d").unwrap();
    let scrape = agent.until("litekeeper_job_runs_total", &labels, 1.0);
    let missed = scrape.value("litekeeper_job_missed_runs_total", &labels).unwrap();
    assert!((28.0..=30.0).contains(&missed), "{missed} missed");
    // The next is a day after the new time, and going back makes none either.
    let next = scrape.value("litekeeper_job_next_run_timestamp_seconds", &labels).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((30.0..=31.5).contains(&((next - now) / 86_400.0)), "next in {} days", (next - now) / 86_400.0);
    std::fs::write(&clock, "-10d").unwrap();
    eventually("the schedule follows the clock back", || {
        let next = agent.metrics().value("litekeeper_job_next_run_timestamp_seconds", &labels)?;
        ((next - now) / 86_400.0 < 2.0).then_some(())
    });
    assert_eq!(agent.metrics().value("litekeeper_job_runs_total", &labels), Some(1.0));
}

fn a_clock_that_was_set_deletes_nothing(library: &str) {
    let fixture = TestDatabase::new("app")
        .sql("CREATE TABLE logs (at INTEGER); INSERT INTO logs VALUES (unixepoch()), (unixepoch() - 29.99 * 86400)")
        .make();
    let config = configure(&fixture, "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d}]}}");
    let clock = fixture.directory().join("clock");
    for (time, code, words) in [
        ("+0", 0, ""),
        ("+2h", 3, "the clock was set forward"),
        ("-2h", 3, "the clock was set back"),
        // The time stands, so the next run goes on.
        ("-2h", 0, ""),
    ] {
        std::fs::write(&clock, time).unwrap();
        let arguments = ["run", "log_cleaning", "--json", "--config", &config, "--log.level", "off"];
        let output = with_clock(library, &clock).args(arguments).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = document["runs"][0]["message"].as_str().unwrap_or_default();
        assert!(output.status.code() == Some(code) && message.contains(words), "{time}: {document:#?}");
        assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM logs"), 2, "{time}");
    }
}
