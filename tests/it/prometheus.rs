//! End to end: a real Prometheus scrapes the agent, and its query API is asked for the values.

use libtest_mimic::Trial;
use rusqlite::Connection;

use crate::hostile_input::quick_agent;
use crate::support::Prometheus;
use crate::support::eventually;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![test_with_tool(
        "a_real_prometheus_sees_the_databases",
        tool("prometheus"),
        a_real_prometheus_sees_the_databases,
    )]
}

fn a_real_prometheus_sees_the_databases(program: &str) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir(at("glob")).unwrap();
    let owner = Connection::open(at("glob/wal.db")).unwrap();
    owner
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        .unwrap();
    Connection::open(at("glob/leaving.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    std::fs::write(at("corrupt.db"), "no database at all").unwrap();
    let agent = quick_agent(
        directory.path(),
        "  - {glob: glob/*.db, labels: {app: queue}, row_counts: [t]}\n  - path: corrupt.db\n  - path: missing.db\n",
    );
    let prometheus = Prometheus::scraping(program, agent.address(), directory.path());

    prometheus.until("up{job=\"litekeeper\"}", 1.0);
    for (db, up) in [("wal", 1.0), ("leaving", 1.0), ("corrupt", 0.0), ("missing", 0.0)] {
        prometheus.until(&format!("sqlite_up{{db=\"{db}\"}}"), up);
    }
    let pages: f64 = owner.query_row("PRAGMA page_count", (), |row| row.get(0)).unwrap();
    prometheus.until("sqlite_pages{db=\"wal\"}", pages);
    prometheus.until("sqlite_wal_frames{db=\"wal\"} > bool 0", 1.0);
    prometheus.until("sqlite_wal_checkpointed_frames{db=\"wal\"}", 0.0);
    prometheus.until("sqlite_table_rows{db=\"wal\",table=\"t\",method=\"count\"}", 1.0);
    prometheus.until("count(sqlite_up * on (db) group_left (path, app) sqlite_db_info{app=\"queue\"})", 2.0);
    prometheus.until("count(litekeeper_build_info)", 1.0);
    // A counter is seen to rise from its first event on.
    prometheus
        .until("increase(sqlite_errors_total{db=\"missing\",code=\"SQLITE_CANTOPEN\"}[1m]) > bool 0", 1.0);
    prometheus.until("increase(sqlite_errors_total{db=\"wal\",code=\"SQLITE_CORRUPT\"}[1m])", 0.0);
    let renamed = prometheus
        .query("{__name__=~\".+\",exported_job=~\".+\"} or {__name__=~\".+\",exported_instance=~\".+\"}");
    assert!(renamed.is_empty(), "labels that Prometheus had to rename: {renamed:?}");

    // Types arrive as OpenMetrics says them.
    let metadata = prometheus.api("metadata").unwrap();
    for (name, kind) in [
        ("sqlite_pages", "gauge"),
        ("sqlite_errors", "counter"),
        ("sqlite_db", "info"),
        ("litekeeper_sample_duration_seconds", "histogram"),
    ] {
        // Prometheus 3 keeps the names of samples, Prometheus 2 those of families.
        let entry = [name.to_owned(), format!("{name}_total"), format!("{name}_info")]
            .iter()
            .find_map(|name| metadata["data"][name][0]["type"].as_str().map(str::to_owned));
        assert_eq!(entry.as_deref(), Some(kind), "{name}");
    }
    let targets = prometheus.api("targets").unwrap();
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "");

    // A database that goes takes its series with it at once, not after five minutes.
    std::fs::remove_file(at("glob/leaving.db")).unwrap();
    eventually("its series are stale", || prometheus.query("{db=\"leaving\"}").is_empty().then_some(()));
    prometheus.until("sqlite_up{db=\"wal\"}", 1.0);
}
