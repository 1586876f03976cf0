//! Which rows of a table have expired, as values of its time column.

use super::scan_key::Cursor;
use super::tables::TimeValue;

/// How rows that have expired are distinguished from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// By comparing numbers.
    Number,
    /// By the test that [`super::TimeColumn::test_rows`] was given, row by row.
    PerRow {
        /// Whether the values' order is that of the times, so that the bounds of an
        /// [`ExpiryPredicate`] narrow the search.
        ordered: bool,
    },
}

/// Which rows have expired.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpiryPredicate {
    /// The column with the time; `None` where rows go in the order of the row ids.
    pub column: Option<String>,
    /// Values below this one are no times in the column's format, and stay.
    pub floor: TimeValue,
    /// Values from this one on have not expired.
    pub below: TimeValue,
    /// The last row that goes, in the order of the column, in place of `below`.
    pub last: Option<Cursor>,
    /// How the column writes a time.
    pub form: TimeForm,
    /// The moment before which rows have expired, as Unix seconds.
    pub cutoff_seconds: f64,
    /// The user's own condition.
    pub condition: Option<String>,
}

/// The SQL function that calls a [`RowTest`](crate::RowTest).
pub(super) const ROW_TEST: &str = "litekeeper_row_expired";
