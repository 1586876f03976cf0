//! Findings by kind: what each does to `check`, the health check, the backup and the metrics.

use std::path::Path;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::run;
use crate::maintenance::serve;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("each_kind_of_finding_has_its_consequences", each_kind_of_finding_has_its_consequences),
        test("the_text_of_a_large_index_is_compared", the_text_of_a_large_index_is_compared),
        test("broken_constraints_stop_no_maintenance", broken_constraints_stop_no_maintenance),
        test("corrupt_is_confirmed_by_a_check", corrupt_is_confirmed_by_a_check),
    ]
}

/// A finding, how it is made, and what follows.
struct Case {
    what: &'static str,
    make: fn(&Connection),
    /// The kind that `check` gives it, with a part of its words.
    kind: &'static str,
    words: &'static str,
}

const fn case(what: &'static str, make: fn(&Connection), kind: &'static str, words: &'static str) -> Case {
    Case { what, make, kind, words }
}

fn redefine(connection: &Connection, name: &str, sql: &str) {
    connection.execute_batch("PRAGMA writable_schema = ON").unwrap();
    connection.execute("UPDATE sqlite_schema SET sql = ?2 WHERE name = ?1", [name, sql]).unwrap();
    connection.execute_batch("PRAGMA writable_schema = OFF; PRAGMA schema_version = 77").unwrap();
}

fn unicase(connection: &Connection) {
    connection
        .create_collation("unicase", |a: &str, b: &str| a.to_lowercase().cmp(&b.to_lowercase()))
        .unwrap();
    connection
        .execute_batch(
            "CREATE TABLE decks (id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE unicase, number);
             CREATE UNIQUE INDEX by_name ON decks (name); CREATE INDEX by_both ON decks (number, name);
             CREATE TABLE tags (tag TEXT PRIMARY KEY COLLATE unicase, number) WITHOUT ROWID;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO decks (name, number) SELECT iif(i % 2, 'd', 'D') || i, i % 7 FROM n;
             INSERT INTO tags SELECT name, number FROM decks;",
        )
        .unwrap();
}

fn own_function(connection: &Connection) {
    let flags = rusqlite::functions::FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("own", 1, flags, |context| context.get::<i64>(0)).unwrap();
}

