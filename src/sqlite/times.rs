//! What is asked of a time column before anything is deleted by it.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::types::Value;

use super::error::SqliteError;
use super::reader::Reader;
use super::references::ReferenceRules;
use super::references::References;
use super::shape::ShapeProblem;
use super::shape::TableShape;
use super::shape::shape;
use super::tables::StoredTime;
use super::tables::quoted;
use super::tables::stored_time;
use super::writer::Writer;

/// Values of a time column from all over a table: the ends of its index, and rows spread over its keys. NULLs are left out.
fn sample_times(
    connection: &Connection,
    shape: &TableShape,
    column: &str,
) -> rusqlite::Result<Vec<StoredTime>> {
    const ENDS: u32 = 50;
    const SPREAD: i64 = 100;
    let table = format!("main.{}", quoted(&shape.name));
    let quoted_column = quoted(column);
    let mut orders = vec![shape.key.clone()];
    if shape.index_on(column).is_some() {
        orders.push(vec![quoted_column.clone()]);
    }
    let mut values = Vec::new();
    for order in orders {
        for direction in ["ASC", "DESC"] {
            let order: Vec<String> = order.iter().map(|part| format!("{part} {direction}")).collect();
            let sql =
                format!("SELECT {quoted_column} FROM {table} ORDER BY {} LIMIT {ENDS}", order.join(", "));
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
fn key_range(connection: &Connection, shape: &TableShape) -> rusqlite::Result<Option<(i64, i64)>> {
    let [key] = shape.key.as_slice() else { return Ok(None) };
    let table = format!("main.{}", quoted(&shape.name));
    let sql = format!("SELECT (SELECT min({key}) FROM {table}), (SELECT max({key}) FROM {table})");
    let ends: (Value, Value) = connection.query_row(&sql, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(match ends {
        (Value::Integer(first), Value::Integer(last)) => Some((first, last)),
        _ => None,
    })
}

/// The time of the row that is `rank`th from the newest, by the index on its column.
fn time_of_rank(
    connection: &Connection,
    shape: &TableShape,
    column: &str,
    rank: u64,
) -> rusqlite::Result<Option<StoredTime>> {
    let (table, column) = (quoted(&shape.name), quoted(column));
    let sql = format!(
        "SELECT {column} FROM main.{table} WHERE {column} IS NOT NULL ORDER BY {column} DESC LIMIT 1 OFFSET {}",
        rank.saturating_sub(1)
    );
    let found = connection.query_row(&sql, (), |row| Ok(stored_time(row.get_ref(0)?))).optional()?;
    Ok(found.flatten())
}

/// A connection of either kind that can be asked within its budget. Not to be named outside of this room.
pub trait Asked {
    /// Asks, and says which operation it was when that fails.
    ///
    /// # Errors
    /// What any read can meet.
    fn ask<T>(
        &self,
        operation: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError>;
}

impl Asked for Writer {
    fn ask<T>(
        &self,
        operation: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError> {
        question(self.connection()).map_err(self.failed(operation))
    }
}

impl Asked for Reader {
    fn ask<T>(
        &self,
        operation: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError> {
        question(&self.connection).map_err(|error| SqliteError::new(operation, &error, &self.budget))
    }
}

/// What is asked of a time column before anything is deleted, by a dry run and by the run itself.
pub trait TimeColumn: Asked {
    /// What a table is made of; inside, why its rows cannot be walked.
    ///
    /// # Errors
    /// What any read can meet.
    fn shape(&self, table: &str) -> Result<Result<TableShape, ShapeProblem>, SqliteError> {
        self.ask("read the table's schema", |connection| shape(connection, table))
    }

    /// What refers to a table's rows; inside, why the configuration does not fit.
    ///
    /// # Errors
    /// What any read can meet.
    fn references(
        &self,
        shape: &TableShape,
        rules: ReferenceRules<'_>,
    ) -> Result<Result<References, String>, SqliteError> {
        self.ask("read the foreign keys", |connection| References::read(connection, shape, rules))
    }

    /// The first and the last key of a table whose key is one whole number.
    ///
    /// # Errors
    /// What any read can meet.
    fn key_range(&self, shape: &TableShape) -> Result<Option<(i64, i64)>, SqliteError> {
        self.ask("read the range of keys", |connection| key_range(connection, shape))
    }

    /// Values from all over a table, NULLs left out.
    ///
    /// # Errors
    /// What any read can meet.
    fn sample_times(&self, shape: &TableShape, column: &str) -> Result<Vec<StoredTime>, SqliteError> {
        self.ask("sample the times", |connection| sample_times(connection, shape, column))
    }

    /// The time of the row that is `rank`th from the newest.
    ///
    /// # Errors
    /// What any read can meet.
    fn time_of_rank(
        &self,
        shape: &TableShape,
        column: &str,
        rank: u64,
    ) -> Result<Option<StoredTime>, SqliteError> {
        self.ask("find the newest rows", |connection| time_of_rank(connection, shape, column, rank))
    }
}

impl TimeColumn for Writer {}
impl TimeColumn for Reader {}
