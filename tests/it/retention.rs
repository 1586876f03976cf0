//! Which rows a cleaning deletes: over every kind of key and index, by number and size, along references; and what is known of it
//! before the night.

use std::path::Path;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::number;
use crate::maintenance::run;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::mount::can_mount;
use crate::support::mount::mount;
use crate::support::mount::unmount;
use crate::support::test;
use crate::support::test_with_tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("each_kind_of_key_and_index_is_walked", each_kind_of_key_and_index_is_walked),
        test("rows_beyond_a_number_or_size_go", rows_beyond_a_number_or_size_go),
        test("limits_without_an_order_are_refused", limits_without_an_order_are_refused),
        test("references_are_followed_at_any_depth", references_are_followed_at_any_depth),
        test("long_chains_are_no_work_in_the_square", long_chains_are_no_work_in_the_square),
        test("rows_kept_by_the_configuration_are_counted", rows_kept_by_the_configuration_are_counted),
        test("what_will_fail_is_named_before", what_will_fail_is_named_before),
        test_with_tool(
            "a_full_archive_disk_is_named_before",
            can_mount().then(|| "mount".to_owned()),
            a_full_archive_disk_is_named_before,
        ),
    ]
}

fn dry_run(config: &str) -> Value {
    let arguments =
        ["run", "log_cleaning", "--config", config, "--json", "--dry-run", "--log.level", "error"];
    let output = Output::of(&arguments);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    document["runs"][0]["forecast"]["tables"][0].clone()
}

/// Cleans the table `p`: the dry run's words on it, and the run's.
fn cleaned(fixture: &TestDatabase, table: &str) -> (Value, Value) {
    // Beside an application that waits for locks, the pauses are short.
    let tasks =
        format!("{{log_cleaning: {{foreign_keys: on, tables: [{table}]}}}}\n    owner_busy_timeout: 10s");
    let config = configure(fixture, &tasks);
    let dry = dry_run(&config);
    let (code, runs) = run("log_cleaning", &config);
    assert_eq!(code, Some(0), "{table}: {runs:#?}");
    (dry, runs[0]["details"]["log_cleaning"]["tables"][0].clone())
}

fn archived(did: &Value) -> i64 {
    let archive = Connection::open(did["archive"].as_str().unwrap()).unwrap();
    number(&archive, "SELECT count(*) FROM p")
}

