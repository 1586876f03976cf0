//! Tasks beside tables that need what only the application has: what is refused with which reason, and what runs.

use libtest_mimic::Trial;
use rusqlite::functions::FunctionFlags;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::dry_run;
use crate::maintenance::run;
use crate::support::Agent;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::litekeeper;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("tasks_run_beside_unknown_parts", tasks_run_beside_unknown_parts),
        test("counts_need_no_collation", counts_need_no_collation),
        test(
            "a_file_that_never_was_a_database_is_not_damaged",
            a_file_that_never_was_a_database_is_not_damaged,
        ),
        test("an_encrypted_file_is_not_called_corrupt", an_encrypted_file_is_not_called_corrupt),
    ]
}

/// A log that SQLite knows all of, and a table whose index needs one of the application's parts.
fn make(auto_vacuum: u32, unknown: &str) -> TestDatabase {
    let fixture = TestDatabase::new("app").sql("").make();
    let connection = fixture.connect();
    connection
        .create_collation("unicase", |a: &str, b: &str| a.to_lowercase().cmp(&b.to_lowercase()))
        .unwrap();
    let flags = FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("own", 1, flags, |context| context.get::<i64>(0)).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA auto_vacuum = {auto_vacuum}; VACUUM;
             CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, text TEXT); CREATE INDEX logs_at ON logs (at);
             CREATE TABLE gone (x); INSERT INTO gone VALUES (zeroblob(200000)); DROP TABLE gone;
             {unknown}
             WITH RECURSIVE n (d) AS (SELECT 99 UNION ALL SELECT d - 1 FROM n WHERE d > 0)
             INSERT INTO logs SELECT 100 - d, unixepoch() - d * 86400 - 60, 'x' FROM n;
             INSERT INTO decks (id, at, name) SELECT id, at, 'Name' || id FROM logs;"
        ))
        .unwrap();
    fixture
}

/// What makes the table `decks`, the part of the application that it needs, and whether rows can be deleted without.
const UNKNOWN: [(&str, &str, bool); 4] = [
    (
        "CREATE TABLE decks (id INTEGER PRIMARY KEY, at INTEGER, name TEXT); CREATE INDEX by_name ON decks (name COLLATE unicase);",
        "unicase",
        false,
    ),
    (
        "CREATE TABLE decks (id INTEGER PRIMARY KEY, at INTEGER, name TEXT); CREATE INDEX by_own ON decks (own(at));",
        "own",
        false,
    ),
    (
        "CREATE TABLE decks (id INTEGER PRIMARY KEY, at INTEGER, name TEXT, twice AS (own(at)));
         CREATE INDEX by_twice ON decks (twice);",
        "own",
        false,
    ),
    // What is stored need not be computed again.
    (
        "CREATE TABLE decks (id INTEGER PRIMARY KEY, at INTEGER, name TEXT, twice AS (own(at)) STORED);
         CREATE INDEX by_twice ON decks (twice);",
        "own",
        true,
    ),
];

fn tasks_run_beside_unknown_parts() {
    for (unknown, part, is_cleaned) in UNKNOWN {
        let fixture = make(0, unknown);
        let backups = fixture.directory().join("backups");
        std::fs::create_dir(&backups).unwrap();
        let config = configure(
            &fixture,
            "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d}]}, optimize: {}, backup: {to: backups}, \
             vacuum: {min_reclaimable: {bytes: 1, ratio: 0}}, health_check: {}}",
        );
        for (task, code) in [("log_cleaning", 0), ("backup", 0), ("health_check", 0), ("optimize", 0)] {
            let (exit, runs) = run(task, &config);
            assert_eq!(
                (exit, &runs[0]["outcome"]),
                (Some(code), &"success".into()),
                "{part}, {task}: {runs:#?}"
            );
        }
        let (_, runs) = run("vacuum", &config);
        assert_eq!(runs[0]["reason"], "needs_application", "{part}: {runs:#?}");
        assert!(runs[0]["message"].as_str().unwrap().contains(part), "{part}: {runs:#?}");
        let dry = dry_run("vacuum", &config);
        assert_eq!(dry["runs"][0]["forecast"]["would_not_run"], runs[0]["message"], "{part}: {dry:#?}");

        let config =
            configure(&fixture, "{log_cleaning: {tables: [{table: decks, column: at, retention: 30d}]}}");
        let (_, runs) = run("log_cleaning", &config);
        let message = runs[0]["message"].as_str().unwrap_or_default();
        let reason = if is_cleaned { Value::Null } else { "config".into() };
        assert_eq!(runs[0]["reason"], reason, "{part}: {runs:#?}");
        let is_named = message.contains(part) && message.contains("the application's own");
        assert_eq!(is_named, !is_cleaned, "{part}: {message}");
        let sql = "SELECT count(*) FROM decks NOT INDEXED";
        let rows: i64 = fixture.connect().query_row(sql, (), |row| row.get(0)).unwrap();
        assert_eq!(rows, if is_cleaned { 30 } else { 100 }, "{part}");

        // Free pages go without the schema.
        let fixture = make(2, unknown);
        let config = configure(&fixture, "{vacuum: {min_reclaimable: {bytes: 1, ratio: 0}}}");
        let (exit, runs) = run("vacuum", &config);
        assert_eq!((exit, &runs[0]["outcome"]), (Some(0), &"success".into()), "{part}: {runs:#?}");
    }
}

