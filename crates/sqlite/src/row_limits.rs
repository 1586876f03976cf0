//! Which rows are beyond a number of rows or bytes, counted from the newest row on.

use std::time::Duration;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::params_from_iter;

use super::error::SqliteError;
use super::keyset_scan::KeysetScan;
use super::query_source::QuerySource as _;
use super::reader::Reader;
use super::scan_key::Cursor;
use super::scan_key::KeyPart;
use super::scan_key::numbered;
use super::scan_key::uses;
use super::stored_value::StoredValue;
use super::stored_value::stored_time_value;
use super::tables::TimeValue;
use super::tables::quoted;
use super::writer::Writer;

/// How much of a table is to stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowLimits {
    /// So many rows.
    pub rows: Option<u64>,
    /// So many bytes of values, and the newest row whatever its size.
    pub bytes: Option<u64>,
}

/// Where the rows that are to stay end.
#[derive(Debug, Clone, PartialEq)]
pub enum LimitBoundary {
    /// All rows are within the limits.
    Nothing,
    /// This is the newest row that is beyond; `by_rows` says by which limit.
    From {
        /// The row.
        cursor: Cursor,
        /// Whether the number of rows is exceeded, and not their bytes.
        by_rows: bool,
    },
    /// The time was over first.
    Late,
}

/// A statement reads so many entries or rows; a writer of a rollback database waits for its end.
const ENTRIES: u64 = 50_000;
const ROWS: u32 = 2_000;

impl KeysetScan {
    /// A query for the bytes of the values of the next rows, with their keys.
    fn sizes(&self, after: Option<&Cursor>, rows: u32) -> (String, Vec<StoredValue>) {
        let (place, parameters) = self.range_predicate(after, None);
        let bytes: Vec<String> =
            self.columns.iter().map(|column| format!("ifnull(octet_length({column}), 0)")).collect();
        let sql = format!(
            "SELECT {}, {} FROM {} WHERE {}{place} ORDER BY {} LIMIT {rows}",
            bytes.join(" + "),
            self.key_sql(),
            self.from,
            uses(self.parameters.len()),
            self.order()
        );
        (sql, parameters)
    }

    /// Whether one place comes before another on this walk. It is asked of SQLite, which knows the
    /// order of values.
    fn is_before(&self, connection: &Connection, one: &Cursor, other: &Cursor) -> rusqlite::Result<bool> {
        let numbers: Vec<String> = (1..=one.0.len()).map(|number| format!("?{number}")).collect();
        let mut parameters = Vec::new();
        numbered(&mut parameters, &one.0);
        let others = numbered(&mut parameters, &other.0);
        let parts: Vec<KeyPart> = numbers
            .iter()
            .zip(&self.key)
            .map(|(sql, part)| KeyPart { sql: sql.clone(), ..part.clone() })
            .collect();
        let sql = format!("SELECT {}", self.compare(&parts, (false, true), &others));
        connection.query_row(&sql, params_from_iter(parameters), |row| row.get(0))
    }
}

/// The place before which so many rows lie, `scan` beginning with the newest; `None` where there
/// are no more.
fn beyond_rows(
    connection: &Connection,
    scan: &KeysetScan,
    rows: u64,
    pause: &mut dyn FnMut() -> bool,
) -> rusqlite::Result<Option<Option<Cursor>>> {
    let mut left = rows;
    let mut after = None;
    while left > 0 {
        let step = left.min(ENTRIES);
        after = scan.nth_key_after(connection, after.as_ref(), u32::try_from(step).unwrap_or(u32::MAX))?;
        if after.is_none() {
            return Ok(Some(None));
        }
        left -= step;
        if !pause() {
            return Ok(None);
        }
    }
    scan.nth_key_after(connection, after.as_ref(), 1).map(Some)
}

