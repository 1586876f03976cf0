//! MECHANISM: the only door to SQLite. Sync; every call has a budget.
//!
//! It must never open a database, `-wal` or `-shm` file but through SQLite, make or delete a
//! sidecar, keep a connection beyond one look, or decide what a finding means.

mod error;
mod header;
mod raw;
mod reader;

pub use error::ErrorCode;
pub use error::ErrorKind;
pub use error::SqliteError;
pub use header::AutoVacuum;
pub use header::Encoding;
pub use header::Header;
pub use header::JournalMode;
pub use reader::Access;
pub use reader::Reader;
pub use reader::WalFrames;
