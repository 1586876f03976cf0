//! Finds damage that no check of SQLite sees: compares each page of a database, read from the disk,
//! with the hash that it had when nobody has written it since.
//!
//! [`Reader`] is the handle of a child process that reads database files with plain system calls.
//! Only that process opens them: closing a file drops all POSIX locks that a process holds on it,
//! and the agent may hold SQLite's. What was read is kept in a ledger per database
//! ([`LedgerDirectory`]), 8 bytes per page.
//!
//! This crate never writes to a database or to a file beside it.

#![forbid(unsafe_code)]

mod conclusion;
mod direct_file;
mod error;
mod follow;
mod follower;
mod hash;
mod header;
mod judge;
mod ledger;
mod ledger_directory;
mod look;
pub mod manifest;
mod page_set;
mod pass;
mod preview;
mod protocol;
mod reader;
mod report;
mod request;
mod scrub;
mod serde_formats;
mod serve;
mod stored_file;
mod wal;
mod wal_file;
mod wal_findings;
mod written_file;

pub use error::Error;
pub use hash::FileHash;
pub use hash::FileHasher;
pub use hash::PageHash;
pub use hash::hash_file;
pub use hash::hash_page;
pub use ledger_directory::LedgerDirectory;
pub use reader::READER_COMMAND;
pub use reader::Reader;
pub use report::Followed;
pub use report::Mismatch;
pub use report::MismatchKind;
pub use report::Mode;
pub use report::Outcome;
pub use report::Preview;
pub use report::Report;
pub use report::Source;
pub use report::UnverifiedReason;
pub use report::Verdict;
pub use request::Progress;
pub use request::ScrubRequest;
pub use serve::serve;

/// Version of the format of ledgers.
pub const LEDGER_VERSION: u32 = 1;
