//! One piece of a comparison: the rows of a range of keys, read in one transaction, beside the
//! entries of a block.
//!
//! It changes nothing, so that a piece during which a writer committed is read again. The order of
//! keys is SQLite's own (collations, descending columns), and is never compared here: entries and
//! rows come in the same order, and a row that has an entry says where the walk is in both.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use crate::health_report::ImpactLimits;
use crate::health_report::ImpactMonitor;
use crate::sqlite::Reader;
use crate::sqlite::RowKey;
use crate::sqlite::RowPresence;
use crate::sqlite::SealedRow;
use crate::sqlite::SealedTable;
use crate::sqlite::SqliteError;

use super::entry::Block;
use super::key::Hash;
use super::key::SealKey;
use super::row_key::decode;
use super::row_key::encode;

/// A block of the store with a way from keys to entries.
pub(super) struct IndexedBlock {
    pub block: Block,
    pub end: RowKey,
    places: HashMap<Vec<u8>, usize>,
}

impl IndexedBlock {
    /// `None` where the end is no key.
    pub fn new(block: Block) -> Option<Self> {
        let end = decode(&block.end)?;
        let places =
            block.entries.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place)).collect();
        Some(Self { block, end, places })
    }
}

/// What a piece is read for.
pub(super) struct PieceQuery<'pass> {
    pub table: &'pass SealedTable,
    pub key: &'pass SealKey,
    /// For each set of columns, their places in the table.
    pub column_maps: &'pass [Option<Vec<usize>>],
    /// Whether hashes over all columns of today are wanted of every row.
    pub rehash: bool,
    pub impact_limits: Option<ImpactLimits>,
}

/// Where a piece begins.
pub(super) struct PieceStart<'pass> {
    pub after: Option<&'pass RowKey>,
    /// The block whose entries are compared; after the last one there is none.
    pub block: Option<&'pass IndexedBlock>,
    /// The first entry of the block that no row was found for yet.
    pub pending: usize,
    /// Rows of the table, final or not, that the piece may pass.
    pub rows: u32,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowState {
    Matched { today: Option<Hash> },
    Changed { today: Hash },
    Deleted,
    Unsealed { is_same: bool },
}

/// A row or an entry, in the order of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compared {
    /// An entry of the block. `in_order` when its row was met on the walk.
    Entry { place: usize, state: RowState, in_order: bool },
    /// A row without an entry.
    New { key: Vec<u8>, hash: Hash },
}

/// The result of a piece.
#[derive(Debug)]
pub(super) struct Piece {
    pub compared: Vec<Compared>,
    /// Where the next piece begins; `None` at the end of the table.
    pub end: Option<RowKey>,
    /// Whether it reached the end of the block, or of the table where there is none.
    pub is_complete: bool,
    pub pending: usize,
    pub hold: Duration,
    pub elapsed: Duration,
}

/// Why a piece was not read.
#[derive(Debug)]
pub(super) enum PieceFailure {
    /// The schema changed since the table was read.
    SchemaChanged,
    /// It would have kept the owner waiting for too long.
    TooLong,
}

