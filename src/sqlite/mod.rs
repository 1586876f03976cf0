//! MECHANISM: the only door to SQLite. Sync; every call has a budget.
//!
//! It must never open a database, `-wal` or `-shm` file but through SQLite, make or delete a
//! sidecar, keep a connection beyond one look, or decide what a finding means.

mod custom;
mod error;
mod header;
mod integrity;
mod raw;
mod reader;
mod tables;

pub use custom::CustomAnswer;
pub use custom::CustomError;
pub use custom::CustomRows;
pub use error::ErrorCode;
pub use error::ErrorKind;
pub use error::SqliteError;
pub use header::AutoVacuum;
pub use header::Encoding;
pub use header::Header;
pub use header::JournalMode;
pub use integrity::Check;
pub use integrity::MAX_FINDINGS;
pub use reader::Access;
pub use reader::Reader;
pub use reader::WalFrames;
pub use tables::RowCount;
pub use tables::SchemaObjects;
pub use tables::StoredTime;
pub use tables::TableKind;

/// The version of SQLite that is built in, e.g. `3.54.1`.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}
