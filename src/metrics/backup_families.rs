//! The families of kept backups.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::tasks::BackupState;

use super::job_families::JobFamily;

/// The families of kept backups, in the order of the exposition.
pub(super) static BACKUP_FAMILIES: &[JobFamily] = &[
    JobFamily {
        name: "litekeeper_backup_kept_files",
        unit: None,
        kind: MetricType::Gauge,
        labels: &["state"],
        help: "Kept backups of the database when the task last ran: verified (equal to the manifest when it was last read), damaged (changed since it was made) or unverified (no usable manifest, or the disk could not be read); kept across restarts",
        samples: |job, task, sink| {
            let Some(kept) = job.kept_backups else { return Ok(()) };
            BackupState::ALL.iter().zip(kept.by_state).try_for_each(|(state, number)| {
                sink.gauge(&[("task", task), ("state", state.label())], number as f64)
            })
        },
    },
    JobFamily {
        name: "litekeeper_backup_kept_verified_timestamp",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        labels: &["verification"],
        help: "When kept backups that are not damaged were last found equal to their manifest, in seconds since 1970: the most recent verification (newest) and the least recent one (oldest); kept across restarts",
        samples: |job, task, sink| {
            let Some(kept) = job.kept_backups else { return Ok(()) };
            let times = [("newest", kept.newest_verification), ("oldest", kept.oldest_verification)];
            times.into_iter().try_for_each(|(verification, time)| match time {
                Some(time) => sink.gauge(&[("task", task), ("verification", verification)], time),
                None => Ok(()),
            })
        },
    },
    JobFamily {
        name: "litekeeper_backup_verify_interval",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        labels: &[],
        help: "Time after which the next run of the task reads a kept backup again; absent if verify_interval is off",
        samples: |job, task, sink| match job.verify_interval {
            Some(interval) => sink.gauge(&[("task", task)], interval.as_secs_f64()),
            None => Ok(()),
        },
    },
];
