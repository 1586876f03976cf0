//! What maintenance did, did not do and why, what it cost, and what comes next.

use serde_json::json;

use super::Dashboard;
use super::database::OUTCOMES;
use super::database::distribution;
use super::database::durations;
use super::database::outcomes;
use super::database::write_holds;
use super::link_to;
use super::panel::Column;
use super::panel::Panel;
use super::panel::Table;
use super::panel::colour;
use super::panel::unit;
use super::section;

pub fn dashboard() -> Dashboard {
    Dashboard {
        uid: "litekeeper-maintenance",
        title: "litekeeper / Maintenance",
        description: "What maintenance did, did not do and why, what it cost, and what comes next",
        from: "now-24h",
        has_databases: true,
        has_runs: true,
        sections: vec![
            section("In the time shown", totals()),
            section("Tasks", vec![tasks()]),
            section("Runs", runs()),
            section("What was skipped, and what failed", reasons()),
            section("What it did", results()),
            section("Schedule", schedule()),
            section("Backups", backups()),
        ],
    }
}

fn totals() -> Vec<Panel> {
    let total = |title, description: &str, unit, metric: &str| {
        let expression = format!("sum(increase({metric}{{@db}}[$__range]))");
        Panel::number(title, description, unit)
            .size(3, 4)
            .default("decimals", json!(0))
            .now(&expression, title)
    };
    vec![
        total("Runs", "Runs that ended, with success or not.", unit::SHORT, "litekeeper_job_runs_total"),
        total("Failures", "Runs that failed. A health check that finds damage is one.", unit::SHORT, "litekeeper_job_failures_total")
            .thresholds(colour::GOOD, &[(0.5, colour::BAD)]),
        total("Skips", "Runs that fell due and were not needed or not allowed.", unit::SHORT, "litekeeper_job_skips_total"),
        total("Missed", "Due times that passed without a run, because litekeeper was down, the machine slept or a run took too long.", unit::SHORT, "litekeeper_job_missed_runs_total")
            .thresholds(colour::GOOD, &[(0.5, colour::WARNING)]),
        total("Reclaimed", "Bytes that vacuums released.", unit::BYTES, "litekeeper_vacuum_reclaimed_bytes_total"),
        total("Rows deleted", "Rows that log cleaning deleted, those of triggers and foreign keys not counted.", unit::SHORT, "litekeeper_retention_deleted_rows_total"),
        Panel::number("Longest write hold", "The longest that any task's last run held a write lock at once.", unit::SECONDS)
            .size(3, 4)
            .now("max(litekeeper_job_max_write_hold_seconds{@db})", "longest"),
        Panel::number("Paused", "Databases whose maintenance is paused.", unit::SHORT)
            .size(3, 4)
            .thresholds(colour::GOOD, &[(1.0, colour::NOTE)])
            .now("sum(litekeeper_maintenance_paused{@db})", "paused"),
    ]
}

fn tasks() -> Panel {
    let worst = |metric: &str| format!("max by (instance, db, task) ({metric}{{@db}})");
    let ago = |metric: &str| format!("1000 * max by (instance, db, task) ({metric}{{@db}} > 0)");
    Table::new("Tasks", "Every configured task of every database, those whose last run failed first.")
        .size(24, 12)
        .linked_label(
            "db",
            "Database",
            "Look at this database",
            &link_to("litekeeper-database", &["instance", "db"]),
        )
        .label("task", "Task")
        .label("instance", "Instance")
        .column(
            Column::new(
                "Last outcome",
                unit::WORD,
                "min by (instance, db, task) (litekeeper_job_last_run_success{@db})",
            )
            .words(&OUTCOMES),
        )
        .column(
            Column::new("Now", unit::WORD, &worst("litekeeper_job_running"))
                .words(&[(1.0, "running", colour::QUIET), (0.0, "at rest", "transparent")]),
        )
        .column(Column::new(
            "Last run",
            unit::FROM_NOW,
            &ago("litekeeper_job_last_completion_timestamp_seconds"),
        ))
        .column(Column::new(
            "Last success",
            unit::FROM_NOW,
            &ago("litekeeper_job_last_success_timestamp_seconds"),
        ))
        .column(Column::new("Duration", unit::SECONDS, &worst("litekeeper_job_last_duration_seconds")))
        .column(Column::new("Timeout", unit::SECONDS, &worst("litekeeper_job_timeout_seconds")))
        .column(
            Column::new("Longest write hold", unit::SECONDS, &worst("litekeeper_job_max_write_hold_seconds"))
                .thresholds("text", &[(0.1, colour::NOTE), (1.0, colour::WARNING), (10.0, colour::BAD)]),
        )
        .column(Column::new("Next run", unit::FROM_NOW, &ago("litekeeper_job_next_run_timestamp_seconds")))
        .sorted_by("Last outcome", false)
}