impl PieceQuery<'_> {
    /// Reads a piece.
    pub fn read(
        &self,
        reader: &mut Reader,
        start: &PieceStart<'_>,
    ) -> Result<Result<Piece, PieceFailure>, SqliteError> {
        let begun = Instant::now();
        let header = reader.header()?;
        let monitor = ImpactMonitor::watch(self.impact_limits, &header, reader);
        let watched = monitor.clone();
        reader.on_progress(move |work| watched.should_continue(work))?;
        if !reader.begin_sealed(self.table)? {
            return Ok(Err(PieceFailure::SchemaChanged));
        }
        match self.compare(reader, start) {
            Ok(piece) => Ok(Ok(Piece { hold: monitor.hold(), elapsed: begun.elapsed(), ..piece })),
            Err(_) if monitor.limit_exceeded() => Ok(Err(PieceFailure::TooLong)),
            Err(error) => Err(error),
        }
    }

    fn compare(&self, reader: &Reader, start: &PieceStart<'_>) -> Result<Piece, SqliteError> {
        let upto = start.block.map(|block| &block.end);
        let boundary = reader.sealed_key_after(self.table, start.after, upto, start.rows)?;
        let is_complete = boundary.is_none() || boundary.as_ref() == upto;
        let end = boundary.or_else(|| upto.cloned());
        let mut compared = Vec::new();
        let mut pending = start.pending;
        let skip = |compared: &mut Vec<Compared>, pending: &mut usize, to: usize| {
            // Their state is found below.
            let skipped = (*pending..to).map(|place| {
                let state = RowState::Deleted;
                Compared::Entry { place, state, in_order: false }
            });
            compared.extend(skipped);
            *pending = to;
        };
        reader.sealed_rows(self.table, start.after, end.as_ref(), |row| {
            let key = encode(&row.key());
            match start.block.and_then(|block| Some((block, *block.places.get(&key)?))) {
                Some((block, place)) if place >= pending => {
                    skip(&mut compared, &mut pending, place);
                    let state = self.state_of(row, block, place);
                    compared.push(Compared::Entry { place, state, in_order: true });
                    pending = place + 1;
                }
                // The order of keys changed; the entry is found by its key below.
                Some(_) => {}
                None => compared.push(Compared::New { key, hash: self.hash(row, None) }),
            }
        })?;
        if let Some(block) = start.block {
            if is_complete {
                skip(&mut compared, &mut pending, block.block.entries.len());
            }
            self.find_skipped(reader, block, &mut compared)?;
        }
        let elapsed = Duration::ZERO;
        Ok(Piece { compared, end, is_complete, pending, hold: elapsed, elapsed })
    }

    /// Finds by their keys the rows of entries that the walk did not meet.
    fn find_skipped(
        &self,
        reader: &Reader,
        block: &IndexedBlock,
        compared: &mut [Compared],
    ) -> Result<(), SqliteError> {
        for item in compared {
            let Compared::Entry { place, state, in_order: false } = item else { continue };
            let Some(key) = decode(&block.block.entries[*place].key) else { continue };
            let found: Cell<Option<RowState>> = Cell::new(None);
            let presence = reader.sealed_row(self.table, &key, |row| {
                found.set(Some(self.state_of(row, block, *place)));
            })?;
            *state = match (presence, found.get()) {
                (RowPresence::Missing, _) | (_, None) => RowState::Deleted,
                (RowPresence::Final, Some(state)) => state,
                (RowPresence::NotFinal, Some(state)) => {
                    RowState::Unsealed { is_same: matches!(state, RowState::Matched { .. }) }
                }
            };
        }
        Ok(())
    }

    /// The state of an entry whose row is there.
    fn state_of(&self, row: &SealedRow<'_>, block: &IndexedBlock, place: usize) -> RowState {
        let entry = &block.block.entries[place];
        let columns = self.column_maps.get(usize::from(entry.columns)).and_then(Option::as_deref);
        let is_same = match columns {
            Some(columns) => self.hash(row, Some(columns)) == entry.hash,
            None => false,
        };
        if !is_same {
            RowState::Changed { today: self.hash(row, None) }
        } else if self.rehash {
            RowState::Matched { today: Some(self.hash(row, None)) }
        } else {
            RowState::Matched { today: None }
        }
    }

    /// The hash of a row over some columns, or over all.
    fn hash(&self, row: &SealedRow<'_>, columns: Option<&[usize]>) -> Hash {
        let count = columns.map_or(self.table.columns.len(), <[usize]>::len);
        let mut hash = self.key.row(count);
        match columns {
            Some(columns) => row.encode(columns.iter().copied(), |bytes| hash.update(bytes)),
            None => row.encode(0..count, |bytes| hash.update(bytes)),
        }
        hash.finish()
    }
}

/// A piece of a table that is gone: every entry of the block counts as deleted.
pub(super) fn piece_of_missing_table(block: Option<&IndexedBlock>) -> Piece {
    let count = block.map_or(0, |block| block.block.entries.len());
    let deleted = |place| Compared::Entry { place, state: RowState::Deleted, in_order: false };
    Piece {
        compared: (0..count).map(deleted).collect(),
        end: block.map(|block| block.end.clone()),
        is_complete: true,
        pending: count,
        hold: Duration::ZERO,
        elapsed: Duration::ZERO,
    }
}
