//! Where the ledgers are, and the names of their files.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::hash::FileHasher;
use crate::serde_formats::path_bytes;

/// A directory of ledgers. A ledger is named by a hash of the resolved path of its database; the
/// path itself is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerDirectory(#[serde(with = "path_bytes")] PathBuf);

impl LedgerDirectory {
    /// The ledgers in a directory, which the first scrub makes.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The ledger of a database.
    #[must_use]
    pub fn ledger(&self, database: &Path) -> PathBuf {
        let resolved = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
        let mut hasher = FileHasher::new();
        hasher.update(resolved.as_os_str().as_bytes());
        self.0.join(format!("{}.ledger", hasher.finish()))
    }
}
