//! Where the ledgers are, and the names of their files.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::hash::FileHasher;
use crate::ledger::read_ledger_head;
use crate::look::time;
use crate::pass::read_pass_head;
use crate::report::Report;
use crate::report::Verdict;
use crate::request::Progress;
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

    /// What the ledger of a database says; `None` where no scrub was completed. It opens the ledger
    /// alone.
    ///
    /// # Errors
    /// [`Error::Ledger`] if the ledger cannot be read.
    pub fn verdict(&self, database: &Path) -> Result<Option<Verdict>, Error> {
        let resolved = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
        let path = self.ledger(&resolved);
        let Some(head) = read_ledger_head(&path, &resolved)? else { return Ok(None) };
        let pass = read_pass_head(&path).map_err(|error| Error::ledger(&path, &error))?;
        let bytes = |pages: u32, size: u32| u64::from(pages) * u64::from(size);
        Ok(Some(Verdict {
            completed_at: time(head.completed_at),
            mismatches: head.mismatches.into_iter().take(Report::MAX_MISMATCHES).collect(),
            mismatches_total: head.mismatches_total,
            interrupted: pass.map(|pass| Progress {
                bytes_done: bytes(pass.done, pass.page_size),
                bytes_total: bytes(pass.pages, pass.page_size),
            }),
        }))
    }
}
