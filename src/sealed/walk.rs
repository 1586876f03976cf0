//! How far a comparison has come, and how large its pieces are.

use std::time::Duration;

use crate::sqlite::RowKey;

/// How long a piece is to take: short beside the second that common drivers wait for a lock.
const PIECE_TARGET: Duration = Duration::from_millis(10);

/// Rows of the first piece, and the most of any other.
const FIRST_ROWS: u32 = 256;
const MAX_ROWS: u32 = 65_536;

/// Findings are read twice in so many pieces.
const MAX_CONFIRMATIONS: u32 = 20;

/// A walk over the rows of a table.
pub(super) struct Walk {
    /// The key of the last row of the last piece.
    pub after: Option<RowKey>,
    /// Rows of the next piece.
    pub rows: u32,
    /// Pieces with findings that are still read twice.
    pub confirmations: u32,
}

impl Walk {
    pub fn new() -> Self {
        Self { after: None, rows: FIRST_ROWS, confirmations: MAX_CONFIRMATIONS }
    }

    /// Makes the next piece as large as the time of the last one allows.
    pub fn learn(&mut self, elapsed: Duration) {
        let factor = (PIECE_TARGET.as_secs_f64() / elapsed.as_secs_f64().max(1e-6)).clamp(0.25, 2.0);
        self.rows = ((f64::from(self.rows) * factor) as u32).clamp(1, MAX_ROWS);
    }

    /// Makes the next piece smaller; false when it has one row already.
    pub fn shrink(&mut self) -> bool {
        let can_shrink = self.rows > 1;
        self.rows = (self.rows / 4).max(1);
        can_shrink
    }
}
