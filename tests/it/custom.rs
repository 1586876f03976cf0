//! Custom SQL may only read, within its timeout; anything else is refused.

use std::time::Duration;

use libtest_mimic::Trial;
use litekeeper::internals::limits::QueryLimits;
use litekeeper::internals::sqlite::Access;
use litekeeper::internals::sqlite::CustomError;
use litekeeper::internals::sqlite::QueryResult;
use litekeeper::internals::sqlite::Reader;

use crate::hostile_input::quick_agent;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("custom_sql_does_nothing_but_read", custom_sql_does_nothing_but_read),
        test("custom_sql_gives_samples_or_says_why_not", custom_sql_gives_samples_or_says_why_not),
        test(
            "custom_metrics_are_published_and_their_errors_logged_once",
            custom_metrics_are_published_and_their_errors_logged_once,
        ),
    ]
}

const ENDLESS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS value FROM n";

fn ask(
    fixture: &TestDatabase,
    sql: &str,
    labels: &[&str],
    max_rows: usize,
) -> Result<QueryResult, CustomError> {
    let limits = QueryLimits::with_timeout(Duration::from_secs(60));
    let mut reader = Reader::open(&fixture.path(), Access::Shared, &limits).unwrap();
    let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
    // A query without an end must meet its own limit, not the reader's; the others end however slow the machine is.
    let limit = if sql == ENDLESS { Duration::from_millis(200) } else { Duration::from_secs(30) };
    reader.custom(sql, "value", &labels, max_rows, limit)
}

fn database() -> TestDatabase {
    TestDatabase::new("custom")
        .rows(50)
        .sql("CREATE VIEW seen AS SELECT count(*) AS value FROM items;")
        .make()
}

fn custom_sql_does_nothing_but_read() {
    let fixture = database();
    let before = std::fs::read(fixture.path()).unwrap();
    for sql in [
        "DELETE FROM items",
        "INSERT INTO items VALUES (1000, 'x') RETURNING id AS value",
        "UPDATE items SET text = 'x' RETURNING id AS value",
        "DROP TABLE items",
        "CREATE TABLE more (a)",
        "CREATE TEMP TABLE more (a)",
        "PRAGMA journal_mode = WAL",
        "PRAGMA user_version",
        "SELECT user_version AS value FROM pragma_user_version",
        "ATTACH '/tmp/other.db' AS other",
        "VACUUM",
        "VACUUM INTO '/tmp/copy.db'",
        "BEGIN EXCLUSIVE",
        "SAVEPOINT here",
        "REINDEX",
        "ANALYZE",
        "SELECT load_extension('x') AS value",
        "SELECT 1 AS value; DELETE FROM items",
        "",
    ] {
        let answer = ask(&fixture, sql, &[], 10);
        assert!(answer.is_err(), "{sql}: {answer:?}");
    }
    assert_eq!(std::fs::read(fixture.path()).unwrap(), before);
}

fn custom_sql_gives_samples_or_says_why_not() {
    let fixture = database();
    let rows = |pairs: &[(&[&str], f64)], dropped| {
        let rows =
            pairs.iter().map(|(labels, value)| (labels.iter().map(ToString::to_string).collect(), *value));
        QueryResult { rows: rows.collect(), dropped }
    };
    for (sql, labels, expected) in [
        ("SELECT count(*) AS value FROM items", &[][..], rows(&[(&[], 50.0)], 0)),
        ("SELECT value FROM seen", &[], rows(&[(&[], 50.0)], 0)),
        ("SELECT NULL AS value", &[], rows(&[], 0)),
        (
            "SELECT id % 2 AS odd, upper('x') AS fixed, count(*) AS value FROM items GROUP BY 1",
            &["odd", "fixed"],
            rows(&[(&["0", "X"], 25.0), (&["1", "X"], 25.0)], 0),
        ),
        (
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT i, i * 1.5 AS value FROM n",
            &["i"],
            rows(&[(&["1"], 1.5), (&["2"], 3.0), (&["3"], 4.5), (&["4"], 6.0)], 5),
        ),
    ] {
        assert_eq!(ask(&fixture, sql, labels, 4).unwrap(), expected, "{sql}");
    }
    for (sql, labels, words) in [
        ("SELECT 1 AS other", &[][..], "no column \"value\""),
        ("SELECT 1 AS value", &["state"], "no column \"state\""),
        ("SELECT 'x' AS value", &[], "holds text, not a number"),
        ("SELECT id % 2 AS odd, 1 AS value FROM items", &["odd"], "the same labels"),
        ("SELECT count(*) AS value FROM nowhere", &[], "no such table"),
        ("SELEC 1", &[], "syntax error"),
        (ENDLESS, &[], "time limit"),
    ] {
        let error = ask(&fixture, sql, labels, 10).expect_err(sql).to_string();
        assert!(error.contains(words), "{sql}: {error}");
    }
}

fn custom_metrics_are_published_and_their_errors_logged_once() {
    let fixture = database();
    let metric = |name: &str, kind: &str, sql: &str, labels: &str| {
        format!(
            "      - {{name: {name}, type: {kind}, help: Some help, interval: 1s, labels: [{labels}], max_rows: 2, sql: \"{sql}\"}}\n"
        )
    };
    let metrics = [
        metric("items", "gauge", "SELECT count(*) AS value FROM items", ""),
        metric("sold", "counter", "SELECT sum(id) AS value FROM items", ""),
        metric("below", "counter", "SELECT -1 AS value", ""),
        metric("many", "gauge", "SELECT id, 1 AS value FROM items", "id"),
        metric("broken", "gauge", "SELECT count(*) AS value FROM nowhere", ""),
    ]
    .concat();
    let agent = quick_agent(
        fixture.directory(),
        &format!("  - path: {}\n    custom_metrics:\n{metrics}", fixture.path().display()),
    );
    let db = [("db", "custom")];
    agent.until("sqlite_custom_items", &db, 50.0);
    agent.until("sqlite_custom_sold_total", &db, 1275.0);
    let scrape = eventually("the rest are dropped, and counted", || {
        let scrape = agent.metrics();
        let dropped = scrape.value("litekeeper_series_dropped_total", &[("collector", "custom_metrics")]);
        (dropped >= Some(96.0)).then_some(scrape)
    });
    assert_eq!(scrape.count("sqlite_custom_many", &db), 2);
    for (name, reason) in [("broken", "no such table"), ("below", "a counter cannot be negative")] {
        assert!(!scrape.text.contains(&format!("sqlite_custom_{name}")));
        let logged = agent
            .log()
            .iter()
            .filter(|line| line.contains(&format!("custom metric {name}")) && line.contains(reason))
            .count();
        assert_eq!(logged, 1, "{name}: {:#?}", agent.log());
    }
}