fn each_kind_of_key_and_index_is_walked() {
    /// Ten rows for each of sixty days, all of a day at one moment, so that batches end within a moment.
    const FILL: &str = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 599)
        INSERT INTO p (id, at) SELECT %, unixepoch() - i / 10 * 86400 - 60 FROM n;";
    let (counted, random) = ("600 - i", "CASE i WHEN 1 THEN 0 ELSE random() END");
    let uuid = "lower(hex(randomblob(16)))";
    let text_at = "UPDATE p SET at = datetime(at, 'unixepoch');";
    // The schema, the keys, SQL after the rows, the index of the dry run, and a part of its note.
    for (schema, key, then, index, note) in [
        ("CREATE TABLE p (id INTEGER PRIMARY KEY, at)", counted, "CREATE INDEX i ON p (at)", Some("i"), ""),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at)",
            counted,
            "CREATE INDEX i ON p (at DESC)",
            Some("i"),
            "",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at)",
            random,
            "CREATE INDEX i ON p (at, id DESC)",
            Some("i"),
            "",
        ),
        ("CREATE TABLE p (id INTEGER PRIMARY KEY, at)", random, "", None, "no index on p.at"),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY DESC, at)",
            counted,
            "UPDATE p SET id = NULL WHERE id % 3 = 0",
            None,
            "no index on p.at",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY DESC, at)",
            counted,
            "CREATE INDEX i ON p (at DESC, id)",
            Some("i"),
            "",
        ),
        ("CREATE TABLE p (id TEXT PRIMARY KEY, at)", uuid, "", None, "no index on p.at"),
        ("CREATE TABLE p (id TEXT PRIMARY KEY, at) WITHOUT ROWID", uuid, "", None, "no index on p.at"),
        (
            "CREATE TABLE p (id TEXT PRIMARY KEY DESC, at) WITHOUT ROWID",
            uuid,
            "CREATE INDEX i ON p (at DESC)",
            Some("i"),
            "",
        ),
        (
            "CREATE TABLE p (id INTEGER, at INTEGER, PRIMARY KEY (at, id)) WITHOUT ROWID",
            counted,
            "",
            Some("primary key"),
            "",
        ),
        (
            "CREATE TABLE p (id INTEGER, at INTEGER, PRIMARY KEY (at DESC, id)) WITHOUT ROWID",
            counted,
            "",
            Some("primary key"),
            "",
        ),
        (
            "CREATE TABLE p (id INTEGER, at INTEGER, PRIMARY KEY (id DESC, at)) WITHOUT ROWID",
            counted,
            "",
            None,
            "no index on p.at",
        ),
        (
            "CREATE TABLE p (id INTEGER, at TEXT, PRIMARY KEY (at COLLATE NOCASE, id)) WITHOUT ROWID",
            counted,
            text_at,
            None,
            "the primary key has another collation",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at TEXT)",
            counted,
            "UPDATE p SET at = datetime(at, 'unixepoch'); CREATE INDEX i ON p (at COLLATE NOCASE)",
            None,
            "the index i has the collation NOCASE",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at TEXT)",
            counted,
            "UPDATE p SET at = datetime(at, 'unixepoch'); CREATE INDEX i ON p (at COLLATE NOCASE); CREATE INDEX j ON p (at)",
            Some("j"),
            "",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at)",
            counted,
            "CREATE INDEX i ON p (at) WHERE id > 5",
            None,
            "the index i has only some of the rows",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at)",
            counted,
            "CREATE INDEX i ON p (at) WHERE id > 5; CREATE INDEX j ON p (at DESC); CREATE INDEX k ON p (at)",
            Some("k"),
            "",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at)",
            counted,
            "CREATE INDEX i ON p (date(at, 'unixepoch'))",
            None,
            "an index on an expression (i)",
        ),
    ] {
        let fixture =
            TestDatabase::new("app").sql(&format!("{schema}; {} {then};", FILL.replace('%', key))).make();
        std::fs::create_dir(fixture.directory().join("archive")).unwrap();
        let owner = fixture.connect();
        let newest = "SELECT count(*) FROM p WHERE CAST(CASE typeof(at) WHEN 'text' THEN unixepoch(at) ELSE at END AS INTEGER) > unixepoch() - 30 * 86400";
        let case = format!("{schema}; {then}");
        assert_eq!((number(&owner, newest), number(&owner, "SELECT count(*) FROM p")), (300, 600), "{case}");
        let (dry, did) = cleaned(&fixture, "{table: p, column: at, retention: 30d, archive: archive}");
        assert_eq!((&dry["rows"], dry["index"].as_str()), (&300.into(), index), "{case}: {dry:#}");
        let words = dry["note"].as_str().unwrap_or_default();
        assert!(if note.is_empty() { words.is_empty() } else { words.contains(note) }, "{case}: {dry:#}");
        assert_eq!((&did["deleted_rows"], &did["complete"]), (&300.into(), &true.into()), "{case}: {did:#}");
        assert_eq!((number(&owner, newest), number(&owner, "SELECT count(*) FROM p")), (300, 300), "{case}");
        assert_eq!(archived(&did), 300, "{case}");
    }
}

