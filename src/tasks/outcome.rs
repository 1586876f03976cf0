//! What came of a run.

use std::time::Duration;

use serde::Serialize;

use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::SqliteError;

use super::backup::BackupReport;
use super::checkpoint::CheckpointReport;
use super::cleaning_report::LogCleaningReport;
use super::health_check::HealthReport;
use super::optimize::OptimizeReport;
use super::vacuum::VacuumReport;

/// Why a run was not needed or not allowed: the reasons of `litekeeper_job_skips_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// It would win too little.
    BelowThreshold,
    /// It fell due, or would end, outside its window.
    OutsideWindow,
    /// Maintenance is paused.
    Paused,
    /// A disk that it needs has no room.
    NoSpace,
    /// Another run had the database for too long.
    Overlap,
    /// Litestream or LiteFS replicates the database.
    Replicated,
    /// The database cannot be written by litekeeper.
    #[serde(rename = "readonly")]
    ReadOnly,
    /// An integrity check failed, and no full one has passed since.
    Unhealthy,
    /// The application's SQLite has a bug that this would trigger.
    VersionUnsafe,
    /// An index finds rows by row ids that this would change.
    #[serde(rename = "unstable_rowids")]
    UnstableRowIds,
    /// Only its owner may write the database: page checksums, or Turso.
    OwnerFormat,
    /// A process has the database open without its locks, or writes to a deleted file of it.
    OwnerLostLocks,
    /// The schema needs what only the application has: a collation or function.
    NeedsApplication,
}

impl SkipReason {
    /// Every reason, in the order of the exposition.
    pub const ALL: [Self; 13] = [
        Self::BelowThreshold,
        Self::OutsideWindow,
        Self::Paused,
        Self::NoSpace,
        Self::Overlap,
        Self::Replicated,
        Self::ReadOnly,
        Self::Unhealthy,
        Self::VersionUnsafe,
        Self::UnstableRowIds,
        Self::OwnerFormat,
        Self::OwnerLostLocks,
        Self::NeedsApplication,
    ];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::BelowThreshold => "below_threshold",
            Self::OutsideWindow => "outside_window",
            Self::Paused => "paused",
            Self::NoSpace => "no_space",
            Self::Overlap => "overlap",
            Self::Replicated => "replicated",
            Self::ReadOnly => "readonly",
            Self::Unhealthy => "unhealthy",
            Self::VersionUnsafe => "version_unsafe",
            Self::UnstableRowIds => "unstable_rowids",
            Self::OwnerFormat => "owner_format",
            Self::OwnerLostLocks => "owner_lost_locks",
            Self::NeedsApplication => "needs_application",
        }
    }
}

/// Why a run failed: the reasons of `litekeeper_job_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Another process held the lock all the time.
    Busy,
    /// The run's time was used up.
    Timeout,
    /// A disk became full.
    NoSpace,
    /// The database is damaged.
    Corrupt,
    /// The database is sound, and rows of it break constraints.
    Constraint,
    /// The system failed to read or write.
    Io,
    /// What is configured does not fit the database.
    Config,
    /// Somebody stopped it.
    Canceled,
    /// Everything else.
    Other,
}

impl FailureReason {
    /// Every reason, in the order of the exposition.
    pub const ALL: [Self; 9] = [
        Self::Busy,
        Self::Timeout,
        Self::NoSpace,
        Self::Corrupt,
        Self::Constraint,
        Self::Io,
        Self::Config,
        Self::Canceled,
        Self::Other,
    ];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::NoSpace => "no_space",
            Self::Corrupt => "corrupt",
            Self::Constraint => "constraint",
            Self::Io => "io",
            Self::Config => "config",
            Self::Canceled => "canceled",
            Self::Other => "other",
        }
    }

    /// The reason behind an error of SQLite.
    #[must_use]
    pub fn from_error(error: &SqliteError) -> Self {
        if error.is_missing_part() {
            return Self::Config;
        }
        match error.kind() {
            ErrorKind::Cancelled => Self::Canceled,
            ErrorKind::DeadlineExceeded => Self::Timeout,
            ErrorKind::Sqlite(code) => match code {
                ErrorCode::Busy | ErrorCode::Locked => Self::Busy,
                ErrorCode::Corrupt | ErrorCode::NotADatabase => Self::Corrupt,
                ErrorCode::Full => Self::NoSpace,
                ErrorCode::Io | ErrorCode::ReadOnly | ErrorCode::CannotOpen => Self::Io,
                ErrorCode::Other => Self::Other,
            },
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The longest that it kept other writers from committing at once, in seconds: by the write lock, or for a check or backup of a
    /// rollback database by a reader's lock. Whether somebody waited does not matter.
    #[serde(rename = "max_write_hold_seconds", serialize_with = "seconds")]
    pub max_hold: Duration,
    /// What else there is to say.
    #[serde(flatten)]
    pub details: Details,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// The part of a report that each job has for itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Details {
    /// Of a health check.
    HealthCheck(Box<HealthReport>),
    /// Of a vacuum.
    Vacuum(VacuumReport),
    /// Of a log cleaning.
    LogCleaning(LogCleaningReport),
    /// Of a backup.
    Backup(Box<BackupReport>),
    /// Of a checkpoint.
    Checkpoint(CheckpointReport),
    /// Of new statistics.
    Optimize(OptimizeReport),
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It did its work.
    Success(Report),
    /// It was not needed or not allowed.
    Skipped {
        /// Why, for the metric.
        reason: SkipReason,
        /// Why, for a person.
        detail: String,
        /// What was found before it was decided, where that says more than the reason.
        report: Option<Report>,
    },
    /// It could not do its work, or found the database damaged.
    Failed {
        /// Why, for the metric.
        reason: FailureReason,
        /// Why, for a person, and what to do.
        message: String,
        /// What was done before.
        report: Option<Report>,
    },
}

impl Outcome {
    /// A run that did nothing.
    #[must_use]
    pub fn skipped(reason: SkipReason, detail: impl Into<String>) -> Self {
        Self::Skipped { reason, detail: detail.into(), report: None }
    }

    /// A run that failed before it did anything.
    #[must_use]
    pub fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Failed { reason, message: message.into(), report: None }
    }

    /// A run that ended with an error of SQLite.
    #[must_use]
    pub fn of(error: &SqliteError, report: Option<Report>) -> Self {
        Self::Failed { reason: FailureReason::from_error(error), message: error.to_string(), report }
    }

    /// The word for it: `success`, `skipped` or `failed`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Success(_) => "success",
            Self::Skipped { .. } => "skipped",
            Self::Failed { .. } => "failed",
        }
    }

    /// The reason of a skip or a failure.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Success(_) => None,
            Self::Skipped { reason, .. } => Some(reason.label()),
            Self::Failed { reason, .. } => Some(reason.label()),
        }
    }

    /// Whether somebody ended it before it was done, which is no fault.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Failed { reason: FailureReason::Canceled, .. })
    }

    /// The reason in words.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Success(_) => None,
            Self::Skipped { detail, .. } => Some(detail),
            Self::Failed { message, .. } => Some(message),
        }
    }

    /// What was done.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Success(report) => Some(report),
            Self::Skipped { report, .. } | Self::Failed { report, .. } => report.as_ref(),
        }
    }
}
