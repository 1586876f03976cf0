//! Maintenance through the real binary: what it does, what it refuses, and that nothing is lost whatever happens.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::Agent;
use crate::support::Output;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::mount::can_mount;
use crate::support::mount::mount;
use crate::support::mount::unmount;
use crate::support::test;
use crate::support::test_with_tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("each_way_to_write_a_time_is_cleaned", each_way_to_write_a_time_is_cleaned),
        test("own_commits_are_no_application_at_work", own_commits_are_no_application_at_work),
        test("rows_of_one_moment_are_cleaned", rows_of_one_moment_are_cleaned),
        test("what_is_unclear_deletes_nothing", what_is_unclear_deletes_nothing),
        test("a_quiet_table_keeps_its_rows", a_quiet_table_keeps_its_rows),
        test("each_kind_of_table_is_cleaned_or_refused", each_kind_of_table_is_cleaned_or_refused),
        test("conditions_newest_rows_and_archives", conditions_newest_rows_and_archives),
        test("vacuum_in_slices_at_once_and_converting", vacuum_in_slices_at_once_and_converting),
        test("a_kill_at_any_moment_loses_nothing", a_kill_at_any_moment_loses_nothing),
        test("a_stop_ends_a_run_at_a_safe_point", a_stop_ends_a_run_at_a_safe_point),
        test_with_tool(
            "a_full_disk_loses_nothing",
            can_mount().then(|| "mount".to_owned()),
            a_full_disk_loses_nothing,
        ),
        test("a_database_that_is_replaced_ends_the_run", a_database_that_is_replaced_ends_the_run),
        test("a_lock_held_for_ever_is_busy", a_lock_held_for_ever_is_busy),
        test("damage_stops_every_job_that_writes", damage_stops_every_job_that_writes),
        test("connections_of_others_are_counted", connections_of_others_are_counted),
        test("pauses_and_other_processes_are_seen", pauses_and_other_processes_are_seen),
        test("litestream_is_left_in_peace", litestream_is_left_in_peace),
        test("the_agent_catches_up_and_counts", the_agent_catches_up_and_counts),
    ]
}

/// Writes a configuration beside a database, with a state file, and gives its path.
pub fn configure(fixture: &TestDatabase, tasks: &str) -> String {
    let file = fixture.directory().join("litekeeper.yml");
    let name = fixture.path().file_name().unwrap().to_str().unwrap().to_owned();
    let text =
        format!("state: state.sqlite\ndatabases:\n  - path: {name}\n    name: app\n    tasks: {tasks}\n");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// The document of a dry run of a task.
pub fn dry_run(task: &str, config: &str) -> Value {
    let output =
        Output::of(&["run", task, "--config", config, "--json", "--dry-run", "--log.level", "error"]);
    serde_json::from_str(&output.stdout).unwrap()
}

/// `litekeeper run … --json`: the exit code and the runs.
pub fn run(task: &str, config: &str) -> (Option<i32>, Vec<Value>) {
    let arguments = ["run", task, "--config", config, "--json", "--log.level", "error"];
    let output = Output::of(&arguments);
    let document: Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", output.stdout, output.stderr));
    (output.code, document["runs"].as_array().unwrap().clone())
}

pub fn serve(config: &str) -> Agent {
    let mut command = litekeeper();
    command.args(["serve", "--config", config]);
    Agent::start(command)
}

pub fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, (), |row| row.get(0)).unwrap()
}

