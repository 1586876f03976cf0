//! One database, or a few beside each other: how it grows, who locks it, what is in it, what was done to it.

use serde_json::json;

use super::Dashboard;
use super::Section;
use super::panel::Column;
use super::panel::Panel;
use super::panel::Table;
use super::panel::colour;
use super::panel::unit;
use super::section;

/// How a run ended.
pub const OUTCOMES: [(f64, &str, &str); 2] = [(1.0, "succeeded", colour::GOOD), (0.0, "FAILED", colour::BAD)];

pub fn dashboard() -> Dashboard {
    Dashboard {
        uid: "litekeeper-database",
        title: "litekeeper / Database",
        description: "One SQLite database, or a few beside each other",
        from: "now-6h",
        has_databases: true,
        has_runs: true,
        sections: vec![
            section("What it is", vec![identity()]),
            section("Size", size()),
            wal(),
            locks(),
            section("Tables", tables()),
            section("Integrity", integrity()),
            section("Scrub", scrub()),
            section("Runs", runs()),
        ],
    }
}

fn identity() -> Panel {
    let labels = "instance, db, path, journal_mode, auto_vacuum, encoding, application_id";
    Table::new(
        "Identity",
        "What the database is, as of the last look. SQLite keeps the last writer's version and the encoding in the file's header, so that they are as of the last checkpoint.",
    )
    .size(24, 5)
    .label("db", "Database")
    .label("instance", "Instance")
    .label("path", "Path")
    .label("journal_mode", "Journal mode")
    .label("auto_vacuum", "Auto-vacuum")
    .label("encoding", "Encoding")
    .label("application_id", "Application id")
    .column(Column::of_labels(&format!("max by ({labels}) (sqlite_db_info{{@db}})")))
    .column(
        Column::new("Readable", unit::WORD, "min by (instance, db) (sqlite_up{@db})")
            .words(&[(1.0, "yes", colour::GOOD), (0.0, "no", colour::BAD)]),
    )
    .column(Column::new("Last writer's version", unit::WORD, "max by (instance, db) (sqlite_writer_version{@db})"))
    .column(Column::new("User version", unit::WORD, "max by (instance, db) (sqlite_user_version{@db})"))
    .column(Column::new("Schema version", unit::WORD, "max by (instance, db) (sqlite_schema_version{@db})"))
    .column(Column::new(
        "Last write",
        unit::FROM_NOW,
        "1000 * max by (instance, db) (sqlite_last_write_timestamp_seconds{@db})",
    ))
    .column(Column::new(
        "Last look",
        unit::FROM_NOW,
        "1000 * max by (instance, db) (sqlite_sample_timestamp_seconds{@db})",
    ))
    .sorted_by("Database", false)
}

