//! Rows that are not free to go: rows that others refer to, rows that triggers keep, rows of full-text indexes, and values
//! that an archive must keep as they are.

use std::path::Path;

use libtest_mimic::Trial;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::dry_run;
use crate::maintenance::number;
use crate::maintenance::run;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("rows_that_others_refer_to_stay_and_are_named", rows_that_others_refer_to_stay_and_are_named),
        test("rows_that_a_trigger_keeps_are_named", rows_that_a_trigger_keeps_are_named),
        test("full_text_indexes_are_not_broken", full_text_indexes_are_not_broken),
        test("an_archive_keeps_every_value", an_archive_keeps_every_value),
    ]
}

/// Sixty rows, one a day, of which the last thirty have expired; the row of day `d` has the key `60 - d`.
const FILL: &str = "WITH RECURSIVE n (d) AS (SELECT 59 UNION ALL SELECT d - 1 FROM n WHERE d > 0)
    INSERT INTO p (id, at) SELECT 60 - d, unixepoch() - d * 86400 - 60 FROM n;";

fn cleaned(sql: &str, more: &str) -> (Connection, Value, Value) {
    let fixture = TestDatabase::new("app").sql(sql).make();
    let tasks = format!(
        "{{log_cleaning: {{foreign_keys: on, tables: [{{table: p, column: at, retention: 30d{more}}}]}}}}"
    );
    let config = configure(&fixture, &tasks);
    let dry = dry_run("log_cleaning", &config);
    let (code, runs) = run("log_cleaning", &config);
    assert_eq!(code, Some(0), "{runs:#?}");
    let table = runs[0]["details"]["log_cleaning"]["tables"][0].clone();
    (fixture.connect(), dry["runs"][0]["forecast"]["tables"][0].clone(), table)
}

