//! Where the ledgers of scrubs are kept.

use std::path::Path;
use std::path::PathBuf;

/// The directory of the ledgers, beside the state file.
#[must_use]
pub fn ledger_directory(state_file: &Path) -> PathBuf {
    state_file.parent().unwrap_or(Path::new("")).join("scrub")
}
