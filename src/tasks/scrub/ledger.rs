//! Where the ledgers of scrubs are kept.

use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use litekeeper_scrub::LedgerDirectory;

/// The directory of the ledgers, beside the state file.
#[must_use]
pub fn ledger_directory(state_file: &Path) -> PathBuf {
    state_file.parent().unwrap_or(Path::new("")).join("scrub")
}

/// Whether a ledger says that the damage which a scrub found at a time is gone: a later scrub, such
/// as one by `litekeeper scrub --accept`, ended without a mismatch.
#[must_use]
pub fn is_damage_gone(state_file: &Path, database: &Path, found_at: SystemTime) -> bool {
    let verdict = LedgerDirectory::new(ledger_directory(state_file)).verdict(database);
    verdict
        .ok()
        .flatten()
        .is_some_and(|ledger| ledger.mismatches_total == 0 && ledger.completed_at > found_at)
}