fn rows_that_others_refer_to_stay_and_are_named() {
    let p = "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX p_at ON p (at);";
    let own = "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER, old INTEGER REFERENCES p); CREATE INDEX p_at ON p (at);
               CREATE INDEX p_old ON p (old);";
    // What is made, the options, rows deleted, rows kept and by which table, rows of others and of which table.
    for (sql, more, deleted, kept, others) in [
        (format!("{p}{FILL} CREATE TABLE c (p REFERENCES p ON DELETE RESTRICT); INSERT INTO c VALUES (5), (6), (50);"), "", 28, 2, 0),
        (format!("{p}{FILL} CREATE TABLE c (p REFERENCES p); INSERT INTO c VALUES (5), (6), (50);"), ", cascade: [c]", 30, 0, 2),
        (format!("{p}{FILL} CREATE TABLE c (p REFERENCES p); INSERT INTO c VALUES (5), (6), (50);"), ", set_null: [c]", 30, 0, 2),
        (format!("{p}{FILL} CREATE TABLE c (p NOT NULL REFERENCES p ON DELETE SET NULL); INSERT INTO c VALUES (5);"), "", 29, 1, 0),
        (format!("{p}{FILL} CREATE TABLE c (p REFERENCES p ON DELETE SET NULL); INSERT INTO c VALUES (5);"), "", 30, 0, 0),
        (format!("{p}{FILL} CREATE TABLE c (p REFERENCES p ON DELETE CASCADE); INSERT INTO c SELECT id FROM p, (SELECT 1 UNION ALL SELECT 2);"), "", 30, 0, 60),
        // A row that goes by CASCADE is itself referred to.
        (format!("{p}{FILL} CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE); INSERT INTO c SELECT id, id FROM p;
                  CREATE TABLE g (c REFERENCES c); INSERT INTO g VALUES (3);"), "", 29, 1, 29),
        (format!("{p}{FILL} CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE); INSERT INTO c SELECT id, id FROM p;
                  CREATE TABLE g (c REFERENCES c); INSERT INTO g VALUES (3);"), ", cascade: [g]", 30, 0, 31),
        // A table that refers to itself: a chain that a live row holds, one that has expired as a whole, a row that refers to itself.
        (format!("{own}{FILL} UPDATE p SET old = id - 1 WHERE id > 1;"), "", 0, 30, 0),
        (format!("{own}{FILL} UPDATE p SET old = id - 1 WHERE id > 1;"), ", set_null: [p]", 30, 0, 30),
        (format!("{own}{FILL} UPDATE p SET old = id - 1 WHERE id BETWEEN 2 AND 20;"), "", 30, 0, 0),
        (format!("{own}{FILL} UPDATE p SET old = id + 1 WHERE id < 20;"), "", 30, 0, 0),
        (format!("{own}{FILL} UPDATE p SET old = id;"), "", 30, 0, 0),
    ] {
        let (connection, dry, did) = cleaned(&sql, more);
        let kept_rows = |report: &Value| -> i64 {
            report["kept"].as_array().unwrap().iter().map(|kept| kept["rows"].as_i64().unwrap()).sum()
        };
        let other_rows = |report: &Value| -> i64 {
            report["others"].as_array().unwrap().iter().map(|other| other["rows"].as_i64().unwrap()).sum()
        };
        let left = number(&connection, "SELECT count(*) FROM p");
        assert_eq!((60 - left, kept_rows(&did), other_rows(&did)), (deleted, kept, others), "{sql}{more}\n{did:#}");
        assert_eq!((dry["rows"].as_i64(), kept_rows(&dry), other_rows(&dry)), (Some(deleted), kept, others), "{sql}\n{dry:#}");
        assert_eq!((&did["complete"], &did["finished"]), (&(kept == 0).into(), &true.into()), "{did:#}");
        assert_eq!(number(&connection, "SELECT count(*) FROM pragma_foreign_key_check"), 0, "{sql}");
    }
}

fn rows_that_a_trigger_keeps_are_named() {
    for action in ["IGNORE", "ABORT, 'legal hold'", "FAIL, 'legal hold'"] {
        let (connection, _, did) = cleaned(
            &format!(
                "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX p_at ON p (at); {FILL}
                 CREATE TRIGGER keep BEFORE DELETE ON p WHEN old.id % 3 = 0 BEGIN SELECT RAISE({action}); END;"
            ),
            "",
        );
        assert_eq!(number(&connection, "SELECT count(*) FROM p"), 40, "{action}: {did:#}");
        assert_eq!(
            (&did["complete"], &did["kept"][0]["reason"], &did["kept"][0]["rows"]),
            (&false.into(), &"trigger".into(), &10.into()),
            "{action}: {did:#}"
        );
        assert_eq!(did["note"].as_str().unwrap().contains("legal hold"), action != "IGNORE", "{did:#}");
    }
}

fn full_text_indexes_are_not_broken() {
    let fixture = TestDatabase::new("app")
        .sql(&format!(
            "CREATE TABLE p (id INTEGER, at INTEGER, body TEXT); CREATE INDEX p_at ON p (at); {FILL}
             UPDATE p SET body = hex(randomblob(1000)); CREATE VIRTUAL TABLE f USING fts5(body, content=p);"
        ))
        .make();
    let tasks = "{vacuum: {min_reclaimable: {bytes: 0, ratio: 0}}, log_cleaning: {tables: [{table: p, column: at, retention: 30d}]}}";
    let config = configure(&fixture, tasks);
    let (_, runs) = run("log_cleaning", &config);
    let message = runs[0]["message"].as_str().unwrap().to_owned();
    assert_eq!(runs[0]["reason"], "config", "{runs:#?}");
    // The trigger of the message is the remedy.
    let trigger = &message[message.find("CREATE TRIGGER").unwrap()..];
    fixture.connect().execute_batch(trigger).unwrap();
    let (code, runs) = run("log_cleaning", &config);
    assert_eq!((code, number(&fixture.connect(), "SELECT count(*) FROM p")), (Some(0), 30), "{runs:#?}");
    fixture
        .connect()
        .execute_batch("CREATE TABLE gone AS SELECT zeroblob(1000000) AS content; DROP TABLE gone;")
        .unwrap();
    let (code, runs) = run("vacuum", &config);
    assert_eq!((code, &runs[0]["reason"]), (Some(4), &"unstable_rowids".into()), "{runs:#?}");
}

fn an_archive_keeps_every_value() {
    let fixture = TestDatabase::new("app")
        .sql(&format!(
            "CREATE TABLE p (id INTEGER, at INTEGER, x ANY, t TEXT, b BLOB) STRICT; CREATE INDEX p_at ON p (at); {FILL}
             UPDATE p SET x = CASE id % 6 WHEN 0 THEN '007' WHEN 1 THEN 9223372036854775807 WHEN 2 THEN 1.5 WHEN 3 THEN x'00ff'
               WHEN 4 THEN '1e3' END, t = CASE id % 3 WHEN 0 THEN CAST(x'e9ff' AS TEXT) WHEN 1 THEN 'a' || char(0) || 'b' END,
               b = zeroblob(id);"
        ))
        .make();
    std::fs::create_dir(fixture.directory().join("archive")).unwrap();
    let rows = |path: &Path| {
        let connection = Connection::open(path).unwrap();
        let mut statement =
            connection.prepare("SELECT * FROM p WHERE at < unixepoch() - 30 * 86400 ORDER BY at").unwrap();
        let mut rows = statement.query(()).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let value = |index| match row.get_ref(index).unwrap() {
                ValueRef::Text(text) => format!("text {text:?}"),
                other => format!("{other:?}"),
            };
            found.push((0..5).map(value).collect::<Vec<_>>());
        }
        found
    };
    let before = rows(&fixture.path());
    let tasks = "{log_cleaning: {tables: [{table: p, column: at, retention: 30d, archive: archive}]}}";
    let (code, runs) = run("log_cleaning", &configure(&fixture, tasks));
    assert_eq!(code, Some(0), "{runs:#?}");
    let archive = runs[0]["details"]["log_cleaning"]["tables"][0]["archive"].as_str().unwrap();
    assert_eq!((rows(Path::new(archive)), before.len()), (before, 30));

    // A directory that is missing is named by the dry run too, and nothing is deleted.
    let tasks = "{log_cleaning: {tables: [{table: p, column: at, retention: 1d, archive: nowhere}]}}";
    let config = configure(&fixture, tasks);
    let dry = Output::of(&["run", "log_cleaning", "--config", &config, "--dry-run"]);
    assert!(dry.stdout.contains("the archive directory") && dry.stdout.contains("nowhere"), "{}", dry.stdout);
    let (_, runs) = run("log_cleaning", &config);
    assert_eq!(runs[0]["reason"], "io", "{runs:#?}");
    assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM p"), 30);
}
