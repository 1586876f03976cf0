//! Types that both ways to copy a database share: the source, the copy and the errors.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use litekeeper_scrub::manifest::ManifestWriter;

use crate::database_files::DatabaseFiles;
use crate::health_report::ImpactLimits;
use crate::limits::QueryLimits;
use crate::sqlite::ErrorCode;
use crate::sqlite::Header;
use crate::sqlite::SqliteError;

use crate::tasks::progress::Progress;
use crate::tasks::reason::FailureReason;
use crate::tasks::stop::Stop;

/// Bytes written between two syncs of a copy. Frequent syncs keep the application's own syncs
/// short, because these wait for all dirty data of the file system. If writers wait for the copy,
/// it is synced only at the end.
pub(super) const SYNC_BYTES: u64 = 32 * 1024 * 1024;

/// Fraction of the progress bar for the copy; the rest is for its check.
pub(super) const COPY_SHARE: f64 = 0.4;

/// A database to copy, with the limits that apply.
pub(super) struct Source<'s> {
    pub path: &'s Path,
    pub files: &'s DatabaseFiles,
    /// Limits on the effect on the application; `None` for a file that no other process uses.
    pub impact_limits: Option<ImpactLimits>,
    pub limits: &'s QueryLimits,
    /// The manifest that is written with the copy.
    pub manifest: Option<&'s ManifestWriter>,
    pub progress: &'s Arc<dyn Progress>,
}

/// A table and its number of rows, which is `None` if they were not counted in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableRowCount {
    pub table: String,
    pub rows: Option<u64>,
}

/// A copy that is not verified yet.
#[derive(Debug)]
pub(super) struct DatabaseCopy {
    pub header: Header,
    /// Every table that stores rows itself, including SQLite's own and those of virtual tables.
    pub tables: Vec<TableRowCount>,
    /// How many times the copy was started.
    pub attempts: u32,
    /// The longest time for which writers could not commit.
    pub max_hold: Duration,
    pub elapsed: Duration,
    /// Whether the main file was copied in blocks. The hashes of its pages make comparing row
    /// counts unnecessary.
    pub is_block_copy: bool,
}

/// Converts an I/O error to a failure of the run.
pub(super) fn file_failed(what: &str, error: &io::Error) -> Stop {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind());
    let reason = if full { FailureReason::NoSpace } else { FailureReason::Io };
    Stop::failed(reason, format!("{what}: {error}"))
}

/// Why a copy failed verification.
#[derive(Debug)]
pub(super) enum VerifyError {
    /// The integrity check of the copy found damage; the source may be damaged as well.
    Damaged(String),
    /// The copy differs from what was read.
    Differs(String),
    /// The copy could not be read.
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

/// Returns the temporary path of a copy until it is verified.
pub(super) fn pending_path(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(PENDING_SUFFIX);
    path.with_file_name(name)
}

/// The suffix of an incomplete copy.
pub(super) const PENDING_SUFFIX: &str = ".incomplete";