fn rows_beyond_a_number_or_size_go() {
    /// A hundred rows of some 1,000 bytes, one an hour, the newest with the largest id; four of them at each moment.
    const FILL: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
        INSERT INTO p (id, at, body) SELECT i, unixepoch() - (100 - i) / 4 * 14400 - 60, zeroblob(1000) FROM n;";
    let table = "CREATE TABLE p (id INTEGER PRIMARY KEY, at, body)";
    let (by_index, texts) = (
        "CREATE INDEX i ON p (at);",
        "CREATE INDEX i ON p (at DESC); UPDATE p SET at = datetime(at, 'unixepoch');",
    );
    // SQL after the rows, the options, how many of the newest stay, and by what.
    for (schema, then, options, stay, by) in [
        (table, "", "max_rows: 10", 10, "max_rows"),
        (table, "", "max_rows: 99", 99, "max_rows"),
        (table, "", "max_rows: 100", 100, "age"),
        (table, "", "max_bytes: 5500", 5, "max_bytes"),
        (table, "", "max_bytes: 1", 1, "max_bytes"),
        (table, "", "max_bytes: 1GiB", 100, "age"),
        (table, "", "max_rows: 20, max_bytes: 5500", 5, "max_bytes"),
        (table, "", "max_rows: 3, max_bytes: 5500", 3, "max_rows"),
        (table, "", "column: id, max_rows: 3", 3, "max_rows"),
        // In the middle of rows of one moment.
        (table, by_index, "column: at, max_rows: 10", 10, "max_rows"),
        (table, by_index, "column: at, max_bytes: 7500", 7, "max_bytes"),
        (table, texts, "column: at, max_rows: 10", 10, "max_rows"),
        // The age and the number: what goes by either.
        (table, by_index, "column: at, max_rows: 10, retention: 2d", 10, "max_rows"),
        (table, by_index, "column: at, max_rows: 90, retention: 2d", 48, "age"),
        (table, texts, "column: at, max_rows: 90, retention: 2d", 48, "age"),
        (table, by_index, "column: at, max_rows: 1000, retention: 2d", 48, "age"),
        // What is not set stays and does not count.
        (
            table,
            "CREATE INDEX i ON p (at); UPDATE p SET at = NULL WHERE id = 2; UPDATE p SET at = 0 WHERE id = 3;",
            "column: at, max_rows: 10",
            12,
            "max_rows",
        ),
        (
            "CREATE TABLE p (id INTEGER, at INTEGER, body, PRIMARY KEY (at, id)) WITHOUT ROWID",
            "",
            "column: at, max_rows: 10",
            10,
            "max_rows",
        ),
    ] {
        let fixture = TestDatabase::new("app").sql(&format!("{schema}; {FILL} {then}")).make();
        std::fs::create_dir(fixture.directory().join("archive")).unwrap();
        let (dry, did) = cleaned(&fixture, &format!("{{table: p, {options}, archive: archive}}"));
        let case = format!("{schema} {then} {options}");
        let owner = fixture.connect();
        assert_eq!(number(&owner, "SELECT count(*) FROM p"), stay, "{case}: {did:#}");
        // Rows of one moment are as old as each other.
        let newest = format!("SELECT count(*) FROM p WHERE id > 100 - ({stay} + 3) / 4 * 4");
        let kept = if then.contains("NULL") { stay - 2 } else { stay };
        assert!(number(&owner, &newest) >= kept, "{case}: the newest stay");
        assert_eq!(
            (&dry["rows"], &did["deleted_rows"]),
            (&(100 - stay).into(), &(100 - stay).into()),
            "{case}: {dry:#}"
        );
        assert_eq!(&did["complete"], true, "{case}: {did:#}");
        if stay < 100 {
            assert_eq!(
                (did["expired_by"].as_str(), dry["expired_by"].as_str()),
                (Some(by), Some(by)),
                "{case}: {did:#}"
            );
            assert_eq!(archived(&did), 100 - stay, "{case}");
        }
    }
}

