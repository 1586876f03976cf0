//! Applies a piece to the store that is written and to the report.

use std::io;

use crate::sqlite::SealedColumn;

use super::entry::Block;
use super::entry::Entry;
use super::entry::EntryFinding;
use super::entry::FindingCounts;
use super::entry::SealedFindingKind;
use super::piece::Compared;
use super::piece::IndexedBlock;
use super::piece::Piece;
use super::piece::RowState;
use super::report::MAX_NAMED;
use super::report::SealedFinding;
use super::report::SealedTableReport;
use super::row_key::decode;
use super::row_key::encode;
use super::row_key::shown;
use super::store::Acceptance;
use super::store::StoreWriter;

/// Entries of a block. Memory holds one block, and a finding costs a read of its range.
const BLOCK_ENTRIES: usize = 2_000;

/// How findings are dealt with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// When the comparison was begun, in seconds since 1970.
    pub now: i64,
    /// The last comparison before.
    pub previous_at: i64,
    /// The findings are right, says an operator.
    pub accept: bool,
    /// The condition in the configuration is another one, so that a row without it is released.
    pub condition_changed: bool,
    /// The set of columns of today.
    pub columns: u8,
}

/// The new store and the report, as far as the comparison has come.
pub(super) struct Outcome<'pass> {
    pub writer: StoreWriter<'pass>,
    pub report: SealedTableReport,
    pub accepted: Acceptance,
    /// Rows that the condition of the configuration releases.
    pub released: u64,
    rules: Rules,
    key: &'pass [SealedColumn],
    block: Block,
    /// The key up to which the old store and the table have been gone through.
    reached: Option<Vec<u8>>,
}

impl<'pass> Outcome<'pass> {
    pub fn new(
        writer: StoreWriter<'pass>,
        report: SealedTableReport,
        rules: Rules,
        key: &'pass [SealedColumn],
    ) -> Self {
        let accepted = Acceptance { at: rules.now, found: FindingCounts::default() };
        Self { writer, report, accepted, released: 0, rules, key, block: Block::default(), reached: None }
    }

    /// Whether a piece has findings that the store does not have yet.
    pub fn has_news(piece: &Piece, block: Option<&IndexedBlock>) -> bool {
        piece.compared.iter().any(|item| match item {
            Compared::Entry { place, state, .. } => {
                let known = block.is_some_and(|block| block.block.entries[*place].finding.is_some());
                !known && !matches!(state, RowState::Matched { .. })
            }
            Compared::New { .. } => false,
        })
    }

    /// Adds the result of a piece.
    pub fn add(&mut self, piece: Piece, block: Option<&IndexedBlock>) -> io::Result<()> {
        self.report.max_hold_seconds = self.report.max_hold_seconds.max(piece.hold.as_secs_f64());
        for item in piece.compared {
            match item {
                Compared::Entry { place, state, in_order } => {
                    let Some(block) = block else { continue };
                    let entry = block.block.entries[place].clone();
                    let end = in_order.then(|| entry.key.clone());
                    self.add_entry(entry, state);
                    // What comes later lies after a row that was met in its place.
                    if let Some(end) = end {
                        self.end_block(2 * BLOCK_ENTRIES, end)?;
                    }
                }
                Compared::New { key, hash } => {
                    self.report.added += 1;
                    let end = key.clone();
                    self.push(Entry { key, hash, columns: self.rules.columns, finding: None });
                    // Beside entries that are not found yet, nothing is known of the order.
                    if block.is_none() {
                        self.reached = Some(end.clone());
                        self.end_block(BLOCK_ENTRIES, end)?;
                    }
                }
            }
        }
        if let Some(block) = block.filter(|_| piece.is_complete) {
            let end = encode(&block.end);
            self.reached = Some(end.clone());
            self.end_block(BLOCK_ENTRIES, end)?;
        }
        Ok(())
    }

    /// Ends the store's last block.
    pub fn end(&mut self) -> io::Result<()> {
        match self.reached.take() {
            Some(end) => self.end_block(1, end),
            None => Ok(()),
        }
    }

    fn end_block(&mut self, least: usize, end: Vec<u8>) -> io::Result<()> {
        if self.block.entries.len() < least {
            return Ok(());
        }
        let block = Block { end, entries: std::mem::take(&mut self.block.entries) };
        self.writer.block(&block)
    }

    fn push(&mut self, entry: Entry) {
        self.report.rows += 1;
        self.report.on_older_columns += u64::from(entry.columns != self.rules.columns);
        self.block.entries.push(entry);
    }

    fn add_entry(&mut self, mut entry: Entry, state: RowState) {
        match state {
            RowState::Matched { today } => {
                self.report.matched += 1;
                self.report.healed += u64::from(entry.finding.take().is_some());
                if let Some(today) = today {
                    (entry.hash, entry.columns) = (today, self.rules.columns);
                }
                self.push(entry);
            }
            RowState::Changed { today } => {
                if self.is_accepted(&entry, SealedFindingKind::Changed) {
                    (entry.hash, entry.columns, entry.finding) = (today, self.rules.columns, None);
                    self.push(entry);
                } else {
                    self.add_finding(entry, SealedFindingKind::Changed);
                }
            }
            RowState::Deleted => {
                if !self.is_accepted(&entry, SealedFindingKind::Deleted) {
                    self.add_finding(entry, SealedFindingKind::Deleted);
                }
            }
            RowState::Unsealed { is_same: true } if self.rules.condition_changed => self.released += 1,
            RowState::Unsealed { .. } => {
                if !self.is_accepted(&entry, SealedFindingKind::Unsealed) {
                    self.add_finding(entry, SealedFindingKind::Unsealed);
                }
            }
        }
    }

    /// Notes a finding as accepted, if that is what the comparison is for.
    fn is_accepted(&mut self, entry: &Entry, kind: SealedFindingKind) -> bool {
        if self.rules.accept {
            self.report.accepted += 1;
            self.accepted.found.add(kind);
            self.name(entry, self.finding_of(entry, kind));
        }
        self.rules.accept
    }

    fn add_finding(&mut self, mut entry: Entry, kind: SealedFindingKind) {
        self.report.found.add(kind);
        let finding = self.finding_of(&entry, kind);
        self.name(&entry, finding);
        entry.finding = Some(finding);
        self.push(entry);
    }

    /// A finding keeps the time at which the row was first found otherwise than sealed.
    fn finding_of(&self, entry: &Entry, kind: SealedFindingKind) -> EntryFinding {
        let new = EntryFinding { kind, found_at: self.rules.now, last_matched_at: self.rules.previous_at };
        entry.finding.map_or(new, |known| EntryFinding { kind, ..known })
    }

    fn name(&mut self, entry: &Entry, finding: EntryFinding) {
        if self.report.findings.len() < MAX_NAMED {
            let key = decode(&entry.key).map_or_else(|| "?".to_owned(), |key| shown(self.key, &key));
            let EntryFinding { kind, found_at, last_matched_at } = finding;
            self.report.findings.push(SealedFinding { kind, key, found_at, last_matched_at });
        }
    }
}
