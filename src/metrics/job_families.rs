//! The table of everything that is said of maintenance and integrity.

use std::fmt;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::collectors::unix_seconds;
use crate::state_store::CheckStatus;
use crate::task::TaskKind;
use crate::tasks::FailureReason;
use crate::tasks::Notes;
use crate::tasks::SkipReason;

use super::jobs::Job;
use super::jobs::TableCounts;
use super::sample_writer::SampleWriter;

/// One family of a task of a database.
pub(super) struct JobFamily {
    pub name: &'static str,
    pub unit: Option<Unit>,
    pub kind: MetricType,
    /// Labels besides `db` and `task`.
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub samples: fn(&Job, &'static str, &mut SampleWriter<'_, '_>) -> fmt::Result,
}

/// One family of a database's integrity.
pub(super) struct IntegrityFamily {
    pub name: &'static str,
    pub unit: Option<Unit>,
    pub help: &'static str,
    /// The value for a check that is configured, from its last word and its interval.
    pub value: fn(Option<&CheckStatus>, f64) -> Option<f64>,
}

/// Name and HELP of the histogram, which has the label `task` alone.
pub(super) const DURATION: (&str, &str) =
    ("litekeeper_job_duration", "Duration of runs, without skipped ones");

/// Name and HELP of the pauses.
pub(super) const PAUSED: (&str, &str) = (
    "litekeeper_maintenance_paused",
    "Whether maintenance of the database is paused (1), by itself or globally",
);

type Samples = fn(&Job, &'static str, &mut SampleWriter<'_, '_>) -> fmt::Result;

const fn gauge(name: &'static str, unit: Option<Unit>, help: &'static str, samples: Samples) -> JobFamily {
    JobFamily { name, unit, kind: MetricType::Gauge, labels: &[], help, samples }
}

const fn counter(
    name: &'static str,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    help: &'static str,
    samples: Samples,
) -> JobFamily {
    JobFamily { name, unit, kind: MetricType::Counter, labels, help, samples }
}

fn optional(sink: &mut SampleWriter<'_, '_>, task: &str, value: Option<f64>) -> fmt::Result {
    value.map_or(Ok(()), |value| sink.gauge(&[("task", task)], value))
}

/// A sample of a metric that one task has from its first scrape on.
fn only(kind: TaskKind, task: &str, sample: impl FnOnce() -> fmt::Result) -> fmt::Result {
    if task == kind.label() { sample() } else { Ok(()) }
}

fn tables(
    job: &Job,
    task: &str,
    mut sample: impl FnMut(&[(&str, &str)], &TableCounts) -> fmt::Result,
) -> fmt::Result {
    job.tables.iter().try_for_each(|(table, counts)| sample(&[("task", task), ("table", table)], counts))
}

/// The families of jobs, in the order of the exposition.
pub(super) static JOB_FAMILIES: &[JobFamily] = &[
    counter(
        "litekeeper_job_runs",
        None,
        &[],
        "Completed runs, successful or not, without skipped ones",
        |job, task, sink| sink.counter(&[("task", task)], job.runs),
    ),
    counter(
        "litekeeper_job_failures",
        None,
        &["reason"],
        "Runs that failed; a health check that finds damage has the reason corrupt",
        |job, task, sink| {
            FailureReason::ALL.iter().zip(job.failures).try_for_each(|(reason, count)| {
                sink.counter(&[("task", task), ("reason", reason.label())], count)
            })
        },
    ),
    counter(
        "litekeeper_job_skips",
        None,
        &["reason"],
        "Runs that fell due but were not needed (below_threshold) or not allowed",
        |job, task, sink| {
            SkipReason::ALL.iter().zip(job.skips).try_for_each(|(reason, count)| {
                sink.counter(&[("task", task), ("reason", reason.label())], count)
            })
        },
    ),
    counter(
        "litekeeper_job_missed_runs",
        None,
        &[],
        "Scheduled runs that were missed because litekeeper was down, the machine was suspended or a run took too long",
        |job, task, sink| sink.counter(&[("task", task)], job.missed),
    ),
    gauge(
        "litekeeper_job_running",
        None,
        "Whether the task is running in this agent (1)",
        |job, task, sink| sink.gauge(&[("task", task)], f64::from(job.running.min(1))),
    ),
    gauge(
        "litekeeper_job_progress_ratio",
        None,
        "Progress of the current phase of the task, from 0 to 1; absent while it does not run",
        |job, task, sink| optional(sink, task, (job.running > 0).then_some(job.progress)),
    ),
    gauge(
        "litekeeper_job_last_start_timestamp",
        Some(Unit::Seconds),
        "When the last run started, in seconds since 1970; kept across restarts",
        |job, task, sink| optional(sink, task, job.last_start),
    ),
    gauge(
        "litekeeper_job_last_completion_timestamp",
        Some(Unit::Seconds),
        "When the last run ended, successful or not, in seconds since 1970; kept across restarts",
        |job, task, sink| optional(sink, task, job.last_completion),
    ),
    gauge(
        "litekeeper_job_last_success_timestamp",
        Some(Unit::Seconds),
        "When the last run ended that succeeded or found nothing to do (below_threshold), in seconds since 1970; kept across restarts",
        |job, task, sink| optional(sink, task, job.last_success),
    ),
    gauge(
        "litekeeper_job_next_run_timestamp",
        Some(Unit::Seconds),
        "When the task runs next, in seconds since 1970",
        |job, task, sink| optional(sink, task, job.next_runs.values().copied().reduce(f64::min)),
    ),
    gauge(
        "litekeeper_job_last_run_success",
        None,
        "Whether the last run that was not skipped succeeded (1) or failed (0); kept across restarts",
        |job, task, sink| optional(sink, task, job.succeeded.map(|ok| f64::from(u8::from(ok)))),
    ),
    gauge(
        "litekeeper_job_last_duration",
        Some(Unit::Seconds),
        "Duration of the last run; kept across restarts",
        |job, task, sink| optional(sink, task, job.last_duration),
    ),
    gauge(
        "litekeeper_job_expected_interval",
        Some(Unit::Seconds),
        "Longest time between two due times of the task's schedule",
        |job, task, sink| sink.gauge(&[("task", task)], job.expected_interval.as_secs_f64()),
    ),
    gauge(
        "litekeeper_job_timeout",
        Some(Unit::Seconds),
        "Time after which a run is stopped",
        |job, task, sink| sink.gauge(&[("task", task)], job.timeout.as_secs_f64()),
    ),
    gauge(
        "litekeeper_job_max_write_hold",
        Some(Unit::Seconds),
        "Longest time for which the last run blocked commits without a break: by the write lock, or in a check or backup of a rollback database by a reader's lock, whether or not another process waited",
        |job, task, sink| optional(sink, task, job.max_write_hold),
    ),
    counter(
        "litekeeper_vacuum_reclaimed",
        Some(Unit::Bytes),
        &[],
        "Bytes that vacuums released",
        |job, task, sink| {
            only(TaskKind::Vacuum, task, || sink.counter(&[("task", task)], job.reclaimed_bytes))
        },
    ),
    gauge(
        "litekeeper_vacuum_last_size_before",
        Some(Unit::Bytes),
        "Size of all pages before the last vacuum; kept across restarts",
        |job, task, sink| optional(sink, task, job.sizes.map(|(before, _)| before as f64)),
    ),
    gauge(
        "litekeeper_vacuum_last_size_after",
        Some(Unit::Bytes),
        "Size of all pages after the last vacuum; kept across restarts",
        |job, task, sink| optional(sink, task, job.sizes.map(|(_, after)| after as f64)),
    ),
    counter(
        "litekeeper_retention_deleted_rows",
        None,
        &["table"],
        "Rows deleted by log cleaning, without those deleted by triggers and foreign keys",
        |job, task, sink| tables(job, task, |labels, counts| sink.counter(labels, counts.deleted_rows)),
    ),
    counter(
        "litekeeper_retention_batches",
        None,
        &["table"],
        "Transactions in which log cleaning deleted rows",
        |job, task, sink| tables(job, task, |labels, counts| sink.counter(labels, counts.batches)),
    ),
    counter(
        "litekeeper_retention_cascaded_rows",
        None,
        &["table"],
        "Rows that referred to rows of the table by foreign keys, and were deleted or set to NULL along with them",
        |job, task, sink| tables(job, task, |labels, counts| sink.counter(labels, counts.other_rows)),
    ),
    JobFamily {
        name: "litekeeper_retention_kept_rows",
        unit: None,
        kind: MetricType::Gauge,
        labels: &["table"],
        help: "Expired rows that the last log cleaning kept because of a foreign key, a trigger or the configuration; kept across restarts",
        samples: |job, task, sink| {
            tables(job, task, |labels, counts| match counts.kept_rows {
                Some(rows) => sink.gauge(labels, rows as f64),
                None => Ok(()),
            })
        },
    },
    JobFamily {
        name: "litekeeper_retention_window",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        labels: &["table"],
        help: "The configured retention of the table, if rows are deleted by their age",
        samples: |job, task, sink| {
            tables(job, task, |labels, counts| match counts.window {
                Some(window) => sink.gauge(labels, window.as_secs_f64()),
                None => Ok(()),
            })
        },
    },
    JobFamily {
        name: "litekeeper_retention_complete",
        unit: None,
        kind: MetricType::Gauge,
        labels: &["table"],
        help: "Whether the last log cleaning deleted every expired row that may be deleted (1) or ended early (0); kept across restarts",
        samples: |job, task, sink| {
            tables(job, task, |labels, counts| match counts.complete {
                Some(complete) => sink.gauge(labels, f64::from(u8::from(complete))),
                None => Ok(()),
            })
        },
    },
    gauge(
        "litekeeper_backup_size",
        Some(Unit::Bytes),
        "Size of the last verified backup; kept across restarts",
        |job, task, sink| optional(sink, task, job.backup.map(|backup| backup.size_bytes as f64)),
    ),
    gauge(
        "litekeeper_backup_files",
        None,
        "Verified backups of the database that were in the directory after the last one; kept across restarts",
        |job, task, sink| optional(sink, task, job.backup.map(|backup| backup.files as f64)),
    ),
    gauge(
        "litekeeper_backup_last_verified_timestamp",
        Some(Unit::Seconds),
        "When the last backup was verified by a full check and a count of its rows, in seconds since 1970, kept across restarts; 0 means never",
        |job, task, sink| {
            only(TaskKind::Backup, task, || {
                sink.gauge(&[("task", task)], job.backup.map_or(0.0, |backup| backup.verified_at))
            })
        },
    ),
];

/// The families of integrity, in the order of the exposition.
pub(super) static INTEGRITY_FAMILIES: &[IntegrityFamily] = &[
    IntegrityFamily {
        name: "sqlite_integrity_ok",
        unit: None,
        help: "Last result of the check: sound (1) or damaged (0; for foreign_key: rows without their parent); a failed quick or full check stays 0 until a full check of the whole database passes; kept across restarts",
        value: |standing, _| standing.map(|standing| f64::from(u8::from(standing.ok))),
    },
    IntegrityFamily {
        name: "sqlite_integrity_problems",
        unit: None,
        help: "Problems that the check reported, capped at 100; those of a failed check remain as long as its result",
        value: |standing, _| standing.map(|standing| f64::from(standing.problems)),
    },
    IntegrityFamily {
        name: "sqlite_integrity_constraint_violations",
        unit: None,
        help: "Constraint violations found by the last check, capped at 100: NOT NULL, types, CHECK, UNIQUE, and for foreign_key missing parents; the file is sound, and maintenance continues",
        value: |standing, _| standing.map(|standing| f64::from(standing.notes.constraints)),
    },
    IntegrityFamily {
        name: "sqlite_integrity_btrees",
        unit: None,
        help: "B-trees (tables and indexes) that the last check covered; absent for foreign_key",
        value: |standing, _| btrees(standing, |notes| notes.btrees),
    },
    IntegrityFamily {
        name: "sqlite_integrity_btrees_checked",
        unit: None,
        help: "B-trees that the last check could check completely; the others need a collation or function that only the application has",
        value: |standing, _| btrees(standing, |notes| notes.btrees_checked),
    },
    IntegrityFamily {
        name: "sqlite_integrity_last_completed_timestamp",
        unit: Some(Unit::Seconds),
        help: "When the check last completed, in seconds since 1970, kept across restarts; 0 means never",
        value: |standing, _| Some(standing.map_or(0.0, |standing| unix_seconds(standing.completed_at))),
    },
    IntegrityFamily {
        name: "sqlite_integrity_last_whole_timestamp",
        unit: Some(Unit::Seconds),
        help: "When the check last covered the whole database in one state, in seconds since 1970; a check table by table does not find errors of the freelist, unused pages and pages used twice; 0 means never",
        value: |standing, _| Some(standing.map_or(0.0, |standing| unix_seconds(standing.whole_at))),
    },
    IntegrityFamily {
        name: "sqlite_integrity_check_interval",
        unit: Some(Unit::Seconds),
        help: "Interval of the check by its schedule",
        value: |_, interval| Some(interval),
    },
];

/// A number of b-trees; nothing for a check that looks at none, or whose last word is of an older
/// version.
fn btrees(standing: Option<&CheckStatus>, number: impl Fn(&Notes) -> u64) -> Option<f64> {
    let notes = &standing?.notes;
    (notes.btrees > 0).then(|| number(notes) as f64)
}
