//! All databases of all agents, the worst first.

use super::Dashboard;
use super::link_to;
use super::panel::Column;
use super::panel::Panel;
use super::panel::Table;
use super::panel::colour;
use super::panel::unit;
use super::section;

/// What is wrong with a database, the worst last.
pub const STATES: [(f64, &str, &str); 5] = [
    (4.0, "DAMAGED", colour::WORST),
    (3.0, "not readable", colour::BAD),
    (2.0, "a run failed", colour::WARNING),
    (1.0, "values are old", colour::NOTE),
    (0.0, "ok", colour::GOOD),
];

/// The worst that is known of each database. Each finding has a label of its own, as `or` drops what has the same labels.
const STATE: &str = r#"
    max by (instance, db) (
      label_replace(4 * (sqlite_integrity_ok{@db} == bool 0), "finding", "damaged", "", "")
      or label_replace(4 * (sqlite_scrub_ok{@db} == bool 0), "finding", "scrubbed", "", "")
      or label_replace(3 * (sqlite_up{@db} == bool 0), "finding", "down", "", "")
      or label_replace(2 * (litekeeper_job_last_run_success{@db} == bool 0), "finding", "failed", "", "")
      or label_replace(time() - sqlite_sample_timestamp_seconds{@db} > bool 300, "finding", "old", "", "")
    )"#;

/// Over the time for which a database has been known, when that is not yet a week: no answer at all would hide the first one.
const GROWTH: &str = r#"
    max by (instance, db) (
      sqlite_file_size_bytes{@db, file="main"}
      - (
        sqlite_file_size_bytes{@db, file="main"} offset 7d
        or sqlite_file_size_bytes{@db, file="main"} offset 1d
        or sqlite_file_size_bytes{@db, file="main"} offset 1h
        or sqlite_file_size_bytes{@db, file="main"}
      )
    )"#;

const MEBIBYTE: f64 = 1_048_576.0;

pub fn dashboard() -> Dashboard {
    Dashboard {
        uid: "litekeeper-fleet",
        title: "litekeeper / Fleet",
        description: "Every SQLite database under watch, the worst first",
        from: "now-6h",
        has_databases: true,
        has_runs: false,
        sections: vec![
            section("Now", now()),
            section("Databases, the worst first", vec![databases()]),
            section("Over time", over_time()),
        ],
    }
}

