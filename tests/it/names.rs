//! Names of tables, columns and indexes that are not UTF-8, as older programs on Windows wrote them.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::run;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![test("names_in_latin_1_are_no_damage", names_in_latin_1_are_no_damage)]
}

/// A database whose names have two bytes of Latin-1 where they are written with `__`.
fn latin_1() -> TestDatabase {
    let fixture = TestDatabase::new("app")
        .rows(50)
        .sql(
            "CREATE TABLE Gr__e (id INTEGER PRIMARY KEY, h__he INT, refers INT REFERENCES items (id));
             CREATE INDEX by__ ON Gr__e (h__he); CREATE TABLE key__ (k__y TEXT PRIMARY KEY, v) WITHOUT ROWID;
             CREATE TRIGGER tr__ AFTER DELETE ON Gr__e BEGIN DELETE FROM key__; END;
             CREATE VIEW se__n AS SELECT h__he FROM Gr__e;
             INSERT INTO Gr__e VALUES (1, 10, 1), (2, 20, 2); INSERT INTO key__ VALUES ('a', 1); ANALYZE;",
        )
        .make();
    let mut bytes = std::fs::read(fixture.path()).unwrap();
    for at in 1..bytes.len() {
        if bytes[at - 1..=at] == *b"__" {
            bytes[at - 1..=at].copy_from_slice(b"\xf6\xdf");
        }
    }
    std::fs::write(fixture.path(), bytes).unwrap();
    fixture
}

/// The whole check, the one by tables, the doctor, backups and statistics agree.
fn names_in_latin_1_are_no_damage() {
    let fixture = latin_1();
    let path = fixture.path().display().to_string();
    for options in [&[][..], &["--quick"], &["--by-table"], &["--rows", "*"]] {
        let arguments: Vec<&str> =
            ["check"].into_iter().chain(options.iter().copied()).chain([path.as_str()]).collect();
        let output = Output::of(&arguments);
        assert_eq!(output.code, Some(0), "{options:?}: {output:?}");
    }
    let rows = Output::of(&["check", "--json", "--rows", "*", &path]);
    let document: Value = serde_json::from_str(&rows.stdout).unwrap();
    let rows = document["databases"][0]["rows"].as_array().unwrap().iter();
    let rows: Vec<_> =
        rows.map(|row| (row["table"].as_str().unwrap(), row["rows"].as_i64().unwrap())).collect();
    assert!(rows.contains(&("Gr\u{FFFD}F6\u{FFFD}DFe", 2)), "{rows:?}");
    let doctor = Output::of(&["doctor", "--json", &path]);
    let document: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let findings = document["databases"][0]["findings"].to_string();
    assert!(!findings.contains("damaged") && !findings.contains("UTF-8"), "{findings}");
    let backup_files = fixture.directory().join("backups");
    std::fs::create_dir(&backup_files).unwrap();
    let config =
        configure(&fixture, &format!("{{backup: {{to: {}}}, optimize: {{}}}}", backup_files.display()));
    let (code, runs) = run("backup", &config);
    let backup = &runs[0]["details"]["backup"];
    assert_eq!((code, backup["not_compared"].as_array().unwrap().len()), (Some(0), 0), "{runs:#?}");
    assert!(backup["rows"].as_i64().unwrap() >= 53, "{backup}");
    fixture.connect().execute_batch("DELETE FROM sqlite_stat1").unwrap();
    let (code, runs) = run("optimize", &config);
    assert_eq!(code, Some(0), "{runs:#?}");
    let again = run("optimize", &config).1;
    assert!(!again.is_empty() && again[0]["outcome"] != "failed", "{again:#?}");

    // A table that is UTF-8 is cleaned beside others, and rows of another are not deleted by names that SQL cannot have.
    fixture.connect().execute_batch("CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER); INSERT INTO logs VALUES (1, 86400), (2, unixepoch())").unwrap();
    for (table, column, code) in [("logs", "at", 0), ("Gr\u{FFFD}F6\u{FFFD}DFe", "id", 3)] {
        let tasks = format!(
            "{{log_cleaning: {{tables: [{{table: {table}, column: {column}, retention: 30d, format: unix_seconds}}]}}}}"
        );
        let (exit, runs) = run("log_cleaning", &configure(&fixture, &tasks));
        assert_eq!(exit, Some(code), "{runs:#?}");
        let refused = runs[0]["message"].as_str().is_some_and(|message| message.contains("not UTF-8"));
        assert_eq!(refused, code != 0, "{runs:#?}");
    }

    // An index in Latin-1 that lacks a row is found by tables too.
    let mut bytes = std::fs::read(fixture.path()).unwrap();
    let root: i64 = fixture
        .connect()
        .query_row(
            "SELECT max(rootpage) FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
            (),
            |row| row.get(0),
        )
        .unwrap();
    let at = (usize::try_from(root).unwrap() - 1) * 4096;
    bytes[at + 4] = 1;
    std::fs::write(fixture.path(), bytes).unwrap();
    for options in [&[][..], &["--by-table"]] {
        let arguments: Vec<&str> =
            ["check"].into_iter().chain(options.iter().copied()).chain([path.as_str()]).collect();
        assert_eq!(Output::of(&arguments).code, Some(1), "{options:?}");
    }
}