pub fn is_sound(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

const CLEANING: &str = "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d}]}}";

/// Logs with a row for each of the last 60 days, the time written by an SQL expression over the days `d`.
fn logs(time: &str, declared: &str, index: bool) -> TestDatabase {
    let index = if index { "CREATE INDEX logs_at ON logs (at);" } else { "" };
    TestDatabase::new("app")
        .sql(&format!(
            "CREATE TABLE logs (id INTEGER PRIMARY KEY, at {declared}, text TEXT); {index}
             WITH RECURSIVE n (d) AS (SELECT 0 UNION ALL SELECT d + 1 FROM n WHERE d < 59)
             INSERT INTO logs (at, text) SELECT {time}, 'day ' || d FROM n;"
        ))
        .make()
}

fn each_way_to_write_a_time_is_cleaned() {
    for (time, declared) in [
        ("datetime('now', -d || ' days', '-1 minute')", "TEXT"),
        ("datetime('now', -d || ' days', '-1 minute')", "DATETIME"),
        ("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', -d || ' days', '-1 minute')", "TEXT"),
        ("strftime('%Y-%m-%dT%H:%M:%S', 'now', -d || ' days', '-1 minute', '+2 hours') || '+02:00'", "TEXT"),
        // Two separators in one column, so that the order of the texts is not that of the times.
        (
            "CASE WHEN d % 2 THEN datetime('now', -d || ' days', '-1 minute')
             ELSE replace(datetime('now', -d || ' days', '-1 minute'), ' ', 'T') END",
            "TEXT",
        ),
        // Two zones in one column, as with summer time.
        (
            "CASE WHEN d % 2 THEN strftime('%Y-%m-%d %H:%M:%S', 'now', -d || ' days', '-1 minute', '+2 hours') || '+02:00'
             ELSE strftime('%Y-%m-%d %H:%M:%S', 'now', -d || ' days', '-1 minute', '-5 hours') || '-05:00' END",
            "TEXT",
        ),
        ("unixepoch() - d * 86400 - 60", "INTEGER"),
        ("(unixepoch() - d * 86400 - 60) * 1000", "INTEGER"),
        ("(unixepoch() - d * 86400 - 60) * 1000000", "INTEGER"),
        ("julianday('now') - d - 0.001", "REAL"),
    ] {
        for index in [true, false] {
            let fixture = logs(time, declared, index);
            // What is no time stays.
            fixture.connect().execute_batch("INSERT INTO logs (at) VALUES (NULL), (NULL)").unwrap();
            let (code, runs) = run("log_cleaning", &configure(&fixture, CLEANING));
            assert_eq!(code, Some(0), "{time}: {runs:#?}");
            let connection = fixture.connect();
            let left = number(&connection, "SELECT count(*) FROM logs WHERE at IS NOT NULL");
            assert_eq!(left, 30, "{time}, index {index}: {runs:#?}");
            assert_eq!(number(&connection, "SELECT count(*) FROM logs WHERE at IS NULL"), 2);
            let table = &runs[0]["details"]["log_cleaning"]["tables"][0];
            assert_eq!((&table["deleted_rows"], &table["complete"]), (&30.into(), &true.into()), "{table}");
            assert_eq!(table["note"].as_str().is_some_and(|note| note.contains("CREATE INDEX")), !index);
        }
    }
    let fixture = logs("date('now', -d || ' days')", "TEXT", true);
    run("log_cleaning", &configure(&fixture, CLEANING));
    let left = number(&fixture.connect(), "SELECT count(*) FROM logs");
    assert!((30..=31).contains(&left), "{left} rows with dates alone");
}

/// As an import leaves them: no batch may look at all of them again.
/// The commits of one table's cleaning must not be taken for an application's by the next one.
fn own_commits_are_no_application_at_work() {
    let fixture = logs("unixepoch() - d * 86400", "INTEGER", true);
    fixture
        .connect()
        .execute_batch("CREATE TABLE more AS SELECT * FROM logs; CREATE TABLE most AS SELECT * FROM logs;")
        .unwrap();
    let tables =
        ["logs", "more", "most"].map(|table| format!("{{table: {table}, column: at, retention: 30d}}"));
    let config = configure(&fixture, &format!("{{log_cleaning: {{tables: [{}]}}}}", tables.join(", ")));
    let output = Output::of(&["run", "log_cleaning", "--config", &config]);
    assert_eq!(output.code, Some(0), "{output:?}");
    // The row of exactly 30 days goes if a second passes before the run.
    assert!(output.stdout.matches(" rows older than").count() == 3, "{}", output.stdout);
    assert!(!output.stderr.contains("the application writes"), "{}", output.stderr);
}

fn rows_of_one_moment_are_cleaned() {
    for more in ["", ", archive: archive"] {
        let fixture = logs("datetime('now', '-1 minute')", "TEXT", true);
        std::fs::create_dir(fixture.directory().join("archive")).unwrap();
        fixture
            .connect()
            .execute_batch(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)
                 INSERT INTO logs (at) SELECT '2025-01-01 00:00:00' FROM n;",
            )
            .unwrap();
        let tasks =
            format!("{{log_cleaning: {{tables: [{{table: logs, column: at, retention: 30d{more}}}]}}}}");
        let (code, runs) = run("log_cleaning", &configure(&fixture, &tasks));
        assert_eq!(code, Some(0), "{runs:#?}");
        assert_eq!(runs[0]["details"]["log_cleaning"]["tables"][0]["deleted_rows"], 400_000, "{runs:#?}");
        assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM logs"), 60);
    }
}

