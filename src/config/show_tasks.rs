//! The tasks of the effective configuration as YAML, every default filled in.

use std::path::Path;

use serde::Serialize;

use crate::config::Backup;
use crate::config::Checkpoint;
use crate::config::HealthCheck;
use crate::config::LogCleaning;
use crate::config::Maintenance;
use crate::config::Optimize;
use crate::config::Retention;
use crate::config::StateLocation;
use crate::config::Tasks;
use crate::config::TimestampFormat;
use crate::config::Timing;
use crate::config::Vacuum;
use crate::config::WriteLimits;
use crate::config::environment::escape;
use crate::config::on_off;
use crate::config::units::format_bytes;
use crate::config::units::format_duration;
use crate::config::word;

#[derive(Serialize)]
pub(super) struct ShownMaintenance {
    state: Option<String>,
    timezone: &'static str,
    temp_directory: Option<String>,
    pause_file: Option<String>,
    max_jobs: usize,
    max_jobs_per_filesystem: usize,
    catch_up_delay: String,
    history_retention: String,
}

#[derive(Serialize)]
pub(super) struct ShownTasks {
    #[serde(serialize_with = "or_off")]
    health_check: Option<ShownHealthCheck>,
    #[serde(serialize_with = "or_off")]
    vacuum: Option<ShownVacuum>,
    #[serde(serialize_with = "or_off")]
    log_cleaning: Option<ShownLogCleaning>,
    #[serde(serialize_with = "or_off")]
    backup: Option<ShownBackup>,
    #[serde(serialize_with = "or_off")]
    checkpoint: Option<ShownCheckpoint>,
    #[serde(serialize_with = "or_off")]
    optimize: Option<ShownOptimize>,
}

#[derive(Serialize)]
struct ShownTiming {
    schedule: String,
    timezone: &'static str,
    spread: String,
    window: Option<String>,
    start_deadline: String,
    timeout: String,
}

#[derive(Serialize)]
struct ShownWriteLimits {
    target_lock_hold: String,
    pause_ratio: f64,
    lock_timeout: String,
    #[serde(serialize_with = "on_off")]
    allow_network_filesystem: bool,
}

#[derive(Serialize)]
struct ShownHealthCheck {
    #[serde(flatten)]
    timing: ShownTiming,
    #[serde(serialize_with = "or_off")]
    quick: Option<ShownTiming>,
    #[serde(serialize_with = "on_off")]
    foreign_keys: bool,
    max_writer_wait: String,
    max_wal_growth: String,
}

#[derive(Serialize)]
struct ShownReclaimable {
    bytes: String,
    ratio: f64,
}

#[derive(Serialize)]
struct ShownVacuum {
    #[serde(flatten)]
    timing: ShownTiming,
    min_reclaimable: ShownReclaimable,
    convert_auto_vacuum: &'static str,
    max_lock_hold: Option<String>,
    min_free_space: String,
    #[serde(serialize_with = "on_off")]
    allow_replicated: bool,
    #[serde(flatten)]
    write_limits: ShownWriteLimits,
}

#[derive(Serialize)]
struct ShownLogCleaning {
    #[serde(flatten)]
    timing: ShownTiming,
    tables: Vec<ShownRetention>,
    foreign_keys: Option<&'static str>,
    #[serde(flatten)]
    write_limits: ShownWriteLimits,
}

#[derive(Serialize)]
struct ShownRetention {
    table: String,
    column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<TimestampFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_rows: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_short_retention: Option<&'static str>,
    condition: Option<String>,
    keep_latest: Option<u64>,
    archive: Option<String>,
    cascade: Vec<String>,
    set_null: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_newest_age: Option<String>,
}

#[derive(Serialize)]
struct ShownBackup {
    #[serde(flatten)]
    timing: ShownTiming,
    to: String,
    keep: usize,
    min_free_space: String,
    max_writer_wait: String,
    max_wal_growth: String,
}

#[derive(Serialize)]
struct ShownCheckpoint {
    #[serde(flatten)]
    timing: ShownTiming,
    truncate_above: String,
    #[serde(serialize_with = "on_off")]
    allow_replicated: bool,
    #[serde(serialize_with = "on_off")]
    allow_network_filesystem: bool,
}

#[derive(Serialize)]
struct ShownOptimize {
    #[serde(flatten)]
    timing: ShownTiming,
    analysis_limit: u32,
    #[serde(flatten)]
    write_limits: ShownWriteLimits,
}

/// A task that is named, or the word for one that is not.
fn or_off<T: Serialize, S: serde::Serializer>(task: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match task {
        Some(task) => task.serialize(serializer),
        None => serializer.serialize_str(word(false)),
    }
}