fn now() -> Vec<Panel> {
    vec![
        Panel::number("Databases", "Databases under watch that have been looked at.", unit::SHORT)
            .now("count(sqlite_up{@db})", "databases"),
        Panel::number("Not readable", "Databases that the last look could not open, or whose first page it could not read. A locked one is not counted.", unit::SHORT)
            .thresholds(colour::GOOD, &[(1.0, colour::BAD)])
            .now("sum(sqlite_up{@db} == bool 0)", "not readable"),
        Panel::number("Damaged", "Databases with a failed check. Nothing writes to them until a full check passes.", unit::SHORT)
            .thresholds(colour::GOOD, &[(1.0, colour::WORST)])
            .now(r#"sum(min by (instance, db) (sqlite_integrity_ok{@db} or label_replace(sqlite_scrub_ok{@db}, "check", "scrub", "", "")) == bool 0)"#, "damaged"),
        Panel::number("Failing tasks", "Tasks of databases whose last run failed.", unit::SHORT)
            .thresholds(colour::GOOD, &[(1.0, colour::WARNING)])
            .now("sum(litekeeper_job_last_run_success{@db} == bool 0)", "failing"),
        Panel::number("Size", "Main files, WALs and journals together.", unit::BYTES)
            .now("sum(sqlite_file_size_bytes{@db})", "size"),
        Panel::number("Reclaimable", "Free pages of all databases: what vacuums would give back.", unit::BYTES)
            .now("sum(sqlite_freelist_pages{@db} * sqlite_page_size_bytes{@db})", "reclaimable"),
    ]
}

fn databases() -> Panel {
    let database = link_to("litekeeper-database", &["instance", "db"]);
    let maintenance = link_to("litekeeper-maintenance", &["instance", "db"]);
    Table::new(
        "Databases",
        "One line a database. Its name leads to its own dashboard, its instance to the agent, its runs to its maintenance. The growth is that of 7 days, or of the last day or hour of a database that has not been known for longer.",
    )
    .size(24, 14)
    .linked_label("db", "Database", "Look at this database", &database)
    .linked_label("instance", "Instance", "Look at this agent", &link_to("litekeeper-agent", &["instance"]))
    .column(Column::new("State", unit::WORD, STATE).words(&STATES).link("Look at this database", &database))
    .column(
        Column::new("Readable", unit::WORD, "min by (instance, db) (sqlite_up{@db})")
            .words(&[(1.0, "yes", colour::GOOD), (0.0, "no", colour::BAD)]),
    )
    .column(Column::new("Size", unit::BYTES, r#"max by (instance, db) (sqlite_file_size_bytes{@db, file="main"})"#))
    .column(Column::new("Growth in 7 days", unit::BYTES, GROWTH))
    .column(Column::new(
        "Reclaimable",
        unit::BYTES,
        "max by (instance, db) (sqlite_freelist_pages{@db} * sqlite_page_size_bytes{@db})",
    ))
    .column(
        Column::new("WAL", unit::BYTES, r#"max by (instance, db) (sqlite_file_size_bytes{@db, file="wal"})"#)
            .thresholds("text", &[(64.0 * MEBIBYTE, colour::WARNING), (1024.0 * MEBIBYTE, colour::BAD)]),
    )
    .column(
        Column::new("Integrity", unit::WORD, "min by (instance, db) (sqlite_integrity_ok{@db})")
            .words(&[(1.0, "ok", colour::GOOD), (0.0, "FAILED", colour::WORST)]),
    )
    .column(Column::new(
        "Last full check",
        unit::FROM_NOW,
        r#"1000 * max by (instance, db) (sqlite_integrity_last_completed_timestamp_seconds{@db, check="full"} > 0)"#,
    ))
    .column(
        Column::new(
            "Last run",
            unit::FROM_NOW,
            "1000 * max by (instance, db) (litekeeper_job_last_completion_timestamp_seconds{@db} > 0)",
        )
        .link("Look at its maintenance", &maintenance),
    )
    .column(
        Column::new(
            "Next run",
            unit::FROM_NOW,
            "1000 * min by (instance, db) (litekeeper_job_next_run_timestamp_seconds{@db} > 0)",
        )
        .link("Look at its maintenance", &maintenance),
    )
    .sorted_by("State", true)
}

fn over_time() -> Vec<Panel> {
    vec![
        Panel::lines("Databases by state", "Databases that are readable (up), not readable (down) or have not been looked at yet (pending), of all of the agent's.", unit::SHORT)
            .custom(serde_json::json!({"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}))
            .query("sum by (state) (litekeeper_databases{@agent})", "{{state}}"),
        Panel::bars("Errors met", "Errors that the agent met at databases, by SQLite's code. SQLITE_BUSY is a database that was locked just then, and harmless.", unit::SHORT)
            .query("sum by (code) (increase(sqlite_errors_total{@db}[$__rate_interval]))", "{{code}}"),
        Panel::bars("Runs that ended", "Runs of maintenance that ended, with success or not, by task.", unit::SHORT)
            .query("sum by (task) (increase(litekeeper_job_runs_total{@db}[$__rate_interval]))", "{{task}}"),
        Panel::lines("The largest", "Main files of the ten largest databases.", unit::BYTES)
            .query(r#"topk(10, sqlite_file_size_bytes{@db, file="main"})"#, "{{db}} @ {{instance}}"),
        Panel::lines("Most reclaimable", "The ten databases whose free pages take most.", unit::BYTES)
            .query("topk(10, sqlite_freelist_pages{@db} * sqlite_page_size_bytes{@db})", "{{db}} @ {{instance}}"),
        Panel::lines("Least space left", "Share of the file system that is free, of the ten databases with the least.", unit::SHARE)
            .default("max", serde_json::json!(1))
            .query("bottomk(10, sqlite_filesystem_avail_bytes{@db} / sqlite_filesystem_size_bytes{@db})", "{{db}} @ {{instance}}"),
    ]
}