fn size() -> Vec<Panel> {
    let dashed =
        [("custom.lineStyle", json!({"fill": "dash", "dash": [8, 8]})), ("custom.fillOpacity", json!(0))];
    vec![
        Panel::lines(
            "Size, and in a week",
            "The main file, and where it will be in 7 days if it goes on as in the last day (or as long as it is known). What a vacuum gives back bends the line.",
            unit::BYTES,
        )
        .size(12, 8)
        .for_names(".* in 7 days", &dashed)
        .query(r#"sqlite_file_size_bytes{@db, file="main"}"#, "{{db}} @ {{instance}}")
        .query(
            r#"clamp_min(predict_linear(sqlite_file_size_bytes{@db, file="main"}[1d], 7 * 86400), 0)"#,
            "{{db}} @ {{instance}} in 7 days",
        ),
        Panel::steps("Live and free", "Bytes of pages in use, and of pages that a vacuum would give back.", unit::BYTES)
            .size(12, 8)
            .custom(json!({"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}))
            .query(
                "(sqlite_pages{@db} - sqlite_freelist_pages{@db}) * sqlite_page_size_bytes{@db}",
                "{{db}} @ {{instance}} live",
            )
            .query("sqlite_freelist_pages{@db} * sqlite_page_size_bytes{@db}", "{{db}} @ {{instance}} free"),
        Panel::steps("Pages and freelist", "Pages of the database, those in the WAL counted, and the unused ones among them.", unit::SHORT)
            .query("sqlite_pages{@db}", "{{db}} @ {{instance}} pages")
            .query("sqlite_freelist_pages{@db}", "{{db}} @ {{instance}} free"),
        Panel::steps("Files", "Sizes of the main file, the WAL, its shared memory and the rollback journal.", unit::BYTES)
            .query("sqlite_file_size_bytes{@db}", "{{db}} @ {{instance}} {{file}}"),
        Panel::lines("Space left", "Bytes that ordinary users may still write on the file system of the database.", unit::BYTES)
            .query("sqlite_filesystem_avail_bytes{@db}", "{{db}} @ {{instance}}"),
    ]
}

fn wal() -> Section {
    section(
        "WAL",
        vec![
            Panel::steps(
                "WAL frames",
                "Valid frames in the WAL, and those that a checkpoint has copied into the main file. Databases outside WAL mode have none.",
                unit::SHORT,
            )
            .query("sqlite_wal_frames{@db}", "{{db}} @ {{instance}} frames")
            .query("sqlite_wal_checkpointed_frames{@db}", "{{db}} @ {{instance}} copied"),
            Panel::steps(
                "WAL backlog",
                "What no checkpoint has copied yet. One that only grows has a reader that never ends, or an owner that never checkpoints.",
                unit::BYTES,
            )
            .query(
                "(sqlite_wal_frames{@db} - sqlite_wal_checkpointed_frames{@db}) * sqlite_page_size_bytes{@db}",
                "{{db}} @ {{instance}}",
            ),
            Panel::steps(
                "WAL file",
                "Size of the WAL file. It stays at its largest until the owner closes the database or truncates it, so that the backlog says more.",
                unit::BYTES,
            )
            .query(r#"sqlite_file_size_bytes{@db, file="wal"}"#, "{{db}} @ {{instance}}"),
        ],
    )
}

fn locks() -> Section {
    section(
        "Locks",
        vec![
            Panel::steps("Lock holders", "Processes that held a lock at the last look, by what for.", unit::SHORT)
                .size(6, 8)
                .query("sqlite_lock_holders{@db}", "{{db}} @ {{instance}} {{lock}}"),
            Panel::steps(
                "Longest hold",
                "The longest time for which one process has been seen to hold a lock without a break. A writer's keeps all others from writing, a reader's keeps the WAL from being checkpointed. 0 while nobody holds it.",
                unit::SECONDS,
            )
            .size(6, 8)
            .query(
                    "sqlite_lock_held_seconds{@db} or 0 * sqlite_lock_holders{@db}",
                    "{{db}} @ {{instance}} {{lock}}",
                ),
            Panel::steps("Connected processes", "Processes that have a WAL database open, the agent itself left out.", unit::SHORT)
                .size(6, 8)
                .query("sqlite_connected_processes{@db}", "{{db}} @ {{instance}}"),
            Panel::bars("Errors met", "Errors that the agent met at the database, by SQLite's code. SQLITE_BUSY is a database that was locked just then, and harmless.", unit::SHORT)
                .size(6, 8)
                .query(
                    "sum by (instance, db, code) (increase(sqlite_errors_total{@db}[$__rate_interval]))",
                    "{{db}} @ {{instance}} {{code}}",
                ),
            Panel::steps(
                "Owners that lost their locks",
                "Processes that have the database open without their locks (main_lock), or write to a deleted file of it (deleted_file): their commits are or will be lost. See the runbook SqliteOwnerLostLocks.",
                unit::SHORT,
            )
            .size(24, 6)
            .query("sqlite_lost_lock_processes{@db}", "{{db}} @ {{instance}} {{loss}}"),
        ],
    )
}

fn tables() -> Vec<Panel> {
    let by_table = |metric: &str| format!("sum by (instance, db, table) ({metric}{{@db}})");
    vec![
        Table::new(
            "Tables",
            "Rows of the configured tables (counted, or estimated if the count did not finish in time), and the size of tables and their indexes. Unused is free space inside pages, which only a full vacuum releases.",
        )
        .size(12, 10)
        .label("table", "Table")
        .label("db", "Database")
        .label("instance", "Instance")
        .column(Column::new("Rows", unit::SHORT, &by_table("sqlite_table_rows")))
        .column(Column::new("Size", unit::BYTES, &by_table("sqlite_table_size_bytes")))
        .column(Column::new("Indexes", unit::BYTES, &by_table("sqlite_index_size_bytes")))
        .column(Column::new("Unused", unit::BYTES, &by_table("sqlite_table_unused_bytes")))
        .sorted_by("Size", true),
        Panel::steps("Table sizes", "The ten largest tables, without their indexes.", unit::BYTES)
            .size(12, 10)
            .query("topk(10, sqlite_table_size_bytes{@db})", "{{db}} @ {{instance}} {{table}}"),
        Panel::steps("Rows", "Rows of the configured tables.", unit::SHORT)
            .size(8, 8)
            .query("sqlite_table_rows{@db}", "{{db}} @ {{instance}} {{table}} ({{method}})"),
        Panel::lines("Age of the oldest row", "How old the oldest row of each log table is: the proof that its retention works.", unit::SECONDS)
            .query("time() - sqlite_table_oldest_row_timestamp_seconds{@db}", "{{db}} @ {{instance}} {{table}}"),
        Panel::lines("Age of the newest row", "How old the newest row of each log table is: one that grows is a log that nobody writes any more.", unit::SECONDS)
            .query("time() - sqlite_table_newest_row_timestamp_seconds{@db}", "{{db}} @ {{instance}} {{table}}"),
    ]
}

fn integrity() -> Vec<Panel> {
    vec![
        Panel::states(
            "Verdicts",
            "The last verdict of each check. A failed one stays until a full check of the whole database passes.",
            &[(1.0, "ok", colour::GOOD), (0.0, "FAILED", colour::WORST)],
        )
        .query("sqlite_integrity_ok{@db}", "{{db}} @ {{instance}} {{check}}"),
        Panel::steps("Problems found", "Problems that the last check of each kind reported, 100 at the most.", unit::SHORT)
            .query("sqlite_integrity_problems{@db}", "{{db}} @ {{instance}} {{check}}"),
        Panel::lines(
            "Age of the last check",
            "Time since each check last came to its end, as a share of the time between two of them. Above 100 % it is overdue.",
            unit::SHARE,
        )
        .custom(json!({"thresholdsStyle": {"mode": "line"}}))
        .thresholds("transparent", &[(1.0, colour::WARNING)])
        .query(
            "(time() - (sqlite_integrity_last_completed_timestamp_seconds{@db} > 0))
             / sqlite_integrity_check_interval_seconds{@db}",
            "{{db}} @ {{instance}} {{check}}",
        ),
    ]
}

fn scrub() -> Vec<Panel> {
    let label = "{{db}} @ {{instance}}";
    vec![
        Panel::states(
            "Scrub verdicts",
            "Whether scrubs know of bytes on the disk that nobody wrote. Damage stays until a scrub finds the good pages again, the file is replaced or an operator accepts it.",
            &[(1.0, "ok", colour::GOOD), (0.0, "DAMAGED", colour::WORST)],
        )
        .size(6, 8)
        .query("sqlite_scrub_ok{@db}", label),
        Panel::steps("Mismatches", "Pages and WAL frames that the last scrub found other than they were written.", unit::SHORT)
            .size(6, 8)
            .query("sqlite_scrub_mismatches{@db}", label),
        Panel::steps(
            "Pages by result",
            "Pages by the result of the last scrub: verified, not verifiable but the base of the next scrub (rebased), or neither (unverified).",
            unit::SHORT,
        )
        .size(6, 8)
        .query("sqlite_scrub_pages{@db}", "{{db}} @ {{instance}} {{state}}"),
        Panel::steps("Unverified pages", "Why the last scrub could not verify pages.", unit::SHORT)
            .size(6, 8)
            .query("sqlite_scrub_unverified_pages{@db}", "{{db}} @ {{instance}} {{reason}}"),
        Panel::steps("Verified share", "The part of the pages that the last scrub verified.", unit::SHARE)
            .size(12, 8)
            .default("max", json!(1))
            .query("sqlite_scrub_verified_ratio{@db}", label),
        Panel::lines(
            "Age of the last scrub",
            "Time since the last scrub completed, as a share of the time between two of them. Above 100 % it is overdue.",
            unit::SHARE,
        )
        .size(12, 8)
        .custom(json!({"thresholdsStyle": {"mode": "line"}}))
        .thresholds("transparent", &[(1.0, colour::WARNING)])
        .query(
            "(time() - (sqlite_scrub_last_completed_timestamp_seconds{@db} > 0)) / sqlite_scrub_interval_seconds{@db}",
            label,
        ),
    ]
}

fn runs() -> Vec<Panel> {
    vec![
        durations().size(12, 8),
        distribution().size(12, 8),
        outcomes().size(12, 8),
        write_holds().size(12, 8),
    ]
}

/// How long runs took, with the traces of single ones.
pub fn durations() -> Panel {
    Panel::steps(
        "Durations",
        "How long the last run of each task took. A mark is one run, of any of the agent's databases, and opens its trace.",
        unit::SECONDS,
    )
    .query("litekeeper_job_last_duration_seconds{@db}", "{{db}} @ {{instance}} {{task}}")
    .query_with_exemplars(
        "histogram_quantile(0.95, sum by (le, task) (rate(litekeeper_job_duration_seconds_bucket{@agent}[$__rate_interval])))",
        "95 % of all {{task}}",
    )
}

/// How long the runs of all databases took.
pub fn distribution() -> Panel {
    Panel::heatmap(
        "Distribution of durations",
        "How long the runs of all of the agent's databases took. A mark is one run, and opens its trace.",
        unit::SECONDS,
    )
    .buckets("sum by (le) (increase(litekeeper_job_duration_seconds_bucket{@agent}[$__rate_interval]))")
}

/// How runs ended.
pub fn outcomes() -> Panel {
    Panel::states(
        "Outcomes",
        "How the last run of each task ended, those that were skipped left out.",
        &OUTCOMES,
    )
    .query("litekeeper_job_last_run_success{@db}", "{{db}} @ {{instance}} {{task}}")
}

/// What maintenance cost the owner.
pub fn write_holds() -> Panel {
    Panel::steps(
        "Longest write hold",
        "The longest that the last run of each task held the database's write lock at once: what it cost the application at the worst.",
        unit::SECONDS,
    )
    .query("litekeeper_job_max_write_hold_seconds{@db}", "{{db}} @ {{instance}} {{task}}")
}
