//! How far a check is. Nobody knows before how long one takes, but both of its halves can be
//! counted: the pages of the trees, and the rows that are held against their indexes.

use crate::sqlite::Check;
use crate::sqlite::Header;
use crate::sqlite::ReadProgress;
use crate::sqlite::Reader;

/// Receives the progress of a report.
pub trait CheckProgress: Clone + Send + 'static {
    /// A check begins.
    fn begin(&self, check: &'static str);
    /// This share of it is done, from 0 to 1.
    fn done(&self, share: f64);
}

/// Instructions that SQLite needs for a row and for each of its entries in an index (measured: 3
/// and 3.5, and 2 for a constrained column).
const INSTRUCTIONS_A_ROW: u64 = 4;
/// Looking up index entries takes four fifths of a full check's time (measured: 2.2 of 2.8 s).
const SHARE_OF_ROWS_WITH_INDEXES: f64 = 0.8;
const SHARE_OF_ROWS_ALONE: f64 = 0.2;

/// What a check is expected to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProgressEstimate {
    pages: u64,
    pages_before: u64,
    instructions: u64,
    share_of_rows: f64,
}

impl ProgressEstimate {
    /// Estimates the work of a check, from what is known at once. A damaged schema says nothing
    /// here; the check itself will tell of it.
    pub(super) fn expect(reader: &Reader, check: Check, header: &Header) -> Self {
        let (mut instructions, mut looks_up) = (0_u64, false);
        for (table, indexes) in reader.tables_with_indexes().unwrap_or_default() {
            let rows = reader.estimate_rows(&table);
            let entries = match check {
                Check::Full => 1 + indexes,
                Check::Quick | Check::ForeignKey => 1,
            };
            looks_up |= entries > 1;
            instructions = instructions.saturating_add(rows.saturating_mul(entries * INSTRUCTIONS_A_ROW));
        }
        let share_of_rows = if looks_up { SHARE_OF_ROWS_WITH_INDEXES } else { SHARE_OF_ROWS_ALONE };
        let pages_before = reader.work_done().pages_read;
        Self { pages: u64::from(header.pages), pages_before, instructions, share_of_rows }
    }

    /// The share that is done.
    pub(super) fn share(&self, work: ReadProgress) -> f64 {
        let part = |done: u64, all: u64| if all == 0 { 1.0 } else { (done as f64 / all as f64).min(1.0) };
        let pages = part(work.pages_read.saturating_sub(self.pages_before), self.pages);
        let rows = part(work.instructions, self.instructions);
        pages * (1.0 - self.share_of_rows) + rows * self.share_of_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_count_and_neither_goes_beyond_its_share() {
        let progress =
            ProgressEstimate { pages: 100, pages_before: 10, instructions: 1_000, share_of_rows: 0.8 };
        for (pages_read, instructions, share) in
            [(10, 0, 0.0), (60, 0, 0.1), (999, 500, 0.6), (999, 9_999, 1.0)]
        {
            let done = progress.share(ReadProgress { pages_read, instructions, ..ReadProgress::default() });
            assert!((done - share).abs() < 1e-9, "{pages_read} pages, {instructions} instructions: {done}");
        }
    }
}
