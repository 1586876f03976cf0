//! What a scrub is asked to do, and how far it is.

use std::num::NonZeroU64;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::ledger_directory::LedgerDirectory;
use crate::serde_formats::path_bytes;

/// A scrub of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubRequest {
    /// The main file.
    #[serde(with = "path_bytes")]
    pub database: PathBuf,
    /// Where its ledger is.
    pub ledgers: LedgerDirectory,
    /// The most bytes to read per second; `None` for as many as possible.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Whether pages that differ are accepted as they are: they get a new hash, and the verdict
    /// begins anew.
    pub accept: bool,
}

impl ScrubRequest {
    /// A scrub without a limit of the rate.
    #[must_use]
    pub fn new(database: impl Into<PathBuf>, ledgers: LedgerDirectory) -> Self {
        Self { database: database.into(), ledgers, bytes_per_second: None, accept: false }
    }
}

/// How far a scrub is. The callback that gets it stops the scrub by `ControlFlow::Break`; it is
/// called at least five times per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes of the database that were read, in earlier parts of an interrupted scrub too.
    pub bytes_done: u64,
    /// Bytes to read in all; 0 until it is known.
    pub bytes_total: u64,
}
