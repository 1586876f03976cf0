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
    /// Whether every expired row is gone that may go; those in `kept` may not.
    pub complete: bool,
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

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogCleaningReport {
    /// All rows deleted.
    pub deleted_rows: u64,
    /// Each table.
    pub tables: Vec<TableReport>,
}