fn runs() -> Vec<Panel> {
    vec![
        Panel::bars("Runs that ended", "Runs that ended, with success or not, by task.", unit::SHORT)
            .query("sum by (task) (increase(litekeeper_job_runs_total{@db}[$__rate_interval]))", "{{task}}"),
        durations(),
        distribution(),
        outcomes().size(12, 10),
        write_holds().size(12, 10),
    ]
}

fn reasons() -> Vec<Panel> {
    let table = |title, description, metric: &str| {
        let expression =
            format!("round(sum by (instance, db, task, reason) (increase({metric}{{@db}}[$__range]))) > 0");
        Table::new(title, description)
            .size(12, 8)
            .label("db", "Database")
            .label("task", "Task")
            .label("reason", "Reason")
            .label("instance", "Instance")
            .column(Column::new("Times", unit::SHORT, &expression))
            .sorted_by("Times", true)
    };
    let bars = |title, description, metric: &str| {
        let expression = format!("sum by (task, reason) (increase({metric}{{@db}}[$__rate_interval]))");
        Panel::bars(title, description, unit::SHORT).size(12, 8).query(&expression, "{{task}} {{reason}}")
    };
    vec![
        bars(
            "Skips over time",
            "Runs that fell due but were not needed (below_threshold) or not allowed, by reason.",
            "litekeeper_job_skips_total",
        ),
        bars(
            "Failures over time",
            "Runs that failed, by reason; corrupt is a health check that found damage.",
            "litekeeper_job_failures_total",
        ),
        table(
            "Why runs were skipped",
            "Skipped runs in the time shown: below_threshold is a vacuum that was not worth it, unhealthy a database with a failed check, to which nothing writes.",
            "litekeeper_job_skips_total",
        ),
        table(
            "Why runs failed",
            "Failed runs in the time shown; the log, the history and the trace of a run say more.",
            "litekeeper_job_failures_total",
        ),
    ]
}

fn results() -> Vec<Panel> {
    let of_table = |metric: &str| format!("max by (instance, db, table) ({metric}{{@db}})");
    vec![
        Panel::bars("Bytes reclaimed", "Bytes that vacuums released.", unit::BYTES).size(12, 8).query(
            "sum by (instance, db) (increase(litekeeper_vacuum_reclaimed_bytes_total{@db}[$__rate_interval]))",
            "{{db}} @ {{instance}}",
        ),
        Panel::bars("Rows deleted", "Rows that log cleaning deleted.", unit::SHORT).size(12, 8).query(
            "sum by (instance, db, table) (increase(litekeeper_retention_deleted_rows_total{@db}[$__rate_interval]))",
            "{{db}} @ {{instance}} {{table}}",
        ),
        Panel::bars("Rows that went along", "Rows that referred to deleted ones, and were deleted or had their reference set to NULL.", unit::SHORT)
            .size(12, 8)
            .query(
                "sum by (instance, db, table) (increase(litekeeper_retention_cascaded_rows_total{@db}[$__rate_interval]))",
                "{{db}} @ {{instance}} {{table}}",
            ),
        Panel::lines("Expired rows that stay", "Expired rows that the last log cleaning kept because of a foreign key, a trigger or the configuration.", unit::SHORT)
            .size(12, 8)
            .query("max by (instance, db, table) (litekeeper_retention_kept_rows{@db})", "{{db}} @ {{instance}} {{table}}"),
        Table::new("Last vacuums", "Pages times their size before and after the last vacuum of each database.")
            .size(12, 8)
            .label("db", "Database")
            .label("instance", "Instance")
            .column(Column::new("Before", unit::BYTES, "max by (instance, db) (litekeeper_vacuum_last_size_before_bytes{@db})"))
            .column(Column::new("After", unit::BYTES, "max by (instance, db) (litekeeper_vacuum_last_size_after_bytes{@db})"))
            .column(Column::new(
                "Saved",
                unit::SHARE,
                "1 - max by (instance, db) (litekeeper_vacuum_last_size_after_bytes{@db} / litekeeper_vacuum_last_size_before_bytes{@db})",
            ))
            .sorted_by("Saved", true),
        Table::new("Retentions", "What is to be kept of each log table, how old its oldest row is, and whether the last cleaning came to its end.")
            .size(12, 8)
            .label("db", "Database")
            .label("table", "Table")
            .label("instance", "Instance")
            .column(Column::new("Kept for", unit::SECONDS, &of_table("litekeeper_retention_window_seconds")))
            .column(Column::new(
                "Oldest row",
                unit::SECONDS,
                "max by (instance, db, table) (
                   (time() - sqlite_table_oldest_row_timestamp_seconds{@db})
                   and on (instance, db, table) litekeeper_retention_window_seconds{@db})",
            ))
            .column(Column::new("Rows kept", unit::SHORT, &of_table("litekeeper_retention_kept_rows")))
            .column(
                Column::new("Last cleaning", unit::WORD, &of_table("litekeeper_retention_complete"))
                    .words(&[(1.0, "complete", colour::GOOD), (0.0, "ended before", colour::WARNING)]),
            )
            .sorted_by("Oldest row", true),
    ]
}