const CASES: &[Case] = &[
    case("nothing", |_| {}, "", ""),
    case(
        "an index that lacks a row",
        |connection| {
            connection.execute_batch("CREATE TABLE t (a); CREATE INDEX i ON t (a)").unwrap();
            redefine(connection, "i", "CREATE INDEX i ON t (a) WHERE a > 5");
            connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
            redefine(connection, "i", "CREATE INDEX i ON t (a)");
        },
        "damage",
        "missing from index i",
    ),
    case(
        "an index of an unknown collation that has another value than its row",
        |connection| {
            unicase(connection);
            redefine(connection, "by_name", "CREATE INDEX by_name ON decks (upper(name))");
            connection.execute_batch("INSERT INTO decks (name) VALUES ('lower')").unwrap();
            redefine(connection, "by_name", "CREATE UNIQUE INDEX by_name ON decks (name)");
        },
        "damage",
        "an entry of index by_name is for row 501",
    ),
    case(
        "NULL in a NOT NULL column",
        |connection| {
            connection.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (NULL)").unwrap();
            redefine(connection, "t", "CREATE TABLE t (a NOT NULL)");
        },
        "constraint",
        "NULL value in t.a",
    ),
    case(
        "a number in a TEXT column",
        |connection| {
            connection.execute_batch("CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)").unwrap();
            redefine(connection, "t", "CREATE TABLE t (a TEXT)");
        },
        "constraint",
        "NUMERIC value in t.a",
    ),
    case(
        "a number as text in a numeric column",
        |connection| {
            connection.execute_batch("CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('1')").unwrap();
            redefine(connection, "t", "CREATE TABLE t (a INTEGER)");
        },
        "constraint",
        "TEXT value in t.a",
    ),
    case(
        "a text in a STRICT table",
        |connection| {
            connection.execute_batch("CREATE TABLE t (a TEXT) STRICT; INSERT INTO t VALUES ('x')").unwrap();
            redefine(connection, "t", "CREATE TABLE t (a INT) STRICT");
        },
        "constraint",
        "non-INT value in t.a",
    ),
    case(
        "a broken CHECK",
        |connection| {
            connection
                .execute_batch(
                    "CREATE TABLE t (s TEXT CHECK (s IN ('open', 'closed'))); PRAGMA ignore_check_constraints = ON;
                     INSERT INTO t VALUES ('weird'), (NULL), ('open')",
                )
                .unwrap();
        },
        "constraint",
        "CHECK constraint failed in t for 1 row",
    ),
    case(
        "two rows with one key",
        |connection| {
            let sql = "CREATE TABLE t (a); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1), (1)";
            connection.execute_batch(sql).unwrap();
            redefine(connection, "i", "CREATE UNIQUE INDEX i ON t (a)");
        },
        "constraint",
        "non-unique entry in index i",
    ),
    case(
        "a row without its parent",
        |connection| {
            let sql = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p);
                       PRAGMA foreign_keys = OFF; INSERT INTO c VALUES (7)";
            connection.execute_batch(sql).unwrap();
        },
        "constraint",
        "refers to a missing row of p",
    ),
    case("a collation of the application", unicase, "not_checkable", "order of index by_both"),
    case(
        "a table WITHOUT ROWID whose primary key has a collation of the application",
        unicase,
        "not_checkable",
        "tags: the order of its rows and whether their keys are unique were not checked: it is a table WITHOUT ROWID",
    ),
    case(
        "an index of a table WITHOUT ROWID beside a collation of the application",
        |connection| {
            unicase(connection);
            connection.execute_batch("CREATE INDEX by_number ON tags (number)").unwrap();
        },
        "not_checkable",
        "by_number were not held beside their rows: its table is WITHOUT ROWID, and has no row ids",
    ),
    case(
        "a partial index with a collation of the application",
        |connection| {
            unicase(connection);
            connection.execute_batch("CREATE INDEX some ON decks (name) WHERE number > 3").unwrap();
        },
        "not_checkable",
        "some were not held beside their rows: it holds some rows only",
    ),
    case(
        "an index over an expression with a collation of the application",
        |connection| {
            unicase(connection);
            connection.execute_batch("CREATE INDEX over ON decks (number + 1, name)").unwrap();
        },
        "not_checkable",
        "over were not held beside their rows: it is over an expression",
    ),
    case(
        "an index over a generated column with a collation of the application",
        |connection| {
            unicase(connection);
            let sql = "ALTER TABLE decks ADD COLUMN twice AS (number * 2); CREATE INDEX by_twice ON decks (twice, name)";
            connection.execute_batch(sql).unwrap();
        },
        "not_checkable",
        "by_twice were not held beside their rows: it is over a generated column",
    ),
    case(
        "a tokenizer of the application, FTS4",
        |connection| {
            connection
                .execute_batch("CREATE VIRTUAL TABLE f USING fts4(a); INSERT INTO f VALUES ('x')")
                .unwrap();
            redefine(connection, "f", "CREATE VIRTUAL TABLE f USING fts4(a, tokenize=collating)");
        },
        "not_checkable",
        "tokenizer collating",
    ),
    case(
        "a tokenizer of the application, FTS5",
        |connection| {
            connection
                .execute_batch("CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES ('x')")
                .unwrap();
            redefine(connection, "f", "CREATE VIRTUAL TABLE f USING fts5(a, tokenize='calibre')");
        },
        "not_checkable",
        "calibre",
    ),
    case(
        "a function of the application in an index",
        |connection| {
            own_function(connection);
            let sql = "CREATE TABLE t (a NOT NULL); CREATE INDEX i ON t (own(a)); INSERT INTO t VALUES (7)";
            connection.execute_batch(sql).unwrap();
        },
        "not_checkable",
        "function own",
    ),
    case(
        "a function of the application in an indexed column of two tables",
        |connection| {
            own_function(connection);
            let sql =
                "CREATE TABLE t (a, g AS (own(a)) NOT NULL, CHECK (own(a) > 0)); CREATE INDEX i ON t (g);
                       CREATE TABLE u (a, g AS (own(a))); CREATE INDEX j ON u (g, a);
                       INSERT INTO t VALUES (7); INSERT INTO u VALUES (7);";
            connection.execute_batch(sql).unwrap();
        },
        "not_checkable",
        "u: what its function own",
    ),
    case(
        "a CHECK in a collation of the application",
        |connection| {
            connection.create_collation("unicase", |_: &str, _: &str| std::cmp::Ordering::Equal).unwrap();
            let sql = "CREATE TABLE t (a TEXT COLLATE unicase CHECK (a = 'x')); INSERT INTO t VALUES ('X')";
            connection.execute_batch(sql).unwrap();
        },
        "not_checkable",
        "collation unicase",
    ),
    case(
        "a value that the expression of a column refuses",
        |connection| {
            connection.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES ('{')").unwrap();
            redefine(connection, "t", "CREATE TABLE t (a, g AS (json_extract(a, '$.x')) NOT NULL)");
        },
        "not_checkable",
        "malformed JSON",
    ),
    case(
        "a module of the application",
        |connection| {
            let sql = "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema
                       VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING spellfix1(a)')";
            connection.execute_batch(sql).unwrap();
        },
        "not_checkable",
        "module spellfix1",
    ),
    case(
        "a foreign key to columns that are no key",
        |connection| {
            let sql = "PRAGMA foreign_keys = OFF; CREATE TABLE p (code TEXT); CREATE TABLE c (p REFERENCES p (code)); INSERT INTO c VALUES ('x')";
            connection.execute_batch(sql).unwrap();
        },
        "not_checkable",
        "foreign key mismatch",
    ),
    case(
        "full-text indexes that fit their tables",
        |connection| {
            connection
                .execute_batch(
                    "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'one'), (7, 'seven');
                     CREATE VIRTUAL TABLE f5 USING fts5(a, content='t', content_rowid='id');
                     INSERT INTO f5 (f5) VALUES ('rebuild');
                     CREATE VIRTUAL TABLE f4 USING fts4(content='t', a); INSERT INTO f4 (f4) VALUES ('rebuild');
                     CREATE VIRTUAL TABLE own USING fts5(a); INSERT INTO own VALUES ('word');
                     CREATE VIRTUAL TABLE none USING fts5(a, content=''); INSERT INTO none (rowid, a) VALUES (3, 'word');",
                )
                .unwrap();
        },
        "",
        "",
    ),
    case(
        "an FTS5 index that lacks a row of its table",
        |connection| {
            let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'one');
                       CREATE VIRTUAL TABLE f USING fts5(a, content='t', content_rowid='id');
                       INSERT INTO f (f) VALUES ('rebuild'); INSERT INTO t VALUES (2, 'two')";
            connection.execute_batch(sql).unwrap();
        },
        "constraint",
        "full-text index f is out of step with its table t",
    ),
    case(
        "an FTS5 index that has other words than its table",
        |connection| {
            let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'one');
                       CREATE VIRTUAL TABLE f USING fts5(a, content=t, content_rowid=id);
                       INSERT INTO f (f) VALUES ('rebuild'); UPDATE t SET a = 'other'";
            connection.execute_batch(sql).unwrap();
        },
        "constraint",
        "VALUES ('rebuild') makes the index anew",
    ),
    case(
        "an FTS4 index out of step with its table",
        |connection| {
            let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'one');
                       CREATE VIRTUAL TABLE f USING fts4(content='t', a);
                       INSERT INTO f (f) VALUES ('rebuild'); INSERT INTO t VALUES (2, 'two')";
            connection.execute_batch(sql).unwrap();
        },
        "constraint",
        "full-text index f is out of step with its table t",
    ),
    case(
        "an FTS5 index without row ids, of a table that is not there",
        |connection| {
            let sql = "CREATE VIRTUAL TABLE f USING fts5(a, content='gone', columnsize=0)";
            connection.execute_batch(sql).unwrap();
        },
        "not_checkable",
        "full-text index f: it was not compared with its table gone",
    ),
    case("a file that is longer than its pages", |_| {}, "odd", "SQLITE_FCNTL_CHUNK_SIZE"),
];