/// The same for bytes.
fn beyond_bytes(
    connection: &Connection,
    scan: &KeysetScan,
    bytes: u64,
    pause: &mut dyn FnMut() -> bool,
) -> rusqlite::Result<Option<Option<Cursor>>> {
    let (mut sum, mut is_newest) = (0_u64, true);
    let mut after: Option<Cursor> = None;
    loop {
        let (sql, parameters) = scan.sizes(after.as_ref(), ROWS);
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            let size: i64 = row.get(0)?;
            sum = sum.saturating_add(size.unsigned_abs());
            let cursor = scan.cursor_of(row, 1)?;
            if sum > bytes && !is_newest {
                return Ok(Some(Some(cursor)));
            }
            (after, is_newest) = (Some(cursor), false);
            seen += 1;
        }
        drop(rows);
        if seen < ROWS {
            return Ok(Some(None));
        }
        if !pause() {
            return Ok(None);
        }
    }
}

fn beyond(
    connection: &Connection,
    scan: &KeysetScan,
    limits: RowLimits,
    pause: &mut dyn FnMut() -> bool,
) -> rusqlite::Result<LimitBoundary> {
    let by_rows = match limits.rows.map(|rows| beyond_rows(connection, scan, rows, pause)).transpose()? {
        Some(None) => return Ok(LimitBoundary::Late),
        found => found.flatten().flatten(),
    };
    let by_bytes = match limits.bytes.map(|bytes| beyond_bytes(connection, scan, bytes, pause)).transpose()? {
        Some(None) => return Ok(LimitBoundary::Late),
        found => found.flatten().flatten(),
    };
    Ok(match (by_rows, by_bytes) {
        (None, None) => LimitBoundary::Nothing,
        (Some(cursor), None) => LimitBoundary::From { cursor, by_rows: true },
        (None, Some(cursor)) => LimitBoundary::From { cursor, by_rows: false },
        // The newer of the two; the walk begins with the newest.
        (Some(rows), Some(bytes)) => {
            let by_rows = scan.is_before(connection, &rows, &bytes)?;
            LimitBoundary::From { cursor: if by_rows { rows } else { bytes }, by_rows }
        }
    })
}

/// Counts the rows with a value from one on and below another, by an index on the column.
pub(super) fn count_between(
    connection: &Connection,
    (table, column): (&str, &str),
    (from, below): (&TimeValue, &TimeValue),
) -> rusqlite::Result<u64> {
    let column = quoted(column);
    let sql = format!("SELECT count(*) FROM main.{} WHERE {column} >= ?1 AND {column} < ?2", quoted(table));
    let rows: i64 =
        connection.query_row(&sql, [stored_time_value(from), stored_time_value(below)], |row| row.get(0))?;
    Ok(rows.unsigned_abs())
}

/// A connection of either kind that can look for the end of the newest rows.
pub trait NewestRows {
    /// Finds the newest row that is beyond the limits of a table. `scan` leads through all of its
    /// rows, oldest first, and `limit` bounds the time where that is not done in pieces.
    ///
    /// # Errors
    /// What any read can meet.
    fn beyond(
        &mut self,
        scan: &KeysetScan,
        limits: RowLimits,
        limit: Duration,
    ) -> Result<LimitBoundary, SqliteError>;
}

impl NewestRows for Reader {
    /// All in one transaction, for which a writer of a rollback database waits.
    fn beyond(
        &mut self,
        scan: &KeysetScan,
        limits: RowLimits,
        limit: Duration,
    ) -> Result<LimitBoundary, SqliteError> {
        let begun = Instant::now();
        let scan = scan.clone().reversed();
        self.query("find the newest rows", |connection| {
            beyond(connection, &scan, limits, &mut || begun.elapsed() < limit)
        })
    }
}

impl NewestRows for Writer {
    /// Piece by piece; in between, others write.
    fn beyond(
        &mut self,
        scan: &KeysetScan,
        limits: RowLimits,
        _limit: Duration,
    ) -> Result<LimitBoundary, SqliteError> {
        let scan = scan.clone().reversed();
        let query_limits = self.limits.clone();
        let mut read = Instant::now();
        let mut pause = || {
            std::thread::sleep(read.elapsed().min(Duration::from_millis(50)));
            read = Instant::now();
            !query_limits.is_exceeded()
        };
        self.query("find the newest rows", |connection| beyond(connection, &scan, limits, &mut pause))
    }
}
