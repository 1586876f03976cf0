//! What the two ways to copy a database share: the source, the copy, and why a copy is refused.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::database_files::DatabaseFiles;
use crate::health_report::ImpactLimits;
use crate::limits::QueryLimits;
use crate::sqlite::BlockCopy;
use crate::sqlite::ErrorCode;
use crate::sqlite::Header;
use crate::sqlite::SqliteError;

use crate::tasks::progress::Progress;
use crate::tasks::reason::FailureReason;
use crate::tasks::stop::Stop;

/// So much is written between two syncs of a copy: the owner's own syncs wait for what a file
/// system has gathered. Where the copy is made under a lock for which writers wait, everything is
/// synced at the end.
pub(super) const SYNC_BYTES: u64 = 32 * 1024 * 1024;

/// The share of the work that the copy is; the rest is its check.
pub(super) const COPY_SHARE: f64 = 0.4;

/// What is copied, and how.
pub(super) struct Source<'s> {
    pub path: &'s Path,
    pub files: &'s DatabaseFiles,
    /// How the owner is spared; `None` for a file that nobody else uses.
    pub impact_limits: Option<ImpactLimits>,
    pub limits: &'s QueryLimits,
    pub progress: &'s Arc<dyn Progress>,
}

/// A table and its rows; unknown where they were not counted in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableRowCount {
    pub table: String,
    pub rows: Option<u64>,
}

/// A copy that is not proved yet.
#[derive(Debug)]
pub(super) struct DatabaseCopy {
    pub header: Header,
    /// Every table that has rows of its own, also SQLite's and those of virtual tables.
    pub tables: Vec<TableRowCount>,
    /// How often it began.
    pub attempts: u32,
    /// The longest that writers were kept from committing.
    pub max_hold: Duration,
    pub elapsed: Duration,
    /// The hashes of what was read, where the main file was copied in blocks: then the rows need
    /// not be counted twice.
    pub blocks: Option<BlockCopy>,
}

/// The failure behind an error of the system.
pub(super) fn file_failed(what: &str, error: &io::Error) -> Stop {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind());
    let reason = if full { FailureReason::NoSpace } else { FailureReason::Io };
    Stop::failed(reason, format!("{what}: {error}"))
}

/// Why a copy is not good.
#[derive(Debug)]
pub(super) enum VerifyError {
    /// Its own check finds it damaged, as may be what it was copied from.
    Damaged(String),
    /// It is not what was copied.
    Differs(String),
    /// It could not be looked at.
    Unread(SqliteError),
}

impl From<SqliteError> for VerifyError {
    fn from(error: SqliteError) -> Self {
        match error.code() {
            Some(ErrorCode::Corrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(_) | None => Self::Unread(error),
        }
    }
}

/// The name under which a copy is made.
pub(super) fn pending_path(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(PENDING_SUFFIX);
    path.with_file_name(name)
}

/// The end of the name of a copy that is not complete.
pub(super) const PENDING_SUFFIX: &str = ".incomplete";