/// Above 64 MiB a private copy is a file. Where there is none, a finding names what was not compared.
fn the_text_of_a_large_index_is_compared() {
    let fixture = TestDatabase::new("app").make();
    let owner = fixture.connect();
    owner
        .execute_batch(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'one'), (7, 'seven');
             CREATE VIRTUAL TABLE f USING fts5(a, content='t', content_rowid='id'); INSERT INTO f (f) VALUES ('rebuild');
             CREATE TABLE large (body); INSERT INTO large VALUES (zeroblob(70000000))",
        )
        .unwrap();
    let path = fixture.path().display().to_string();
    let whole = Output::of(&["check", &path]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let by_table = Output::of(&["check", "--by-table", &path]);
    assert_eq!(by_table.code, Some(3), "{by_table:?}");
    assert!(by_table.stdout.contains("only the row ids were compared"), "{by_table:?}");
    owner.execute_batch("UPDATE t SET a = 'other'").unwrap();
    let whole = Output::of(&["check", &path]);
    assert_eq!(whole.code, Some(1), "{whole:?}");
    assert!(whole.stdout.contains("full-text index f is out of step with its table t"), "{whole:?}");
}

/// What the table in docs/CHECK.md says of each kind.
fn each_kind_of_finding_has_its_consequences() {
    for case in CASES {
        let what = case.what;
        let fixture = TestDatabase::new("app").rows(100).make();
        (case.make)(&fixture.connect());
        if case.kind == "odd" {
            lengthen(&fixture.path());
        }
        let backups = fixture.directory().join("backups");
        std::fs::create_dir(&backups).unwrap();
        let path = fixture.path().display().to_string();
        let output = Output::of(&["check", "--json", &path]);
        let by_table = Output::of(&["check", "--json", "--by-table", &path]);
        assert_eq!(
            (by_table.code, by_table.stdout.contains(case.words)),
            (output.code, true),
            "{what}: {by_table:?}"
        );
        let (exit, outcome, reason) = match case.kind {
            "damage" => (1, "failed", Value::from("corrupt")),
            "constraint" => (1, "failed", Value::from("constraint")),
            "not_checkable" => (3, "success", Value::Null),
            _ => (0, "success", Value::Null),
        };
        assert_eq!(output.code, Some(exit), "{what}: {output:?}");
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        let checks = document["databases"][0]["checks"].as_array().unwrap();
        let findings: Vec<&Value> =
            checks.iter().flat_map(|check| check["findings"].as_array().unwrap()).collect();
        let found = findings.iter().any(|finding| {
            finding["kind"] == case.kind && finding["text"].as_str().unwrap().contains(case.words)
        });
        assert!(found || case.kind.is_empty() && findings.is_empty(), "{what}: {}", output.stdout);
        let worse = |kind: &Value| {
            case.kind != "damage" && kind == "damage"
                || ["not_checkable", "odd"].contains(&case.kind) && kind == "constraint"
        };
        assert!(!findings.iter().any(|finding| worse(&finding["kind"])), "{what}: {}", output.stdout);

        let config = configure(&fixture, "{health_check: {}, backup: {to: backups}}");
        let (code, runs) = run("health_check", &config);
        let expected = if outcome == "success" { 0 } else { 1 };
        assert_eq!((code, &runs[0]["outcome"]), (Some(expected), &outcome.into()), "{what}: {runs:#?}");
        assert_eq!(runs[0]["reason"], reason, "{what}: {runs:#?}");
        let (_, runs) = run("backup", &config);
        let is_backup = |path: &Path| path.extension().is_some_and(|extension| extension == "backup");
        let kept = std::fs::read_dir(&backups)
            .unwrap()
            .filter(|entry| is_backup(&entry.as_ref().unwrap().path()))
            .count();
        assert_eq!(kept, usize::from(case.kind != "damage"), "{what}: {runs:#?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the test plays SQLite with a chunk size")]
fn lengthen(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(1 << 20).unwrap();
}

/// Verdict and metrics keep damage apart, and every task goes on.
fn broken_constraints_stop_no_maintenance() {
    let fixture = TestDatabase::new("app").rows(100).make();
    let connection = fixture.connect();
    unicase(&connection);
    connection.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (NULL), (NULL)").unwrap();
    redefine(&connection, "t", "CREATE TABLE t (a NOT NULL)");
    drop(connection);
    let config = configure(&fixture, "{health_check: {}, checkpoint: {}, optimize: {}}");
    assert_eq!(run("health_check", &config).0, Some(1));
    let agent = serve(&config);
    let full = [("db", "app"), ("check", "full")];
    agent.until("sqlite_integrity_ok", &full, 1.0);
    let metrics = agent.metrics();
    assert_eq!(metrics.value("sqlite_integrity_constraint_violations", &full), Some(2.0));
    let value = |name: &str| metrics.value(name, &full).unwrap();
    let (all, checked) = (value("sqlite_integrity_btrees"), value("sqlite_integrity_btrees_checked"));
    assert_eq!(
        all - checked,
        3.0,
        "two indexes and a table are in the order of a collation: {checked} of {all}"
    );
    for task in ["checkpoint", "optimize"] {
        let (_, runs) = run(task, &config);
        let reason = runs[0]["reason"].as_str().unwrap_or_default();
        assert!(!["unhealthy", "corrupt"].contains(&reason), "{task}: {runs:#?}");
    }
}

/// A cleaning whose DELETE SQLite calls malformed: the file is sound where a full-text index is out of step with its table, and
/// is not where a page of the table is gone.
fn corrupt_is_confirmed_by_a_check() {
    for damaged in [false, true] {
        let trigger = "CREATE VIRTUAL TABLE f USING fts5(text, content='logs', content_rowid='id');
            CREATE TRIGGER gone AFTER DELETE ON logs BEGIN
            INSERT INTO f(f, rowid, text) VALUES ('delete', old.id, old.text); END;";
        let fixture = TestDatabase::new("app")
            .sql(
                "CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, text TEXT); CREATE INDEX logs_at ON logs (at);
                 WITH RECURSIVE n (d) AS (SELECT 199 UNION ALL SELECT d - 1 FROM n WHERE d > 0)
                 INSERT INTO logs SELECT 200 - d, unixepoch() - d * 86400, 'words ' || hex(zeroblob(400)) FROM n;",
            )
            .sql(if damaged { "" } else { trigger })
            .make();
        if damaged {
            let sql = "SELECT min(pageno) FROM dbstat WHERE name = 'logs' AND pagetype = 'leaf'";
            let leaf: u32 = fixture.connect().query_row(sql, (), |row| row.get(0)).unwrap();
            let leaf = leaf as usize;
            let mut bytes = std::fs::read(fixture.path()).unwrap();
            bytes[(leaf - 1) * 4096..leaf * 4096].fill(0);
            std::fs::write(fixture.path(), bytes).unwrap();
        }
        let tasks = "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d}]}, optimize: {}}";
        let config = configure(&fixture, tasks);
        let (code, runs) = run("log_cleaning", &config);
        assert_eq!((code, &runs[0]["outcome"]), (Some(3), &"failed".into()), "{runs:#?}");
        let message = runs[0]["message"].as_str().unwrap();
        assert_eq!(runs[0]["reason"], if damaged { "corrupt" } else { "other" }, "{message}");
        assert_eq!(message.contains("a full check finds no damage"), !damaged, "{message}");
        let (_, runs) = run("optimize", &config);
        assert_eq!(runs[0]["reason"] == "unhealthy", damaged, "{runs:#?}");
    }
}
