//! What a comparison found in one table. The shape of its JSON is an interface (docs/SEALED.md).

use chrono::DateTime;
use chrono::SecondsFormat;
use serde::Deserialize;
use serde::Serialize;

use crate::humanize::count;
use crate::humanize::counted;

use super::entry::FindingCounts;
use super::entry::SealedFindingKind;

/// The most findings that a report names; the counts have all of them.
pub(super) const MAX_NAMED: usize = 100;

/// A final row that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFinding {
    /// What happened to it.
    pub kind: SealedFindingKind,
    /// Its key, with nothing in it that acts on a terminal.
    pub key: String,
    /// When the finding was first made, in seconds since 1970.
    pub found_at: i64,
    /// When the row last was as it had been sealed.
    pub last_matched_at: i64,
}

impl SealedFinding {
    /// The finding in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let time = |seconds| {
            DateTime::from_timestamp(seconds, 0)
                .unwrap_or_default()
                .to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        format!(
            "{} {}, as sealed until {}, found {}",
            self.kind.label(),
            self.key,
            time(self.last_matched_at),
            time(self.found_at),
        )
    }
}

/// The comparison of one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SealedTableReport {
    /// The table.
    pub table: String,
    /// The condition of the configuration.
    pub condition: String,
    /// Rows that are sealed now, those with findings among them.
    pub rows: u64,
    /// Rows that are as they were sealed.
    pub matched: u64,
    /// Rows that were sealed by this comparison.
    pub added: u64,
    /// Rows with a finding, by its kind.
    #[serde(flatten)]
    pub found: FindingCounts,
    /// Rows with an older finding that match again.
    pub healed: u64,
    /// Findings that this comparison accepted.
    pub accepted: u64,
    /// Rows that are compared over fewer columns than the table has now.
    pub on_older_columns: u64,
    /// Final rows with NULL in their key, which cannot be compared.
    pub without_key: u64,
    /// The first findings by name.
    pub findings: Vec<SealedFinding>,
    /// What a user should know and is no finding.
    pub notices: Vec<String>,
    /// Why the table was not compared.
    pub problem: Option<String>,
    /// When rows were first sealed, in seconds since 1970.
    pub baseline_at: i64,
    /// The comparison before this one; 0 for the first.
    pub previous_at: i64,
    /// When this comparison was made; 0 if it was not.
    pub compared_at: i64,
    /// Bytes of the store.
    pub store_bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// The longest that writers of a rollback database were kept from committing.
    pub max_hold_seconds: f64,
}

impl SealedTableReport {
    /// The result in one line, without the table.
    #[must_use]
    pub fn summary(&self) -> String {
        if let Some(problem) = &self.problem {
            return format!("not compared: {problem}");
        }
        let mut words = if self.previous_at == 0 {
            format!("{} sealed for the first time", counted(self.added, "row"))
        } else {
            format!(
                "{} of {} as sealed",
                count(self.matched),
                counted(self.rows - self.added.min(self.rows), "row")
            )
        };
        if self.previous_at != 0 && self.added > 0 {
            words.push_str(&format!(", {} new", count(self.added)));
        }
        for (kind, number) in self.found.present() {
            words.push_str(&format!(", {} {}", count(number), kind.label()));
        }
        for (number, what) in [(self.accepted, "accepted"), (self.healed, "as sealed again")] {
            if number > 0 {
                words.push_str(&format!(", {} {what}", count(number)));
            }
        }
        words
    }
}

/// What the store of a table says without a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedTableStatus {
    /// The table.
    pub table: String,
    /// Sealed rows.
    pub rows: u64,
    /// Rows with a finding, by its kind.
    #[serde(flatten)]
    pub found: FindingCounts,
    /// When rows were first sealed, in seconds since 1970.
    pub baseline_at: i64,
    /// The last comparison; 0 before the first.
    pub compared_at: i64,
}