fn what_is_unclear_deletes_nothing() {
    let text = "datetime('now', -d || ' days')";
    for (time, change, words) in [
        (
            "CASE WHEN d % 2 THEN unixepoch() - d * 86400 ELSE datetime('now', -d || ' days') END",
            "",
            "mixes formats",
        ),
        ("'day ' || d", "", "set `format`"),
        // The clock: a row of next month.
        (text, "INSERT INTO logs (at) VALUES (datetime('now', '+30 days'))", "one of them is wrong"),
        (text, "CREATE TABLE child (log REFERENCES logs (id))", "write `foreign_keys: on` or `off`"),
        (text, "ALTER TABLE logs RENAME COLUMN at TO moment", "has no column at"),
        (text, "ALTER TABLE logs RENAME TO entries", "there is no table logs"),
        (
            text,
            "ALTER TABLE logs RENAME TO entries; CREATE VIEW logs AS SELECT * FROM entries",
            "logs is a view",
        ),
    ] {
        let fixture = logs(time, "", true);
        fixture.connect().execute_batch(change).unwrap();
        let count = |connection: &Connection| {
            let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'entries'";
            let table = if number(connection, sql) == 1 { "entries" } else { "logs" };
            number(connection, &format!("SELECT count(*) FROM {table}"))
        };
        let before = count(&fixture.connect());
        let config = configure(&fixture, CLEANING);
        let dry = Output::of(&["run", "log_cleaning", "--dry-run", "--config", &config]);
        assert!(dry.stdout.contains(words), "{}", dry.stdout);
        let (code, runs) = run("log_cleaning", &config);
        let message = runs[0]["message"].as_str().unwrap_or_default();
        assert!(code == Some(3) && message.contains(words), "{words}: {runs:#?}");
        assert_eq!(count(&fixture.connect()), before, "{words}");
    }
}

/// Nothing new for longer than a log is quiet: the clock may be ahead, so its rows stay, and that is no failure.
fn a_quiet_table_keeps_its_rows() {
    let fixture = logs("datetime('now', -d || ' days')", "", true);
    fixture.connect().execute("DELETE FROM logs WHERE at > datetime('now', '-20 days')", ()).unwrap();
    let before = number(&fixture.connect(), "SELECT count(*) FROM logs");
    let config = configure(&fixture, CLEANING);
    let dry = Output::of(&["run", "log_cleaning", "--dry-run", "--config", &config]);
    assert!(dry.stdout.contains("more than max_newest_age"), "{}", dry.stdout);
    let (code, runs) = run("log_cleaning", &config);
    let table = &runs[0]["details"]["log_cleaning"]["tables"][0];
    let note = table["note"].as_str().unwrap_or_default();
    assert!(code == Some(0) && note.contains("more than max_newest_age"), "{runs:#?}");
    assert_eq!((&table["complete"], &table["finished"]), (&false.into(), &true.into()), "{table}");
    assert_eq!(
        (&table["kept"][0]["reason"], &table["kept"][0]["rows"]),
        (&"quiet".into(), &30.into()),
        "{table}"
    );
    assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM logs"), before);
}

