//! The tasks of a database: what may be done to it, when, and within which bounds.
//!
//! Only what stands here is ever done: a job that writes runs where the file names it.

use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use crate::config::TimestampFormat;
use crate::schedule::Schedule;
use crate::schedule::Window;
use crate::task::TaskKind;

/// The tasks that are configured for a database.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tasks {
    /// Checks and statistics.
    pub health_check: Option<HealthCheck>,
    /// Giving free pages back.
    pub vacuum: Option<Vacuum>,
    /// Deleting old rows.
    pub log_cleaning: Option<LogCleaning>,
    /// Verified copies.
    pub backup: Option<Backup>,
    /// Copying the WAL into the main file.
    pub checkpoint: Option<Checkpoint>,
    /// Statistics of the query planner.
    pub optimize: Option<Optimize>,
}

/// When a task runs and how long it may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// When it falls due, with its time zone.
    pub schedule: Schedule,
    /// The zone of schedule and window.
    pub zone: Tz,
    /// How far the runs of a fleet are spread after the schedule's times.
    pub spread: Duration,
    /// When it may run at all.
    pub window: Option<Window>,
    /// How late a run may begin; later it is left out.
    pub start_deadline: Duration,
    /// How long a run may take.
    pub timeout: Duration,
}

/// How long a task holds the write lock, and how long it waits for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WriteLimits {
    /// The longest that the write lock is to be held at once.
    pub target_lock_hold: Duration,
    /// The pause after a hold, as a part of the hold. It is never shorter than what a waiting writer needs.
    pub pause_ratio: f64,
    /// How long a lock that another process holds is waited for.
    pub lock_timeout: Duration,
    /// Whether a WAL is written on a network or virtual file system too.
    pub allow_network_filesystem: bool,
}

/// The task `health_check`.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// When every check runs.
    pub timing: Timing,
    /// When the quick check alone runs, beside that.
    pub quick: Option<Timing>,
    /// Whether foreign keys are checked too.
    pub foreign_keys: bool,
    /// For how long writers of a rollback database may be kept from committing; up to five times as long once, to make a private copy.
    pub max_writer_wait: Duration,
    /// How far a WAL may grow while the check reads; then it goes on table by table.
    pub max_wal_growth: u64,
}

/// The task `vacuum`.
#[derive(Debug, Clone, PartialEq)]
pub struct Vacuum {
    /// When it runs.
    pub timing: Timing,
    /// The least number of bytes that are worth it.
    pub min_bytes: u64,
    /// The least part of the file that is worth it.
    pub min_ratio: f64,
    /// Whether a full vacuum makes the database one that is vacuumed incrementally from then on.
    pub convert_auto_vacuum: bool,
    /// The longest that a full vacuum may hold the write lock, by its estimate; without it the application's busy
    /// timeout where that is configured, else a second.
    pub max_lock_hold: Option<Duration>,
    /// Bytes that stay free on every file system that the vacuum needs room on.
    pub min_free_space: u64,
    /// Whether it runs although Litestream or LiteFS replicates the database.
    pub allow_replicated: bool,
    /// How gently.
    pub write_limits: WriteLimits,
}

/// The task `log_cleaning`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogCleaning {
    /// When it runs.
    pub timing: Timing,
    /// What is cleaned.
    pub tables: Vec<Retention>,
    /// Whether foreign keys are enforced; needed where others refer to a table.
    pub foreign_keys: Option<bool>,
    /// How gently.
    pub write_limits: WriteLimits,
}

/// The retention of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Retention {
    /// The table.
    pub table: String,
    /// Its time column; without one, rows go in the order of their row ids.
    pub column: Option<String>,
    /// How the column writes a time.
    pub format: TimestampFormat,
    /// How old a row becomes; with `expires`, how long it stays after it has expired. `None` where age says nothing.
    pub retention: Option<Duration>,
    /// So many of the newest rows stay, and all others go.
    pub max_rows: Option<u64>,
    /// So many bytes of the newest rows' values stay, and all others go.
    pub max_bytes: Option<u64>,
    /// Whether the column holds the moment at which a row expires, and not that at which it was made.
    pub expires: bool,
    /// Whether a retention below one day is meant.
    pub allow_short_retention: bool,
    /// Only rows for which this SQL is true are deleted.
    pub condition: Option<String>,
    /// So many of the newest rows stay whatever their age.
    pub keep_latest: Option<u64>,
    /// Where rows go before they are deleted.
    pub archive: Option<PathBuf>,
    /// Tables whose rows that refer to a deleted one by a foreign key are deleted first.
    pub cascade: Vec<String>,
    /// Tables whose references to a deleted row are set to NULL first.
    pub set_null: Vec<String>,
    /// How old the newest row may be at the most. When it is older, the clock is not believed.
    pub max_newest_age: Duration,
}

/// The task `backup`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// When it runs.
    pub timing: Timing,
    /// The directory of the copies.
    pub to: PathBuf,
    /// So many verified copies stay.
    pub keep: usize,
    /// Bytes that stay free on the file system of the copies.
    pub min_free_space: u64,
    /// For how long writers of a rollback database may be kept from committing; up to five times as long once, to make the copy one
    /// state.
    pub max_writer_wait: Duration,
    /// How far a WAL may grow while the copy is made; then the run ends.
    pub max_wal_growth: u64,
}

/// The task `checkpoint`.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// When it runs.
    pub timing: Timing,
    /// A WAL file of this size is emptied, when nobody uses it.
    pub truncate_above: u64,
    /// Whether it runs although Litestream or LiteFS replicates the database.
    pub allow_replicated: bool,
    /// Whether a WAL is written on a network or virtual file system too.
    pub allow_network_filesystem: bool,
}

/// The task `optimize`.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimize {
    /// When it runs.
    pub timing: Timing,
    /// So many rows of each index are looked at, about.
    pub analysis_limit: u32,
    /// How gently.
    pub write_limits: WriteLimits,
}

impl Tasks {
    /// The tasks that are configured, each with its timing.
    pub fn timings(&self) -> impl Iterator<Item = (TaskKind, &Timing)> {
        let health = self.health_check.as_ref();
        [
            (TaskKind::Backup, self.backup.as_ref().map(|task| &task.timing)),
            (TaskKind::LogCleaning, self.log_cleaning.as_ref().map(|task| &task.timing)),
            (TaskKind::Vacuum, self.vacuum.as_ref().map(|task| &task.timing)),
            (TaskKind::Optimize, self.optimize.as_ref().map(|task| &task.timing)),
            (TaskKind::Checkpoint, self.checkpoint.as_ref().map(|task| &task.timing)),
            (TaskKind::QuickCheck, health.and_then(|task| task.quick.as_ref())),
            (TaskKind::HealthCheck, health.map(|task| &task.timing)),
        ]
        .into_iter()
        .filter_map(|(task, timing)| timing.map(|timing| (task, timing)))
    }
}