fn limits_without_an_order_are_refused() {
    for (schema, options, words) in [
        (
            "CREATE TABLE p (id TEXT PRIMARY KEY, at) WITHOUT ROWID",
            "max_rows: 1",
            "name the column with their time in `column`",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at); INSERT INTO p VALUES (-7, 1)",
            "max_rows: 1",
            "not in the order in which rows were inserted",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at)",
            "column: at, max_rows: 1",
            "max_rows and max_bytes need an index to find the newest rows of p",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at TEXT); CREATE INDEX i ON p (at COLLATE NOCASE)",
            "column: at, max_bytes: 1",
            "(the index i has the collation NOCASE",
        ),
    ] {
        let fixture = TestDatabase::new("app")
            .sql(&format!(
                "{schema}; INSERT INTO p VALUES (1, unixepoch()), (2, unixepoch() - 9), (3, unixepoch() - 99);
                 UPDATE p SET at = datetime(at, 'unixepoch') WHERE typeof(at) = 'text';"
            ))
            .make();
        let before = number(&fixture.connect(), "SELECT count(*) FROM p");
        let config = configure(&fixture, &format!("{{log_cleaning: {{tables: [{{table: p, {options}}}]}}}}"));
        let dry = dry_run(&config);
        let (_, runs) = run("log_cleaning", &config);
        for message in [&dry["would_fail"], &runs[0]["message"]] {
            assert!(message.as_str().unwrap_or_default().contains(words), "{schema}: {dry:#} {runs:#?}");
        }
        assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM p"), before, "{schema}");
    }
}

fn references_are_followed_at_any_depth() {
    /// Four hundred rows, of which the first 300 have expired.
    const FILL: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
        INSERT INTO p (id, at) SELECT i, unixepoch() - CASE WHEN i <= 300 THEN 60 ELSE 0 END * 86400 - 401 + i FROM n;";
    let table = |reference: &str, then: &str| {
        format!(
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER, old INTEGER REFERENCES p {reference});
             CREATE INDEX i ON p (at); {FILL} {then}"
        )
    };
    let index = "CREATE INDEX j ON p (old);";
    let children = "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p ON DELETE CASCADE, c INTEGER REFERENCES c ON DELETE CASCADE);
        CREATE INDEX c_p ON c (p); CREATE INDEX c_c ON c (c);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO c SELECT i, CASE WHEN i % 10 = 1 THEN 1 + i % 400 END, CASE WHEN i % 10 = 1 THEN NULL ELSE i - 1 END FROM n;";
    // The schema, rows that go by their age, rows that stay, rows of the same table that go along, rows of another table.
    for (sql, deleted, kept, own, others) in [
        // Newer rows refer to older ones, the whole expired part alone.
        (table("", &format!("{index} UPDATE p SET old = id - 1 WHERE id BETWEEN 2 AND 300;")), 300, 0, 0, 0),
        (
            table(
                "ON DELETE RESTRICT",
                &format!("{index} UPDATE p SET old = id - 1 WHERE id BETWEEN 2 AND 300;"),
            ),
            300,
            0,
            0,
            0,
        ),
        (table("", &format!("{index} UPDATE p SET old = id + 1 WHERE id < 300;")), 300, 0, 0, 0),
        (table("", "UPDATE p SET old = id - 1 WHERE id BETWEEN 2 AND 300;"), 300, 0, 0, 0),
        // A chain that a row holds which has not expired.
        (table("", &format!("{index} UPDATE p SET old = id - 1 WHERE id BETWEEN 2 AND 301;")), 0, 300, 0, 0),
        (
            table("", &format!("{index} UPDATE p SET old = id - 1 WHERE id BETWEEN 202 AND 301;")),
            200,
            100,
            0,
            0,
        ),
        // Fifty rows deep, rows that have not expired go along with the first.
        (
            table(
                "ON DELETE CASCADE",
                &format!("{index} UPDATE p SET old = id - 1 WHERE id BETWEEN 301 AND 350;"),
            ),
            300,
            0,
            50,
            0,
        ),
        (
            table(
                "ON DELETE CASCADE",
                &format!("{index} UPDATE p SET old = id - 1 WHERE id BETWEEN 2 AND 350;"),
            ),
            300,
            0,
            50,
            0,
        ),
        (
            table("ON DELETE CASCADE", &format!("{index} UPDATE p SET old = id + 1 WHERE id < 300;")),
            300,
            0,
            0,
            0,
        ),
        (
            format!(
                "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX i ON p (at); {FILL} {children}"
            ),
            300,
            0,
            0,
            1500,
        ),
    ] {
        let fixture = TestDatabase::new("app").wal().sql(&sql).make();
        std::fs::create_dir(fixture.directory().join("archive")).unwrap();
        let owner = fixture.connect();
        let before = |table: &str| number(&owner, &format!("SELECT count(*) FROM {table}"));
        let has_children = sql.contains("TABLE c ");
        let children = if has_children { before("c") } else { 0 };
        let (dry, did) = cleaned(&fixture, "{table: p, column: at, retention: 30d, archive: archive}");
        let case = sql.replace(FILL, "");
        let rows = |report: &Value, list: &str, table: &str| -> i64 {
            let rows = report[list].as_array().unwrap().iter();
            let rows = rows.filter(|row| table.is_empty() || row["table"] == table);
            rows.map(|row| row["rows"].as_i64().unwrap()).sum()
        };
        let found = |report: &Value, deleted: &str| {
            let deleted = report[deleted].as_i64().unwrap();
            (deleted, rows(report, "kept", ""), rows(report, "others", "p"), rows(report, "others", "c"))
        };
        assert_eq!(found(&dry, "rows"), (deleted, kept, own, others), "{case}: {dry:#}");
        assert_eq!(found(&did, "deleted_rows"), (deleted, kept, own, others), "{case}: {did:#}");
        assert_eq!(
            (before("p"), &did["complete"]),
            (400 - deleted - own, &(kept == 0).into()),
            "{case}: {did:#}"
        );
        if has_children {
            assert_eq!(children - before("c"), others, "{case}");
            assert!(
                did["note"].as_str().unwrap().contains("the archive contains the rows of p, but not"),
                "{did:#}"
            );
        }
        if deleted > 0 {
            assert_eq!(archived(&did), deleted + own, "{case}: what goes is in the archive: {did:#}");
        }
        assert_eq!(number(&owner, "SELECT count(*) FROM pragma_foreign_key_check"), 0, "{case}");
    }
}

