//! What a comparison is asked for, why it has no result, and what is known without one.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::read_consistently;
use crate::collectors::read_unlocked;
use crate::database_files::DatabaseFiles;
use crate::health_report::ImpactLimits;
use crate::limits::QueryLimits;
use crate::sqlite::ErrorCode;
use crate::sqlite::Reader;
use crate::sqlite::SealedTable;
use crate::sqlite::SealedTableError;
use crate::sqlite::SqliteError;

use super::key::SealKey;
use super::report::SealedTableStatus;
use super::store::Footer;
use super::store::StorePlace;
use super::store::StoreReader;

/// What to compare, and how.
#[derive(Debug, Clone)]
pub struct SealedRequest<'request> {
    /// The main file, symlinks resolved.
    pub path: &'request Path,
    /// Its files.
    pub files: &'request DatabaseFiles,
    /// The table of the configuration.
    pub table: &'request str,
    /// The condition that a final row satisfies.
    pub condition: &'request str,
    /// Where stores and key are kept.
    pub directory: &'request Path,
    /// What the comparison may do to the owner.
    pub impact_limits: Option<ImpactLimits>,
    /// Deadline and cancellation.
    pub limits: &'request QueryLimits,
    /// Whether what is found otherwise than sealed is accepted and sealed as it is.
    pub accept: bool,
    /// The time, in seconds since 1970.
    pub now: i64,
}

/// Why a comparison has no result.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The table or the condition cannot be used.
    #[error(transparent)]
    Table(#[from] SealedTableError),
    /// The rows cannot be found as they were sealed.
    #[error("{0}")]
    Key(String),
    /// The database cannot be read.
    #[error("{0}")]
    Read(ConsistentReadError<SqliteError>),
    /// Its owner leaves no time for it.
    #[error("{0}; compare it when the owner rests")]
    Busy(String),
    /// The store cannot be read or written.
    #[error("the store of sealed rows in {directory}: {error}")]
    Store {
        /// Where it is.
        directory: String,
        /// The system's words.
        error: io::Error,
    },
    /// The deadline passed, or the work was cancelled.
    #[error("the comparison was ended before it was complete")]
    Ended,
}

impl From<ConsistentReadError<SqliteError>> for SealedError {
    fn from(error: ConsistentReadError<SqliteError>) -> Self {
        Self::Read(error)
    }
}

/// Checks a table and its condition without reading a row.
///
/// # Errors
/// See [`SealedError`].
pub fn check_sealed_table(
    path: &Path,
    files: &DatabaseFiles,
    (table, condition): (&str, &str),
    limits: &QueryLimits,
) -> Result<SealedTable, SealedError> {
    let read = |reader: &mut Reader| SealedTable::read(reader, table, condition);
    Ok(read_between_writes(path, files, limits, read)??)
}

/// The directory of the stores, beside the state file.
#[must_use]
pub fn sealed_directory(state_file: &Path) -> PathBuf {
    state_file.parent().unwrap_or(Path::new("")).join("sealed")
}

/// What the store of a table says; `None` before the first comparison.
#[must_use]
pub fn sealed_status(directory: &Path, path: &Path, table: &str) -> Option<SealedTableStatus> {
    let key = SealKey::existing(directory).ok()??;
    let place = StorePlace::of(directory, path, table);
    let Footer { rows, found, baseline_at, compared_at, .. } =
        StoreReader::open(&key, &place.path).ok()?.ok()?.footer;
    let table = table.to_owned();
    Some(SealedTableStatus { table, rows, found, baseline_at, compared_at })
}

pub(super) fn store_error(directory: &Path, error: io::Error) -> SealedError {
    SealedError::Store { directory: directory.display().to_string(), error }
}

/// Reads without a lock where a writer leaves a moment for that, and under SQLite's locks
/// otherwise; a writer that holds the database is waited for.
pub(super) fn read_between_writes<T>(
    path: &Path,
    files: &DatabaseFiles,
    limits: &QueryLimits,
    mut query: impl FnMut(&mut Reader) -> Result<T, SqliteError>,
) -> Result<T, SealedError> {
    /// How long a moment without a writer is waited for.
    const UNLOCKED_TIMEOUT: Duration = Duration::from_millis(50);
    /// How long a writer that never rests is waited for.
    const TIMEOUT: Duration = Duration::from_secs(30);
    const STEP: Duration = Duration::from_millis(2);
    let is_busy = |error: &SqliteError| matches!(error.code(), Some(ErrorCode::Busy | ErrorCode::Locked));
    let begun = Instant::now();
    loop {
        for is_locked in [false, true] {
            let read = if is_locked {
                read_consistently(path, files, limits, &mut query)
            } else {
                read_unlocked(path, files, limits, UNLOCKED_TIMEOUT, &mut query)
            };
            match read {
                Ok(Consistent::Read { answer, .. }) => return Ok(answer),
                Ok(Consistent::Unstable) => {}
                Err(ConsistentReadError::Query(error)) if is_busy(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if limits.is_exceeded() {
            return Err(SealedError::Ended);
        }
        if begun.elapsed() >= TIMEOUT {
            return Err(SealedError::Busy("a writer keeps the database all the time".to_owned()));
        }
        std::thread::sleep(STEP);
    }
}