fn shown_path(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

pub(super) fn shown_maintenance(maintenance: &Maintenance) -> ShownMaintenance {
    ShownMaintenance {
        state: match &maintenance.state {
            StateLocation::File(path) => Some(shown_path(path)),
            StateLocation::Default | StateLocation::Memory => None,
        },
        timezone: maintenance.timezone.name(),
        temp_directory: maintenance.temp_directory.as_deref().map(shown_path),
        pause_file: maintenance.pause_file.as_deref().map(shown_path),
        max_jobs: maintenance.max_jobs,
        max_jobs_per_filesystem: maintenance.max_jobs_per_filesystem,
        catch_up_delay: format_duration(maintenance.catch_up_delay),
        history_retention: format_duration(maintenance.history_retention),
    }
}

pub(super) fn shown_tasks(tasks: &Tasks) -> ShownTasks {
    ShownTasks {
        health_check: tasks.health_check.as_ref().map(shown_health_check),
        vacuum: tasks.vacuum.as_ref().map(shown_vacuum),
        log_cleaning: tasks.log_cleaning.as_ref().map(shown_log_cleaning),
        backup: tasks.backup.as_ref().map(shown_backup),
        checkpoint: tasks.checkpoint.as_ref().map(shown_checkpoint),
        optimize: tasks.optimize.as_ref().map(shown_optimize),
    }
}

fn shown_timing(timing: &Timing) -> ShownTiming {
    ShownTiming {
        schedule: timing.schedule.to_string(),
        timezone: timing.zone.name(),
        spread: format_duration(timing.spread),
        window: timing.window.as_ref().map(ToString::to_string),
        start_deadline: format_duration(timing.start_deadline),
        timeout: format_duration(timing.timeout),
    }
}

fn shown_write_limits(write_limits: &WriteLimits) -> ShownWriteLimits {
    ShownWriteLimits {
        target_lock_hold: format_duration(write_limits.target_lock_hold),
        pause_ratio: write_limits.pause_ratio,
        lock_timeout: format_duration(write_limits.lock_timeout),
        allow_network_filesystem: write_limits.allow_network_filesystem,
    }
}

fn shown_health_check(task: &HealthCheck) -> ShownHealthCheck {
    ShownHealthCheck {
        timing: shown_timing(&task.timing),
        quick: task.quick.as_ref().map(shown_timing),
        foreign_keys: task.foreign_keys,
        max_writer_wait: format_duration(task.max_writer_wait),
        max_wal_growth: format_bytes(task.max_wal_growth),
    }
}

fn shown_vacuum(task: &Vacuum) -> ShownVacuum {
    ShownVacuum {
        timing: shown_timing(&task.timing),
        min_reclaimable: ShownReclaimable { bytes: format_bytes(task.min_bytes), ratio: task.min_ratio },
        convert_auto_vacuum: if task.convert_auto_vacuum { "incremental" } else { "off" },
        max_lock_hold: task.max_lock_hold.map(format_duration),
        min_free_space: format_bytes(task.min_free_space),
        allow_replicated: task.allow_replicated,
        write_limits: shown_write_limits(&task.write_limits),
    }
}

fn shown_log_cleaning(task: &LogCleaning) -> ShownLogCleaning {
    ShownLogCleaning {
        timing: shown_timing(&task.timing),
        tables: task.tables.iter().map(shown_retention).collect(),
        foreign_keys: task.foreign_keys.map(word),
        write_limits: shown_write_limits(&task.write_limits),
    }
}

fn shown_backup(task: &Backup) -> ShownBackup {
    ShownBackup {
        timing: shown_timing(&task.timing),
        to: shown_path(&task.to),
        keep: task.keep,
        min_free_space: format_bytes(task.min_free_space),
        max_writer_wait: format_duration(task.max_writer_wait),
        max_wal_growth: format_bytes(task.max_wal_growth),
    }
}

fn shown_checkpoint(task: &Checkpoint) -> ShownCheckpoint {
    ShownCheckpoint {
        timing: shown_timing(&task.timing),
        truncate_above: format_bytes(task.truncate_above),
        allow_replicated: task.allow_replicated,
        allow_network_filesystem: task.allow_network_filesystem,
    }
}

fn shown_optimize(task: &Optimize) -> ShownOptimize {
    ShownOptimize {
        timing: shown_timing(&task.timing),
        analysis_limit: task.analysis_limit,
        write_limits: shown_write_limits(&task.write_limits),
    }
}

fn shown_retention(retention: &Retention) -> ShownRetention {
    let (age, expires) = (retention.retention.map(format_duration), retention.expires);
    // What means nothing beside `expires`, or without an age, is not shown: it could not be written.
    let by_age = age.is_some() && !expires;
    ShownRetention {
        table: escape(&retention.table),
        column: retention.column.as_deref().map(escape),
        format: retention.column.is_some().then_some(retention.format),
        retention: (!expires).then(|| age.clone()),
        max_rows: (!expires).then_some(retention.max_rows),
        max_bytes: (!expires).then(|| retention.max_bytes.map(format_bytes)),
        expires: expires.then(|| word(true)),
        grace: age.filter(|_| expires),
        allow_short_retention: by_age.then(|| word(retention.allow_short_retention)),
        condition: retention.condition.as_deref().map(escape),
        keep_latest: retention.keep_latest,
        archive: retention.archive.as_deref().map(shown_path),
        cascade: retention.cascade.iter().map(|table| escape(table)).collect(),
        set_null: retention.set_null.iter().map(|table| escape(table)).collect(),
        max_newest_age: by_age.then(|| format_duration(retention.max_newest_age)),
    }
}
