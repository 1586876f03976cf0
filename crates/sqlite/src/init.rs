//! Prepares SQLite in this process.

use super::error::SqliteError;
use super::raw;

/// The most memory that SQLite may have in one process, for all connections together: a hostile
/// schema or a huge row ends in an error. Reading a schema of 5,000 tables needs 5 MiB.
const HEAP_LIMIT_BYTES: i64 = 512 * 1024 * 1024;

/// Prepares SQLite in this process and limits its memory. Call it first in `main`, before any other
/// thread uses SQLite: it replaces system calls in a table that SQLite reads without a lock.
///
/// # Errors
/// SQLite refuses a part of it; then no database may be opened, as a reader could change its files.
pub fn init() -> Result<(), SqliteError> {
    prepare()?;
    raw::limit_heap(HEAP_LIMIT_BYTES)
        .map_err(|code| SqliteError::from_code("limit SQLite's memory", code, String::new()))
}

/// What [`init`] does once a process, for programs that have not called it.
pub(super) fn prepare() -> Result<(), SqliteError> {
    raw::init().map_err(|code| SqliteError::from_code("prepare SQLite", code, String::new()))
}
