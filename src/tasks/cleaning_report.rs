//! What a log cleaning did.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use super::references::KeptRows;
use super::references::OtherRows;
use super::retention::ExpiredBy;
use super::time_tally::TimeValues;

/// What was done to one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Rows deleted, those of triggers and foreign keys not counted.
    pub deleted_rows: u64,
    /// Transactions.
    pub batches: u64,
    /// Whether no expired row is left. One that a foreign key, a trigger or a doubtful clock keeps is left; one that the
    /// `condition` or `keep_latest` selects to stay is not.
    pub complete: bool,
    /// Whether every row was judged, so that those left are those in `kept`.
    #[serde(default)]
    pub finished: bool,
    /// The configured retention in seconds; `None` where rows go by their number or size alone.
    pub retention_seconds: Option<u64>,
    /// What decided which rows go.
    #[serde(default)]
    pub expired_by: ExpiredBy,
    /// The moment before which rows had expired.
    pub cutoff: Option<String>,
    /// How the column writes a time.
    pub format: Option<String>,
    /// What the column's values were taken for.
    #[serde(default)]
    pub times: Option<TimeValues>,
    /// Where the rows went.
    pub archive: Option<PathBuf>,
    /// Expired rows that stay, by what keeps them.
    #[serde(default)]
    pub kept: Vec<KeptRows>,
    /// Rows that were changed along with the deleted ones.
    #[serde(default)]
    pub others: Vec<OtherRows>,
    /// Why it was not cleaned, why rows stay, or what would make it cheaper.
    pub note: Option<String>,
}

impl TableReport {
    /// Sets `complete`, once `finished` and `kept` are known.
    pub(super) fn set_complete(&mut self) {
        let stays = |kept: &KeptRows| kept.rows > 0 && kept.reason.is_against_the_configuration();
        self.complete = self.finished && !self.kept.iter().any(stays);
    }

    /// Whether expired rows are left that the next run may delete.
    #[must_use]
    pub fn has_ended_early(&self) -> bool {
        // Reports of earlier versions have no `finished`.
        !self.finished && !self.complete
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogCleaningReport {
    /// All rows deleted.
    pub deleted_rows: u64,
    /// Each table.
    pub tables: Vec<TableReport>,
}