fn schedule() -> Vec<Panel> {
    vec![
        Table::new("Next runs", "What runs next, the soonest first.")
            .size(12, 10)
            .label("db", "Database")
            .label("task", "Task")
            .label("instance", "Instance")
            .column(Column::new(
                "Next run",
                unit::FROM_NOW,
                "1000 * min by (instance, db, task) (litekeeper_job_next_run_timestamp_seconds{@db} > 0)",
            ))
            .column(Column::new(
                "Time between two",
                unit::SECONDS,
                "max by (instance, db, task) (litekeeper_job_expected_interval_seconds{@db})",
            ))
            .sorted_by("Next run", false),
        Panel::lines(
            "Since the last success",
            "Time since the last successful run of each task, as a share of the longest time between two. Well above 100 % a task is overdue.",
            unit::SHARE,
        )
        .size(12, 10)
        .custom(json!({"thresholdsStyle": {"mode": "line"}}))
        .thresholds("transparent", &[(1.0, colour::WARNING)])
        .query(
            "(time() - (litekeeper_job_last_success_timestamp_seconds{@db} > 0))
             / litekeeper_job_expected_interval_seconds{@db}",
            "{{db}} @ {{instance}} {{task}}",
        ),
    ]
}

fn backups() -> Vec<Panel> {
    vec![
        Panel::steps("Size of backups", "What the backups of each database take.", unit::BYTES)
            .query("litekeeper_backup_size_bytes{@db}", "{{db}} @ {{instance}}"),
        Panel::steps("Backups kept", "Files that are kept of each database.", unit::SHORT)
            .query("litekeeper_backup_files{@db}", "{{db}} @ {{instance}}"),
        Panel::lines(
            "Age of the last good backup",
            "Time since a backup was last made and proved to be whole.",
            unit::SECONDS,
        )
        .query(
            "time() - (litekeeper_backup_last_verified_timestamp_seconds{@db} > 0)",
            "{{db}} @ {{instance}}",
        ),
        Panel::steps(
            "Kept backups by state",
            "Verified: equal to the manifest when it was last read. Damaged: changed since it was made. Unverified: no usable manifest.",
            unit::SHORT,
        )
        .size(12, 8)
        .query("sum by (state) (litekeeper_backup_kept_files{@db})", "{{state}}"),
        Panel::lines(
            "Since kept backups were verified",
            "Time since the kept backup was compared with its manifest that was not compared for longest.",
            unit::SECONDS,
        )
        .size(12, 8)
        .query(
            "time() - litekeeper_backup_kept_verified_timestamp_seconds{@db, verification=\"oldest\"}",
            "{{db}} @ {{instance}}",
        ),
    ]
}
