//! What is asked of a time column before anything is deleted by it.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;

use super::error::SqliteError;
use super::expiry::ROW_TEST;
use super::query_source::QuerySource;
use super::reader::Reader;
use super::reference::ReferenceRules;
use super::references::References;
use super::row_limits::count_between;
use super::scan_table::ScanTable;
use super::scan_table::scan_table;
use super::schema::SchemaError;
use super::stored_value::stored_time_value;
use super::tables::TimeValue;
use super::tables::quoted;
use super::tables::stored_time;
use super::writer::Writer;

/// Whether a row with this time has expired.
pub type RowTest = Arc<dyn Fn(&TimeValue) -> bool + Send + Sync>;

/// Makes a test callable on a connection, for statements of its own alone: no view or trigger of
/// the database may call it.
fn test_rows(connection: &Connection, test: RowTest) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function(ROW_TEST, 1, flags, move |context| {
        Ok(stored_time(context.get_raw(0)).is_some_and(|value| test(&value)))
    })
}

/// Reads one column of every row until `limit` is over; returns whether all rows were read.
fn each_time(
    connection: &Connection,
    shape: &ScanTable,
    column: &str,
    limit: Duration,
    visit: &mut dyn FnMut(Option<TimeValue>),
) -> rusqlite::Result<bool> {
    const ROWS_BETWEEN_LOOKS: u32 = 64;
    let begun = Instant::now();
    let sql = format!("SELECT {} FROM main.{}", quoted(column), quoted(&shape.name));
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(())?;
    let mut seen: u32 = 0;
    while let Some(row) = rows.next()? {
        visit(stored_time(row.get_ref(0)?));
        seen = seen.wrapping_add(1);
        if seen.is_multiple_of(ROWS_BETWEEN_LOOKS) && begun.elapsed() >= limit {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Values of a time column from all over a table: the ends of its index, and rows spread over its
/// keys. NULLs are left out.
fn sample_times(
    connection: &Connection,
    shape: &ScanTable,
    column: &str,
) -> rusqlite::Result<Vec<TimeValue>> {
    const ENDS: u32 = 50;
    const SPREAD: i64 = 100;
    let table = format!("main.{}", quoted(&shape.name));
    let quoted_column = quoted(column);
    // By the first part of the key alone, as the others may go the other way.
    let mut orders: Vec<&str> = shape.key.iter().map(String::as_str).take(1).collect();
    if shape.index_on(column).is_some() {
        orders.push(&quoted_column);
    }
    let mut values = Vec::new();
    for order in orders {
        for direction in ["ASC", "DESC"] {
            let sql =
                format!("SELECT {quoted_column} FROM {table} ORDER BY {order} {direction} LIMIT {ENDS}");
            let mut statement = connection.prepare(&sql)?;
            let found = statement.query_map((), |row| Ok(stored_time(row.get_ref(0)?)))?;
            values.extend(found.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten());
        }
    }
    if let (Some((first, last)), [key]) = (key_range(connection, shape)?, shape.key.as_slice()) {
        let sql = format!("SELECT {quoted_column} FROM {table} WHERE {key} >= ?1 ORDER BY {key} LIMIT 1");
        let mut statement = connection.prepare(&sql)?;
        let step = (last.saturating_sub(first) / SPREAD).max(1);
        for place in 0..SPREAD {
            let at = first.saturating_add(step.saturating_mul(place));
            let found = statement.query_row([at], |row| Ok(stored_time(row.get_ref(0)?))).optional()?;
            values.extend(found.flatten());
        }
    }
    Ok(values)
}

/// The ends of a key that is one whole number, each found by one step down the tree.
fn key_range(connection: &Connection, shape: &ScanTable) -> rusqlite::Result<Option<(i64, i64)>> {
    let [key] = shape.key.as_slice() else { return Ok(None) };
    let table = format!("main.{}", quoted(&shape.name));
    let sql = format!("SELECT (SELECT min({key}) FROM {table}), (SELECT max({key}) FROM {table})");
    let ends: (Value, Value) = connection.query_row(&sql, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(match ends {
        (Value::Integer(first), Value::Integer(last)) => Some((first, last)),
        _ => None,
    })
}

/// The largest times between two values, by the index on their column: `rows` of them from the
/// `rank`th on.
fn newest_between(
    connection: &Connection,
    shape: &ScanTable,
    column: &str,
    (from, below): (&TimeValue, &TimeValue),
    (rank, rows): (u64, u32),
) -> rusqlite::Result<Vec<TimeValue>> {
    let (table, column) = (quoted(&shape.name), quoted(column));
    let sql = format!(
        "SELECT {column} FROM main.{table} WHERE {column} >= ?1 AND {column} < ?2 ORDER BY {column} DESC \
         LIMIT {rows} OFFSET {}",
        rank.saturating_sub(1)
    );
    let mut statement = connection.prepare(&sql)?;
    let found = statement
        .query_map([stored_time_value(from), stored_time_value(below)], |row| {
            Ok(stored_time(row.get_ref(0)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// What is asked of a time column before anything is deleted, by a dry run and by the run itself.
pub trait TimeColumn: QuerySource {
    /// What a table is made of; inside, why its rows cannot be walked.
    ///
    /// # Errors
    /// What any read can meet.
    fn scan_table(&self, table: &str) -> Result<Result<ScanTable, SchemaError>, SqliteError> {
        self.query("read the table's schema", |connection| scan_table(connection, table))
    }

    /// What refers to a table's rows; inside, why the configuration does not fit.
    ///
    /// # Errors
    /// What any read can meet.
    fn references(
        &self,
        shape: &ScanTable,
        rules: ReferenceRules<'_>,
    ) -> Result<Result<References, String>, SqliteError> {
        self.query("read the foreign keys", |connection| References::read(connection, shape, rules))
    }

    /// The first and the last key of a table whose key is one whole number.
    ///
    /// # Errors
    /// What any read can meet.
    fn key_range(&self, shape: &ScanTable) -> Result<Option<(i64, i64)>, SqliteError> {
        self.query("read the range of keys", |connection| key_range(connection, shape))
    }

    /// Values from all over a table, NULLs left out.
    ///
    /// # Errors
    /// What any read can meet.
    fn sample_times(&self, shape: &ScanTable, column: &str) -> Result<Vec<TimeValue>, SqliteError> {
        self.query("sample the times", |connection| sample_times(connection, shape, column))
    }

    /// The largest times from one value on and below another, by an index on the column: `rows` of
    /// them from the `rank`th on.
    ///
    /// # Errors
    /// What any read can meet.
    fn newest_between(
        &self,
        shape: &ScanTable,
        column: &str,
        bounds: (&TimeValue, &TimeValue),
        place: (u64, u32),
    ) -> Result<Vec<TimeValue>, SqliteError> {
        self.query("find the newest rows", |connection| {
            newest_between(connection, shape, column, bounds, place)
        })
    }

    /// Counts the rows with a value from one on and below another, by an index on the column.
    ///
    /// # Errors
    /// What any read can meet.
    fn count_between(
        &self,
        shape: &ScanTable,
        column: &str,
        bounds: (&TimeValue, &TimeValue),
    ) -> Result<u64, SqliteError> {
        self.query("count the newest rows", |connection| {
            count_between(connection, (&shape.name, column), bounds)
        })
    }

    /// Shows every value of a column, NULLs too, until `limit` is over; returns whether that were
    /// all.
    ///
    /// # Errors
    /// What any read can meet.
    fn each_time(
        &self,
        shape: &ScanTable,
        column: &str,
        limit: Duration,
        visit: &mut dyn FnMut(Option<TimeValue>),
    ) -> Result<bool, SqliteError> {
        self.query("look at the times", |connection| each_time(connection, shape, column, limit, visit))
    }

    /// Has the walks of this connection whose form is [`super::TimeForm::PerRow`] ask a test.
    ///
    /// # Errors
    /// None is known.
    fn test_rows(&self, test: RowTest) -> Result<(), SqliteError> {
        self.query("set the test of times", |connection| test_rows(connection, test))
    }
}

impl TimeColumn for Writer {}
impl TimeColumn for Reader {}
