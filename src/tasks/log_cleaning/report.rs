//! What a log cleaning did.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::humanize::counted;
use crate::tasks::report::Measurements;
use crate::tasks::report::TableMeasurement;
use crate::tasks::report::TaskReport;
use crate::tasks::report::to_json;

use crate::tasks::log_cleaning::kept::KeptRows;
use crate::tasks::log_cleaning::kept::OtherRows;
use crate::tasks::log_cleaning::plan::ExpiredBy;
use crate::tasks::log_cleaning::time_tally::TimeValues;

/// What was done to one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Rows deleted, those of triggers and foreign keys not counted.
    pub deleted_rows: u64,
    /// Transactions.
    pub batches: u64,
    /// Whether no expired row is left. One that a foreign key, a trigger or a doubtful clock keeps
    /// is left; one that the `condition` or `keep_latest` selects to stay is not.
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

    /// The lines for a terminal; a note with which `message` ends is left out.
    fn lines(&self, message: &str) -> Vec<String> {
        let state = if self.has_ended_early() { ", not complete" } else { "" };
        let older = self.cutoff.as_ref().map(|cutoff| format!(" older than {cutoff}")).unwrap_or_default();
        let (rows, batches) = (counted(self.deleted_rows, "row"), counted(self.batches, "transaction"));
        let mut lines = vec![format!("{}: {rows}{older} in {batches}{state}", self.table)];
        lines.extend(self.others.iter().map(|other| format!("  in other tables: {}", other.summary())));
        lines.extend(self.archive.iter().map(|archive| format!("  archived in {}", archive.display())));
        let note = self.note.iter().filter(|note| !message.ends_with(note.as_str()));
        lines.extend(note.map(|note| format!("  {note}")));
        lines
    }

    fn measurement(&self) -> TableMeasurement {
        TableMeasurement {
            table: self.table.clone(),
            deleted_rows: self.deleted_rows,
            batches: self.batches,
            kept_rows: self.kept.iter().map(|kept| kept.rows).sum(),
            other_rows: self.others.iter().map(|other| other.rows).sum(),
            complete: !self.has_ended_early(),
        }
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

impl TaskReport for LogCleaningReport {
    fn to_json(&self) -> serde_json::Value {
        to_json(self)
    }

    fn summary(&self) -> String {
        let incomplete = self.tables.iter().any(TableReport::has_ended_early);
        let rest = if incomplete { ", more remain" } else { "" };
        format!("{} deleted{rest}", counted(self.deleted_rows, "row"))
    }

    fn lines(&self, message: &str) -> Vec<String> {
        self.tables.iter().flat_map(|table| table.lines(message)).collect()
    }

    fn notes(&self) -> Option<String> {
        let notes: Vec<&str> = self.tables.iter().filter_map(|table| table.note.as_deref()).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    fn work(&self) -> Option<u64> {
        Some(self.deleted_rows)
    }

    fn span_attributes(&self) -> Vec<(&'static str, u64)> {
        vec![("litekeeper.deleted_rows", self.deleted_rows)]
    }

    fn measurements(&self) -> Measurements {
        Measurements {
            tables: self.tables.iter().map(TableReport::measurement).collect(),
            ..Measurements::default()
        }
    }
}