/// What depends on no order is known: rows, and which tables want statistics that can be made here.
fn counts_need_no_collation() {
    let tables = [
        "CREATE TABLE decks (id INTEGER PRIMARY KEY, at INTEGER, name TEXT); CREATE INDEX by_name ON decks (name COLLATE unicase);",
        "CREATE TABLE decks (id INTEGER, at INTEGER, name TEXT PRIMARY KEY COLLATE unicase) WITHOUT ROWID;",
    ];
    for table in tables {
        let fixture = make(0, table);
        let path = fixture.path().display().to_string();
        let report = Output::of(&["check", "--json", "--rows", "decks,logs", &path]).stdout;
        let report: Value = serde_json::from_str(&report).unwrap();
        let rows = report["databases"][0]["rows"].as_array().unwrap().clone();
        assert_eq!(rows.len(), 2, "{report:#}");
        assert!(rows.iter().all(|table| table["rows"] == 100), "{table}: {rows:#?}");
        let doctor = Output::of(&["doctor", &path]).stdout;
        assert!(!doctor.contains("ould not look"), "{table}: {doctor}");
        let watch = fixture.directory().join("watch.yml");
        std::fs::write(&watch, format!("state: off\ndatabases: [{{path: {path:?}, row_counts: [decks]}}]\n"))
            .unwrap();
        let mut serve = litekeeper();
        serve.arg("serve").arg("--config").arg(&watch);
        let agent = Agent::start(serve).ready();
        agent.until("sqlite_table_rows", &[("db", "app"), ("table", "decks"), ("method", "count")], 100.0);
        drop(agent);

        let config = configure(&fixture, "{optimize: {}}");
        let dry = Output::of(&["run", "optimize", "--config", &config, "--json", "--dry-run"]).stdout;
        let dry: Value = serde_json::from_str(&dry).unwrap();
        let (code, runs) = run("optimize", &config);
        assert_eq!(code, Some(0), "{table}: {runs:#?}");
        let done = &runs[0]["details"]["optimize"];
        assert_eq!(dry["runs"][0]["forecast"]["analyze"], done["analyzed"], "{table}: {dry:#} {runs:#?}");
        assert_eq!(done["not_possible"].as_array().unwrap().len(), 1, "{table}: {runs:#?}");
    }
}

/// State, content, and a part of the message.
const NO_DATABASE: [(&str, &[u8], &str); 6] = [
    ("empty", b"", "for SQLite it is a database without tables"),
    ("not_a_database", b"hello", "a text file"),
    ("not_a_database", b"key,value\n1,2\n", "a text file"),
    ("not_a_database", b"PK\x03\x04\0\0\0\0", "a zip archive"),
    ("not_a_database", b"** This file contains an SQLite 2.1 database **\0", "SQLite 2"),
    ("not_a_database", b"\x01\x80\0\xff", "neither the header nor pages"),
];

