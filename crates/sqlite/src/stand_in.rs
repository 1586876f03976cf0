//! Stand-ins for collations and functions that only the application has, on a connection that
//! checks.
//!
//! A collation decides the order of an index, not what is in it: pages, counts, and each entry
//! beside its row can be checked without. A function decides what an index over an expression holds
//! and whether a CHECK holds: what depends on it is left out. Nothing but checks and counts may run
//! on such a connection.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::error::SqliteError;
use super::reader::Reader;

/// The collations that SQLite has itself (<https://www.sqlite.org/datatype3.html#collation>).
const OWN_COLLATIONS: [&str; 3] = ["BINARY", "NOCASE", "RTRIM"];

fn compare_bytes(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.create_collation(name, |left: &str, right: &str| left.cmp(right))
}

/// The collations that a connection was asked for and SQLite does not have.
fn unknown_collations(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA collation_list")?;
    let rows = statement.query_map((), |row| row.get::<_, String>("name"))?;
    let names: Vec<String> = rows.collect::<Result<_, _>>()?;
    let own = |name: &String| OWN_COLLATIONS.iter().any(|own| own.eq_ignore_ascii_case(name));
    Ok(names.into_iter().filter(|name| !own(name)).collect())
}

/// Does work whose result depends on no order, such as a count, with stand-ins, and takes them away
/// again: what else is asked on the connection must not be answered, let alone written, in an order
/// that is not the application's.
pub(super) fn with_any_collation<T>(
    connection: &Connection,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.collation_needed(compare_bytes)?;
    let result = work();
    connection.collation_needed(|_, _| Ok(()))?;
    for name in unknown_collations(connection)? {
        connection.remove_collation(name.as_str())?;
    }
    result
}

impl Reader {
    /// Lets every collation that is not known here compare bytes.
    ///
    /// # Errors
    /// What SQLite says; none is known.
    pub fn stand_in_collations(&self) -> Result<(), SqliteError> {
        self.connection
            .collation_needed(compare_bytes)
            .map_err(|error| SqliteError::new("stand in for collations", &error, &self.limits))
    }

    /// The collations that were stood in for since the connection was opened.
    pub(super) fn collations_stood_in_for(&self) -> Result<Vec<String>, SqliteError> {
        unknown_collations(&self.connection)
            .map_err(|error| SqliteError::new("list the collations", &error, &self.limits))
    }

    /// Whether anything was stood in for.
    pub(super) fn has_stand_ins(&self) -> Result<bool, SqliteError> {
        Ok(!self.collations_stood_in_for()?.is_empty())
    }

    /// Makes a function of this name that gives NULL for whatever arguments.
    pub(super) fn stand_in_function(&self, name: &str) -> Result<(), SqliteError> {
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_INNOCUOUS;
        self.connection
            .create_scalar_function(name, -1, flags, |_| Ok(rusqlite::types::Null))
            .map_err(|error| SqliteError::new("stand in for a function", &error, &self.limits))
    }

    /// Forgets the function again.
    pub(super) fn remove_stand_in(&self, function: &str) -> Result<(), SqliteError> {
        self.connection
            .remove_function(function, -1)
            .map_err(|error| SqliteError::new("forget a function", &error, &self.limits))
    }
}