fn each_kind_of_table_is_cleaned_or_refused() {
    let fill = "WITH RECURSIVE n (d) AS (SELECT 0 UNION ALL SELECT d + 1 FROM n WHERE d < 59)
                INSERT INTO logs (at, kind, text) SELECT unixepoch() - d * 86400 - 60, k, 'x' FROM n, (SELECT 'a' AS k UNION SELECT 'b');";
    for schema in [
        "CREATE TABLE logs (at INTEGER, kind TEXT, text TEXT, PRIMARY KEY (at, kind)) WITHOUT ROWID;",
        "CREATE TABLE logs (at INTEGER, kind TEXT, text TEXT, PRIMARY KEY (kind, at)) WITHOUT ROWID;",
        "CREATE TABLE logs (at INTEGER, kind TEXT, text TEXT); CREATE INDEX down ON logs (at DESC, kind);",
        "CREATE TABLE logs (at INTEGER, kind TEXT, text TEXT, rowid TEXT, _rowid_ TEXT); CREATE INDEX i ON logs (kind);",
        "CREATE TABLE logs (at INTEGER, kind TEXT, text TEXT); CREATE INDEX part ON logs (at) WHERE kind = 'a';",
        "CREATE TABLE logs (at INTEGER, kind TEXT, text TEXT); CREATE INDEX i ON logs (at); CREATE TABLE gone (at);
         CREATE TRIGGER keep AFTER DELETE ON logs BEGIN INSERT INTO gone VALUES (old.at); END;",
    ] {
        let fixture = TestDatabase::new("app").wal().sql(&format!("{schema}{fill}")).make();
        let (code, runs) = run("log_cleaning", &configure(&fixture, CLEANING));
        assert_eq!(code, Some(0), "{schema}: {runs:#?}");
        let connection = fixture.connect();
        assert_eq!(number(&connection, "SELECT count(*) FROM logs"), 60, "{schema}");
        assert_eq!(number(&connection, "SELECT count(*) FROM logs WHERE at < unixepoch() - 30 * 86400"), 0);
        if schema.contains("TRIGGER") {
            assert_eq!(number(&connection, "SELECT count(*) FROM gone"), 60);
        }
    }
    // Foreign keys as the application has them: on, a cascade follows.
    let fixture = logs("unixepoch() - d * 86400 - 60", "INTEGER", true);
    fixture
        .connect()
        .execute_batch(
            "CREATE TABLE notes (log INTEGER REFERENCES logs (id) ON DELETE CASCADE);
             CREATE INDEX notes_log ON notes (log); INSERT INTO notes SELECT id FROM logs;",
        )
        .unwrap();
    let tasks = "{log_cleaning: {foreign_keys: on, tables: [{table: logs, column: at, retention: 30d}]}}";
    assert_eq!(run("log_cleaning", &configure(&fixture, tasks)).0, Some(0));
    assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM notes"), 30);
}

fn conditions_newest_rows_and_archives() {
    let fixture = logs("unixepoch() - d * 86400 - 60", "INTEGER", true);
    let archive = fixture.directory().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let tasks = "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d, archive: archive, condition: \"id % 3 <> 0 -- thirds\"}]}}";
    let (_, runs) = run("log_cleaning", &configure(&fixture, tasks));
    let table = &runs[0]["details"]["log_cleaning"]["tables"][0];
    assert_eq!(table["deleted_rows"], 20, "{runs:#?}");
    // What was deleted is in the archive, as it was, and the archive is a database of its own.
    let kept = Path::new(table["archive"].as_str().unwrap());
    is_sound(kept);
    let connection = fixture.connect();
    connection.execute("ATTACH ?1 AS archive", [kept.to_str().unwrap()]).unwrap();
    assert_eq!(number(&connection, "SELECT count(*) FROM archive.logs WHERE text LIKE 'day %'"), 20);
    assert_eq!(number(&connection, "SELECT count(*) FROM archive.logs JOIN main.logs USING (id)"), 0);

    let fixture = logs("unixepoch() - d * 86400 - 60", "INTEGER", true);
    let tasks = "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d, keep_latest: 50}]}}";
    assert_eq!(run("log_cleaning", &configure(&fixture, tasks)).0, Some(0));
    assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM logs"), 50);
}

/// A database of which two thirds are free.
fn bloated(mode: &str, wal: bool) -> TestDatabase {
    let fixture = TestDatabase::new("app");
    let connection = fixture.connect();
    connection.execute_batch(&format!("PRAGMA auto_vacuum = {mode}")).unwrap();
    if wal {
        connection.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    }
    connection
        .execute_batch(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, body BLOB);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000)
             INSERT INTO items SELECT i, zeroblob(1000) FROM n;
             DELETE FROM items WHERE id % 15 > 4 OR id % 15 = 0;",
        )
        .unwrap();
    connection.execute_batch("DELETE FROM items WHERE id <= 10000").unwrap();
    fixture
}