/// What took time in the square of the rows: a chain, references without an index, and many rows that go along.
fn long_chains_are_no_work_in_the_square() {
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
        INSERT INTO p (id, at) SELECT i, unixepoch() - 60 * 86400 + i FROM n; INSERT INTO p (id, at) VALUES (9999, unixepoch());";
    let chain = "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER, old INTEGER REFERENCES p); CREATE INDEX i ON p (at);";
    let parents = "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX i ON p (at);";
    for sql in [
        format!("{chain} {fill} UPDATE p SET old = id - 1 WHERE id BETWEEN 2 AND 4000; CREATE INDEX j ON p (old);"),
        format!(
            "{parents} {fill} CREATE TABLE c (p INTEGER REFERENCES p ON DELETE CASCADE); CREATE INDEX j ON c (p);
             INSERT INTO c SELECT id FROM p, (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5)
               WHERE id < 9999;"
        ),
        format!("{parents} {fill} CREATE TABLE c (p INTEGER REFERENCES p); INSERT INTO c SELECT 9999 FROM p LIMIT 500;"),
    ] {
        let fixture = TestDatabase::new("app").wal().sql(&sql).make();
        let (dry, did) = cleaned(&fixture, "{table: p, column: at, retention: 30d}");
        assert_eq!((&dry["rows"], &did["deleted_rows"]), (&4000.into(), &4000.into()), "{sql}: {did:#}");
        assert_eq!(&did["complete"], true, "{sql}: {did:#}");
    }
}

