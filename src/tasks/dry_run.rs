//! What a run would do, without doing it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::humanize::bytes;
use crate::humanize::counted;

use super::log_cleaning::kept::KeptRows;
use super::log_cleaning::kept::OtherRows;
use super::log_cleaning::plan::ExpiredBy;
use super::log_cleaning::time_tally::TimeValues;
use super::space::SpaceRequirement;
use super::stop::Stop;
use super::vacuum::report::Method;

/// What a run would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DryRun {
    /// Why it would do nothing.
    pub would_not_run: Option<String>,
    /// How long it would take, where an earlier run tells.
    pub expected_seconds: Option<f64>,
    /// Bytes of the database.
    pub size_bytes: Option<u64>,
    /// The checks of a health check.
    pub checks: Vec<&'static str>,
    /// How a vacuum would be done.
    pub method: Option<Method>,
    /// The longest that a full vacuum may hold the write lock, in seconds.
    pub max_lock_hold_seconds: Option<f64>,
    /// What an application would notice that does not wait for locks.
    pub owner: Option<String>,
    /// Bytes that a vacuum would give back.
    pub reclaimable_bytes: Option<u64>,
    /// Space that it needs.
    pub needs: Vec<SpaceRequirement>,
    /// What a log cleaning would delete.
    pub tables: Vec<TableDryRun>,
    /// What a checkpoint would copy, in words.
    pub checkpoint: Option<String>,
    /// What a scrub would read.
    pub scrub: Option<ScrubDryRun>,
    /// Tables whose statistics would be made anew.
    pub analyze: Vec<String>,
}

/// What would be deleted from one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TableDryRun {
    /// The table.
    pub table: String,
    /// Why the cleaning of this table would fail; nothing would be deleted then.
    pub would_fail: Option<String>,
    /// Why rows stay, or what would make it cheaper.
    pub note: Option<String>,
    /// What decides which rows go.
    pub expired_by: ExpiredBy,
    /// Rows; unknown when they could not be counted in time.
    pub rows: Option<u64>,
    /// Bytes of their values, about.
    pub bytes: Option<u64>,
    /// The moment before which rows have expired.
    pub cutoff: Option<String>,
    /// The oldest of these rows.
    pub oldest: Option<String>,
    /// The newest of these rows.
    pub newest: Option<String>,
    /// Expired rows that would stay, by what keeps them.
    pub kept: Vec<KeptRows>,
    /// Rows that would be changed along with the deleted ones.
    pub others: Vec<OtherRows>,
    /// How the column writes a time.
    pub format: Option<String>,
    /// What the column's values were taken for.
    pub times: Option<TimeValues>,
    /// The index by which they are found.
    pub index: Option<String>,
    /// How long it would take, where an earlier run tells.
    pub expected_seconds: Option<f64>,
    /// Why every row is looked at; a part of the note in the end.
    #[serde(skip)]
    pub(super) slow: Option<String>,
    /// Why each deletion looks at every row of another table; likewise.
    #[serde(skip)]
    pub(super) slow_references: Option<String>,
}

/// What a scrub would read, and what it could verify.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScrubDryRun {
    /// How pages would be judged: `first`, `at_rest`, `live_wal` or `rewritten`.
    pub mode: &'static str,
    /// Pages of the database.
    pub pages: u32,
    /// Bytes that are still to be read: less than the database after an interrupted run.
    pub read_bytes: u64,
    /// The configured rate.
    pub bytes_per_second: u64,
    /// Pages that could be verified, at least.
    pub verifiable_pages: u32,
    /// Why not more, by reason.
    pub unverifiable_pages: BTreeMap<&'static str, u32>,
}

impl ScrubDryRun {
    /// What would be read and verified, for a person.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let pages = u64::from(self.pages);
        let share = f64::from(self.verifiable_pages) * 100.0 / f64::from(self.pages.max(1));
        let mut lines = vec![
            format!(
                "would read: {} of {}, at {}/s",
                bytes(self.read_bytes),
                counted(pages, "page"),
                bytes(self.bytes_per_second)
            ),
            format!(
                "could verify: {} or more ({share:.1} %), in the mode {}",
                counted(u64::from(self.verifiable_pages), "page"),
                self.mode
            ),
        ];
        let rest = self.unverifiable_pages.iter();
        lines.extend(rest.map(|(reason, pages)| {
            format!("could not verify, {reason}: {}", counted(u64::from(*pages), "page"))
        }));
        lines
    }
}

impl DryRun {
    /// Notes why a run would do nothing; the first reason stays.
    pub(super) fn note(&mut self, reason: impl Into<String>) {
        if self.would_not_run.is_none() {
            self.would_not_run = Some(reason.into());
        }
    }

    /// Notes why a run would stop, if it would, and returns what it goes on with.
    pub(super) fn note_stop<T>(&mut self, result: Result<T, Stop>) -> Option<T> {
        result.map_err(|stop| self.note(stop.message)).ok()
    }

    /// Estimates the duration from the size of the database and the rate of an earlier run, in
    /// bytes per second.
    pub(super) fn estimate_by_size(&mut self, rate: Option<f64>) {
        self.expected_seconds = self.size_bytes.zip(rate).map(|(size, rate)| size as f64 / rate.max(1.0));
    }
}