fn vacuum_in_slices_at_once_and_converting() {
    for wal in [false, true] {
        for (mode, tasks, method) in [
            ("INCREMENTAL", "{vacuum: {min_reclaimable: {bytes: 1MiB}}}", "incremental"),
            ("NONE", "{vacuum: {min_reclaimable: {bytes: 1MiB}}}", "full"),
            (
                "NONE",
                "{vacuum: {min_reclaimable: {bytes: 1MiB}, convert_auto_vacuum: incremental}}",
                "full_then_incremental",
            ),
        ] {
            let fixture = bloated(mode, wal);
            let before = number(&fixture.connect(), "SELECT sum(id) FROM items");
            let config = configure(&fixture, tasks);
            let (code, runs) = run("vacuum", &config);
            let vacuum = &runs[0]["details"]["vacuum"];
            assert_eq!((code, &vacuum["method"]), (Some(0), &method.into()), "{runs:#?}");
            assert!(vacuum["saved_percent"].as_f64().unwrap() > 50.0, "{runs:#?}");
            // The file itself is shorter, and the WAL, if any, is not in the way.
            let size = std::fs::metadata(fixture.path()).unwrap().len();
            assert_eq!(vacuum["size_after_bytes"], size, "wal {wal}: {runs:#?}");
            let connection = fixture.connect();
            assert_eq!(number(&connection, "SELECT sum(id) FROM items"), before);
            assert_eq!(number(&connection, "PRAGMA freelist_count"), 0);
            let incremental = number(&connection, "PRAGMA auto_vacuum") == 2;
            assert_eq!(incremental, method != "full");
            drop(connection);
            is_sound(&fixture.path());
            let (code, runs) = run("vacuum", &config);
            assert_eq!((code, &runs[0]["reason"]), (Some(0), &"below_threshold".into()), "{runs:#?}");
        }
    }
    let fixture = bloated("NONE", false);
    let tasks = "{vacuum: {min_reclaimable: {bytes: 1MiB}, min_free_space: 100TiB}}";
    let (code, runs) = run("vacuum", &configure(&fixture, tasks));
    assert_eq!((code, &runs[0]["reason"]), (Some(4), &"no_space".into()), "{runs:#?}");
}