/// Every command names the state, none calls it damage, and none changes the file.
fn a_file_that_never_was_a_database_is_not_damaged() {
    let fixture = TestDatabase::new("app");
    std::fs::create_dir(fixture.directory().join("backups")).unwrap();
    let path = fixture.path().display().to_string();
    let database = TestDatabase::new("other").rows(10).make();
    let newer = {
        let mut bytes = std::fs::read(database.path()).unwrap();
        bytes[19] = 3;
        bytes
    };
    let cases = NO_DATABASE.into_iter().chain([("newer_version", &*newer, "needs version 3")]);
    let config = configure(
        &fixture,
        "{health_check: {}, backup: {to: backups}, vacuum: {}, optimize: {}, checkpoint: {}, \
         log_cleaning: {tables: [{table: t, column: c, retention: 30d}]}}",
    );
    for (state, content, words) in cases {
        std::fs::write(fixture.path(), content).unwrap();
        for command in [&["check", &path][..], &["doctor", &path], &["check", "--by-table", "--quick", &path]]
        {
            let output = Output::of(command);
            assert_eq!(output.code, Some(3), "{state}: {output:?}");
            let said = output.stdout + &output.stderr;
            assert!(said.contains(words) && !said.contains("DAMAGED"), "{state}: {said}");
        }
        let json: Value = serde_json::from_str(&Output::of(&["check", "--json", &path]).stdout).unwrap();
        assert_eq!(json["databases"][0]["file_format"], state, "{json:#}");
        for task in ["health_check", "backup", "vacuum", "optimize", "log_cleaning", "checkpoint"] {
            let runs = run(task, &config).1;
            assert_ne!(runs[0]["outcome"], "success", "{state}, {task}: {runs:#?}");
            assert_ne!(runs[0]["reason"], "corrupt", "{state}, {task}: {runs:#?}");
            let message = runs[0]["message"].as_str().unwrap();
            assert!(message.contains(words), "{state}, {task}: {message}");
        }
        assert_eq!(std::fs::read(fixture.path()).unwrap(), content, "{state}");
        let left: Vec<_> = std::fs::read_dir(fixture.directory().join("backups")).unwrap().collect();
        assert!(left.is_empty(), "{state}: {left:?}");
    }
}

fn an_encrypted_file_is_not_called_corrupt() {
    let fixture = TestDatabase::new("app");
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(8 * 4096)
    .collect();
    std::fs::write(fixture.path(), &noise).unwrap();
    std::fs::create_dir(fixture.directory().join("backups")).unwrap();
    let path = fixture.path().display().to_string();
    for command in ["check", "doctor"] {
        let output = Output::of(&[command, &path]);
        assert_eq!(output.code, Some(3), "{output:?}");
        let words = output.stdout + &output.stderr;
        assert!(words.contains("looks encrypted") && !words.to_lowercase().contains("damaged"), "{words}");
    }
    let config = configure(&fixture, "{health_check: {}, backup: {to: backups}, vacuum: {}}");
    for task in ["health_check", "backup", "vacuum", "backup"] {
        let runs = run(task, &config).1;
        assert_eq!(runs[0]["reason"], "other", "{task}: {runs:#?}");
        assert!(runs[0]["message"].as_str().unwrap().contains("looks encrypted"), "{task}: {runs:#?}");
    }
    assert_eq!(std::fs::read(fixture.path()).unwrap(), noise);

    // SQLITE_NOTADB pages as corruption.
    let watch = fixture.directory().join("watch.yml");
    std::fs::write(&watch, format!("state: off\nsample_interval: 1s\ndatabases: [{{path: {path:?}}}]\n"))
        .unwrap();
    let mut serve = litekeeper();
    serve.arg("serve").arg("--config").arg(&watch);
    let agent = Agent::start(serve).ready();
    let errors = |code: &str| agent.metrics().value("sqlite_errors_total", &[("db", "app"), ("code", code)]);
    assert_eq!((errors("other"), errors("SQLITE_NOTADB")), (Some(1.0), Some(0.0)));
    assert!(agent.log().iter().any(|line| line.contains("looks encrypted")), "{:?}", agent.log());
    drop(agent);

    // What was a database before is damaged, whatever its bytes look like.
    std::fs::remove_file(fixture.path()).unwrap();
    fixture.connect().execute_batch("CREATE TABLE items (id INTEGER PRIMARY KEY)").unwrap();
    let mut serve = litekeeper();
    serve.arg("serve").arg("--config").arg(&watch);
    let agent = Agent::start(serve).ready();
    agent.until("sqlite_up", &[("db", "app")], 1.0);
    std::fs::write(fixture.path(), &noise).unwrap();
    agent.until("sqlite_errors_total", &[("db", "app"), ("code", "SQLITE_NOTADB")], 1.0);
}