fn rows_kept_by_the_configuration_are_counted() {
    let fill = "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX i ON p (at);
        WITH RECURSIVE n (d) AS (SELECT 59 UNION ALL SELECT d - 1 FROM n WHERE d > 0)
        INSERT INTO p (id, at) SELECT 60 - d, unixepoch() - (d + %) * 86400 - 60 FROM n;";
    for (age, options, reason, kept) in [
        (0, "condition: id % 3 <> 0", "condition", 10),
        (0, "keep_latest: 40", "keep_latest", 10),
        (100, "max_newest_age: 7d", "quiet", 60),
    ] {
        let fixture = TestDatabase::new("app").sql(&fill.replace('%', &age.to_string())).make();
        let (dry, did) = cleaned(&fixture, &format!("{{table: p, column: at, retention: 30d, {options}}}"));
        for report in [&dry, &did] {
            let found = &report["kept"][0];
            assert_eq!(
                (&found["reason"], &found["rows"]),
                (&reason.into(), &kept.into()),
                "{options}: {report:#}"
            );
        }
        assert_eq!(
            (&did["complete"], &did["finished"]),
            (&(reason != "quiet").into(), &true.into()),
            "{options}: {did:#}"
        );
    }
}

fn what_will_fail_is_named_before() {
    let p = "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX i ON p (at); INSERT INTO p VALUES (1, unixepoch());";
    let times = |values: &str| {
        format!("CREATE TABLE p (at); CREATE INDEX i ON p (at); INSERT INTO p VALUES {values};")
    };
    // The schema, the task, what `config check` says of it, and what the doctor finds.
    for (schema, tasks, words, finding) in [
        (p.to_owned(), "log_cleaning: {tables: [{table: p, column: at}]}", "", ""),
        (p.to_owned(), "log_cleaning: {tables: [{table: q, column: at}]}", "would fail: q: there is no table q", "retention-impossible"),
        (p.to_owned(), "log_cleaning: {tables: [{table: p, column: then}]}", "would fail: p: the table p has no column then", "retention-impossible"),
        (p.to_owned(), "log_cleaning: {tables: [{table: p, column: at, archive: nowhere}]}", "nowhere: the directory does not exist", "retention-impossible"),
        (p.to_owned(), "backup: {to: nowhere}", "backup would fail", "backup-impossible"),
        (format!("{p} CREATE TABLE c (p REFERENCES p)"), "log_cleaning: {tables: [{table: p, column: at}]}", "write `foreign_keys: on` or `off`", "retention-impossible"),
        (format!("{p} CREATE TABLE c (p REFERENCES p)"), "log_cleaning: {foreign_keys: on, tables: [{table: p, column: at}]}", "would be slow: p: no index finds the rows of c", "retention-keeps-rows"),
        (format!("{p} CREATE TABLE c (p INTEGER REFERENCES p); CREATE INDEX j ON c (p)"), "log_cleaning: {foreign_keys: on, tables: [{table: p, column: at}]}", "would leave rows: p: rows of p are kept if rows of c refer", "retention-keeps-rows"),
        (times("('yesterday')"), "log_cleaning: {tables: [{table: p, column: at}]}", "is not a time in a format that litekeeper knows", "retention-impossible"),
        (times("(202611)"), "log_cleaning: {tables: [{table: p, column: at}]}", "would fail: p.at:", "retention-impossible"),
        (times("(unixepoch() - 40 * 86400), (unixepoch() - 400 * 86400)"), "log_cleaning: {tables: [{table: p, column: at}]}", "would leave rows: p: the newest row of p is", "retention-keeps-rows"),
        ("CREATE TABLE p (at); INSERT INTO p VALUES (unixepoch())".to_owned(), "log_cleaning: {tables: [{table: p, column: at}]}", "would be slow: p: no index on p.at", "retention-without-index"),
        ("CREATE TABLE p (at TEXT); CREATE INDEX i ON p (at COLLATE NOCASE); INSERT INTO p VALUES (datetime())".to_owned(), "log_cleaning: {tables: [{table: p, column: at}]}", "the index i has the collation NOCASE", "retention-without-index"),
        ("CREATE TABLE p (at TEXT PRIMARY KEY) WITHOUT ROWID".to_owned(), "log_cleaning: {tables: [{table: p, max_rows: 5}]}", "name the column with their time", "retention-impossible"),
    ] {
        let fixture = TestDatabase::new("app").sql(&schema).make();
        let config = configure(&fixture, &format!("{{{tasks}}}"));
        let check = Output::of(&["config", "check", &config]);
        assert_eq!(check.code, Some(0), "the configuration is valid all the same: {}", check.stderr);
        let said = check.stderr.contains(words) && (words.is_empty() == check.stderr.is_empty());
        assert!(said, "{schema} {tasks}: {}", check.stderr);
        let doctor = Output::of(&["doctor", "--config", &config, "--json"]);
        let doctor: Value = serde_json::from_str(&doctor.stdout).unwrap();
        let found: Vec<&str> = doctor["databases"][0]["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["id"].as_str().unwrap())
            .filter(|id| id.starts_with("retention") || id.starts_with("backup"))
            .collect();
        let expected: Vec<&str> = Some(finding).filter(|finding| !finding.is_empty()).into_iter().collect();
        assert_eq!(found, expected, "{schema} {tasks}: {doctor:#}");
    }
}

fn a_full_archive_disk_is_named_before(_mount: &str) {
    let fixture = TestDatabase::new("app")
        .sql(
            "CREATE TABLE p (id INTEGER PRIMARY KEY, at INTEGER, body); CREATE INDEX i ON p (at);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO p SELECT i, unixepoch() - 60 * 86400, zeroblob(1000) FROM n; INSERT INTO p VALUES (9999, unixepoch(), 1);",
        )
        .make();
    let archive = fixture.directory().join("archive");
    std::fs::create_dir(&archive).unwrap();
    assert!(mount(&archive, "1m"));
    let result = std::panic::catch_unwind(|| full_archive(&fixture, &archive));
    unmount(&archive);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn full_archive(fixture: &TestDatabase, archive: &Path) {
    let config = configure(
        fixture,
        "{log_cleaning: {tables: [{table: p, column: at, retention: 30d, archive: archive}]}}",
    );
    // Too small for all, which the dry run knows from the rows' size.
    let dry = dry_run(&config);
    let note = dry["note"].as_str().unwrap_or_default();
    assert!(dry["would_fail"].is_null() && note.contains("has space for only some of the rows"), "{dry:#}");
    let (_, runs) = run("log_cleaning", &config);
    assert_eq!(runs[0]["reason"], "no_space", "{runs:#?}");
    let left = number(&fixture.connect(), "SELECT count(*) FROM p");
    let put_away: i64 = std::fs::read_dir(archive)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "db"))
        .map(|entry| number(&Connection::open(entry.path()).unwrap(), "SELECT count(*) FROM p"))
        .sum();
    assert!(left + put_away >= 3001 && left > 1, "{left} and {put_away}: no row is in none");
    // Full, which everything says that looks.
    let filler = archive.join("filler");
    let mut bytes = vec![0_u8; 1 << 20];
    while !bytes.is_empty() && std::fs::write(&filler, &bytes).is_err() {
        bytes.truncate(bytes.len() - 4096);
    }
    let words = "the file system is full";
    let dry = dry_run(&config);
    assert!(dry["would_fail"].as_str().unwrap_or_default().contains(words), "{dry:#}");
    let check = Output::of(&["config", "check", &config]);
    assert!(check.stderr.contains(words), "{}", check.stderr);
    let doctor = Output::of(&["doctor", "--config", &config]);
    assert!(doctor.stdout.contains("retention-impossible"), "{}", doctor.stdout);
    let (_, runs) = run("log_cleaning", &config);
    assert!(runs[0]["message"].as_str().unwrap_or_default().contains(words), "{runs:#?}");
    assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM p"), left);
}