/// Kills a job a hundred times while a second process writes, and looks at the database each time.
fn a_kill_at_any_moment_loses_nothing() {
    const KILLS: u64 = 100;
    for (mode, wal, task) in [
        ("INCREMENTAL", true, "all"),
        ("NONE", true, "all"),
        ("INCREMENTAL", false, "all"),
        ("NONE", false, "all"),
    ] {
        let fixture = TestDatabase::new("app");
        let owner = fixture.connect();
        owner.busy_timeout(Duration::from_secs(30)).unwrap();
        owner
            .execute_batch(&format!(
                "PRAGMA auto_vacuum = {mode}; PRAGMA journal_mode = {}",
                if wal { "WAL" } else { "DELETE" }
            ))
            .unwrap();
        owner
            .execute_batch(
                "CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, text TEXT); CREATE INDEX logs_at ON logs (at);
                 CREATE TABLE orders (id INTEGER PRIMARY KEY);",
            )
            .unwrap();
        let tasks = "{vacuum: {min_reclaimable: {bytes: 1, ratio: 0}, min_free_space: 0}, log_cleaning: {target_lock_hold: 10ms, tables: [{table: logs, column: at, retention: 30d}]}}";
        let config = configure(&fixture, tasks);
        for kill in 0..KILLS / 4 {
            owner
                .execute_batch(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
                     INSERT INTO logs (at, text) SELECT unixepoch() - 60 * 86400 + i, hex(zeroblob(50)) FROM n;
                     INSERT INTO logs (at, text) SELECT unixepoch(), 'kept' FROM (VALUES (1), (2), (3));",
                )
                .unwrap();
            let mut child = litekeeper()
                .args(["run", task, "--config", &config, "--log.level", "off"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // The moment: after so many commits of the owner, which is at work meanwhile.
            for order in 0..(kill * 7) % 23 {
                owner
                    .execute("INSERT INTO orders VALUES (?1)", [i64::try_from(kill * 100 + order).unwrap()])
                    .unwrap();
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let verdict: String = owner.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
            assert_eq!(verdict, "ok", "{mode} wal {wal}, kill {kill}");
            let kept = number(&owner, "SELECT count(*) FROM logs WHERE text = 'kept'");
            assert_eq!(kept, i64::try_from((kill + 1) * 3).unwrap(), "{mode} wal {wal}, kill {kill}");
            let orders: u64 = (0..=kill).map(|kill| (kill * 7) % 23).sum();
            assert_eq!(number(&owner, "SELECT count(*) FROM orders"), i64::try_from(orders).unwrap());
        }
        let (code, runs) = run(task, &config);
        assert_eq!(code, Some(0), "{runs:#?}");
        assert_eq!(
            number(&owner, "SELECT count(*) FROM logs WHERE text <> 'kept'"),
            0,
            "the next run finishes"
        );
        drop(owner);
        is_sound(&fixture.path());
    }
}

/// Many expired rows, and a pause after each batch that makes the cleaning last.
pub fn slow_cleaning() -> (TestDatabase, String) {
    let fixture = TestDatabase::new("app")
        .wal()
        .sql(
            "CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX logs_at ON logs (at);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
             INSERT INTO logs (at) SELECT unixepoch() - 100 * 86400 + i FROM n;
             INSERT INTO logs (at) VALUES (unixepoch());",
        )
        .make();
    let tasks = "{log_cleaning: {target_lock_hold: 1ms, pause_ratio: 100, tables: [{table: logs, column: at, retention: 30d}]}}";
    let config = configure(&fixture, tasks);
    (fixture, config)
}

/// Starts a slow cleaning and waits until it has deleted something.
fn cleaning_under_way(fixture: &TestDatabase, config: &str) -> std::process::Child {
    let child = litekeeper()
        .args(["run", "log_cleaning", "--json", "--config", config, "--log.level", "off"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until_a_batch_is_deleted(fixture);
    child
}

/// Waits for the first of 100,001 logs to go.
pub fn until_a_batch_is_deleted(fixture: &TestDatabase) {
    let connection = fixture.connect();
    eventually("a batch is deleted", || {
        (number(&connection, "SELECT count(*) FROM logs") < 100_001).then_some(())
    });
}

pub fn outcome_of(child: std::process::Child) -> (Option<i32>, Value) {
    let output = child.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), document["runs"][0].clone())
}

fn a_stop_ends_a_run_at_a_safe_point() {
    let (fixture, config) = slow_cleaning();
    let child = cleaning_under_way(&fixture, &config);
    // A second run beside it has no place.
    let (code, runs) = run("log_cleaning", &config);
    assert_eq!((code, &runs[0]["reason"]), (Some(4), &"overlap".into()), "{runs:#?}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    let (code, run_) = outcome_of(child);
    assert_eq!((code, &run_["reason"]), (Some(3), &"canceled".into()), "{run_:#?}");
    let table = &run_["details"]["log_cleaning"]["tables"][0];
    assert!(table["deleted_rows"].as_u64() > Some(0) && table["complete"] == false, "{run_:#?}");
    let left = number(&fixture.connect(), "SELECT count(*) FROM logs");
    assert_eq!(left as u64 + table["deleted_rows"].as_u64().unwrap(), 100_001, "what it says is what it did");
    is_sound(&fixture.path());
    let tasks = "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d}]}}";
    assert_eq!(run("log_cleaning", &configure(&fixture, tasks)).0, Some(0));
    assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM logs"), 1);
}

fn a_database_that_is_replaced_ends_the_run() {
    let (fixture, config) = slow_cleaning();
    let child = cleaning_under_way(&fixture, &config);
    let other = fixture.directory().join("other");
    Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE logs (at INTEGER); INSERT INTO logs VALUES (1)")
        .unwrap();
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(fixture.directory().join(format!("app.db{suffix}"))).unwrap();
    }
    std::fs::rename(&other, fixture.path()).unwrap();
    let (code, run) = outcome_of(child);
    assert_eq!((code, &run["reason"]), (Some(3), &"io".into()), "{run:#?}");
    assert!(run["message"].as_str().unwrap().contains("replaced"), "{run:#?}");
    assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM logs"), 1, "the new one is untouched");
}

/// A vacuum on a disk that becomes full ends with that reason, and changes nothing.
fn a_full_disk_loses_nothing(_mount: &str) {
    let directory = tempfile::tempdir().unwrap();
    assert!(mount(directory.path(), "8m"));
    let database = directory.path().join("app.db");
    let result = std::panic::catch_unwind(|| {
        let connection = Connection::open(&database).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = OFF; CREATE TABLE items (id INTEGER PRIMARY KEY, body BLOB);
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                 INSERT INTO items SELECT i, randomblob(1000) FROM n; DELETE FROM items WHERE id % 3 = 0;
                 DELETE FROM items WHERE id < 1000;",
            )
            .unwrap();
        drop(connection);
        let state = tempfile::tempdir().unwrap();
        let config = state.path().join("litekeeper.yml");
        let settings = |vacuum: &str| {
            format!(
                "state: state.sqlite\ndatabases: [{{path: {}, tasks: {{vacuum: {{min_reclaimable: {{bytes: 1, ratio: 0}}, {vacuum}}}}}}}]\n",
                database.display()
            )
        };
        std::fs::write(&config, settings("min_free_space: 0")).unwrap();
        let (code, runs) = run("vacuum", config.to_str().unwrap());
        assert_eq!((code, &runs[0]["reason"]), (Some(4), &"no_space".into()), "{runs:#?}");
        is_sound(&database);
    });
    unmount(directory.path());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn a_lock_held_for_ever_is_busy() {
    for wal in [false, true] {
        let fixture = bloated("NONE", wal);
        fixture.connect()
            .execute_batch("CREATE TABLE logs (at INTEGER); INSERT INTO logs VALUES (unixepoch()), (unixepoch() - 9000000)")
            .unwrap();
        let mut owner = SecondProcess::open(&fixture.path());
        owner.run("BEGIN IMMEDIATE; INSERT INTO items VALUES (0, NULL)");
        let tasks = "{vacuum: {lock_timeout: 1s, min_reclaimable: {bytes: 1MiB}}, log_cleaning: {lock_timeout: 1s, tables: [{table: logs, column: at}]}}";
        let config = configure(&fixture, tasks);
        let (code, runs) = run("all", &config);
        let reasons: Vec<&Value> = runs.iter().map(|run| &run["reason"]).collect();
        assert_eq!(
            (code, reasons),
            (Some(3), vec![&Value::from("busy"), &"busy".into()]),
            "wal {wal}: {runs:#?}"
        );
        owner.run("COMMIT");
        assert_eq!(run("all", &config).0, Some(0));
        assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM items WHERE id = 0"), 1);
    }
}

fn damage_stops_every_job_that_writes() {
    use std::io::Seek as _;
    use std::io::Write as _;
    let fixture = bloated("NONE", false);
    let page = number(&fixture.connect(), "SELECT rootpage FROM sqlite_schema WHERE name = 'items'");
    let read = std::fs::read(fixture.path()).unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(fixture.path()).unwrap();
    let at = (page as u64 - 1) * 4096;
    file.seek(std::io::SeekFrom::Start(at)).unwrap();
    file.write_all(&[0; 4096]).unwrap();
    let config = configure(&fixture, "{health_check: {}, vacuum: {min_reclaimable: {bytes: 1MiB}}}");
    let (code, runs) = run("health_check", &config);
    assert_eq!((code, &runs[0]["reason"]), (Some(1), &"corrupt".into()), "{runs:#?}");
    // Repaired by another program, it counts as damaged until a full check passes.
    file.seek(std::io::SeekFrom::Start(at)).unwrap();
    file.write_all(&read[at as usize..at as usize + 4096]).unwrap();
    drop(file);
    let (code, runs) = run("vacuum", &config);
    assert_eq!((code, &runs[0]["reason"]), (Some(4), &"unhealthy".into()), "{runs:#?}");
    let agent = serve(&config);
    agent.until("sqlite_integrity_ok", &[("db", "app"), ("check", "full")], 0.0);
    // A run by hand, while the agent serves, is in its metrics at once.
    assert_eq!(run("health_check", &config).0, Some(0));
    agent.until("sqlite_integrity_ok", &[("db", "app"), ("check", "full")], 1.0);
    let (code, runs) = run("vacuum", &config);
    assert_eq!(code, Some(0), "{runs:#?}");
    agent.until("litekeeper_job_runs_total", &[("db", "app"), ("task", "vacuum")], 1.0);
}

fn pauses_and_other_processes_are_seen() {
    let fixture = bloated("NONE", false);
    let config = configure(&fixture, "{vacuum: {min_reclaimable: {bytes: 1MiB}}}");
    let command = |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--config", &config]).collect();
        Output::of(&arguments)
    };
    assert_eq!(command(&["pause", "--db", "app"]).code, Some(0));
    let agent = serve(&config);
    agent.until("litekeeper_maintenance_paused", &[("db", "app")], 1.0);
    let (code, runs) = run("vacuum", &config);
    assert_eq!((code, &runs[0]["reason"]), (Some(4), &"paused".into()));
    assert!(command(&["schedule"]).stdout.contains("paused"));
    assert_eq!(command(&["resume"]).code, Some(0));
    agent.until("litekeeper_maintenance_paused", &[("db", "app")], 0.0);
    // Each counter is there before its first event, and counts what another process did.
    agent.until("litekeeper_job_skips_total", &[("task", "vacuum"), ("reason", "paused")], 1.0);
    let scrape = agent.metrics();
    assert_eq!(
        scrape.value("litekeeper_job_failures_total", &[("task", "vacuum"), ("reason", "io")]),
        Some(0.0)
    );
    assert_eq!(command(&["run", "vacuum"]).code, Some(0));
    let scrape = agent.until("litekeeper_job_last_run_success", &[("task", "vacuum")], 1.0);
    assert!(scrape.value("litekeeper_vacuum_reclaimed_bytes_total", &[("task", "vacuum")]) > Some(1e6));
    let history = command(&["history", "--db", "app"]).stdout;
    assert!(history.contains("skipped: paused") && history.contains("saved"), "{history}");
    assert_eq!(command(&["run", "vacuum", "--db", "other"]).code, Some(2));
    assert_eq!(command(&["run", "log_cleaning"]).code, Some(2));
}

fn litestream_is_left_in_peace() {
    let fixture = bloated("NONE", true);
    let config = configure(&fixture, "{vacuum: {min_reclaimable: {bytes: 1MiB}}}");
    std::fs::create_dir(fixture.directory().join(".app.db-litestream")).unwrap();
    let (code, runs) = run("vacuum", &config);
    assert_eq!((code, &runs[0]["reason"]), (Some(4), &"replicated".into()), "{runs:#?}");
    let forced = configure(&fixture, "{vacuum: {min_reclaimable: {bytes: 1MiB}, allow_replicated: on}}");
    assert_eq!(run("vacuum", &forced).0, Some(0));
}

/// How the lock is shared depends on the connections that others have, so they are counted again and again.
fn connections_of_others_are_counted() {
    // So many that it is worth a count, in a build of any kind.
    const ROWS: &str = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 250000)
        INSERT INTO logs (at, text) SELECT unixepoch() - iif(i = 0, 0, 100 * 86400 + i), 'row ' || i FROM n";
    let fixture = TestDatabase::new("app")
        .sql("CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, text TEXT); CREATE INDEX logs_at ON logs (at)")
        .make();
    let config = configure(&fixture, "{log_cleaning: {tables: [{table: logs, column: at, retention: 90d}]}}");
    let clean = || {
        let output = Output::of(&["run", "log_cleaning", "--config", &config, "--log.level", "debug"]);
        assert_eq!(output.code, Some(0), "{output:?}");
        let reported = output.stderr.lines().filter(|line| line.contains("how the lock is shared"));
        reported.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut one = SecondProcess::open(&fixture.path());
    one.run(ROWS);
    let alone = clean();
    // Where the system hides processes, the number stays unknown.
    let hidden = alone.is_empty();
    assert!(hidden || alone[0].contains("Some(1)"), "{alone:?}");
    let mut other = SecondProcess::open(&fixture.path());
    other.run(ROWS);
    let beside_two = clean();
    assert!(
        beside_two.is_empty() == hidden && (hidden || beside_two[0].contains("Some(2)")),
        "{beside_two:?}"
    );
}

/// What fell due while no agent was there is done once after the start, and what was missed is counted.
fn the_agent_catches_up_and_counts() {
    let fixture = bloated("NONE", false);
    let config = configure(&fixture, "{vacuum: {schedule: 1d, min_reclaimable: {bytes: 1MiB}}}");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("catch_up_delay: 0s\n{text}")).unwrap();
    assert_eq!(Output::of(&["history", "--config", &config]).code, Some(0));
    let state = Connection::open(fixture.directory().join("state.sqlite")).unwrap();
    let path = std::fs::canonicalize(fixture.path()).unwrap().display().to_string();
    state.execute("INSERT INTO slots VALUES (?1, 'vacuum', unixepoch() - 5 * 86400)", [path]).unwrap();
    let agent = serve(&config);
    agent.until("litekeeper_job_runs_total", &[("db", "app"), ("task", "vacuum")], 1.0);
    let missed = agent.metrics().value("litekeeper_job_missed_runs_total", &[("task", "vacuum")]).unwrap();
    assert!((4.0..=5.0).contains(&missed), "{missed} missed");
    eventually("the run is in the state file", || {
        let trigger = state.query_row("SELECT trigger FROM runs", (), |row| row.get::<_, String>(0)).ok()?;
        (trigger == "catch_up").then_some(())
    });
    drop(agent);
    let again = serve(&config);
    // Known from before the start: when it ran, and that it did its work.
    again.until("litekeeper_job_last_run_success", &[("task", "vacuum")], 1.0);
    assert_eq!(again.metrics().value("litekeeper_job_runs_total", &[("task", "vacuum")]), Some(0.0));
}
