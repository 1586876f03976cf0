//! Why a run was skipped or failed: the label values of `litekeeper_job_skips_total` and
//! `litekeeper_job_failures_total`.

use serde::Serialize;

use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::SqliteError;

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
    /// A disk that it needs is full.
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

    /// The reason with a label value.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.label() == label)
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

    /// The reason with a label value.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.label() == label)
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
