//! What can be asked through a reader and a writer alike.

use rusqlite::Connection;

use super::error::SqliteError;
use super::reader::Reader;
use super::writer::Writer;

/// A connection of either kind that runs queries within its limits. Not named outside of this
/// crate.
pub trait QuerySource {
    /// Asks, and says which operation it was when that fails.
    ///
    /// # Errors
    /// What any read can meet.
    fn query<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError>;
}

impl QuerySource for Writer {
    fn query<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError> {
        work(self.connection()).map_err(self.failed(operation))
    }
}

impl QuerySource for Reader {
    fn query<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError> {
        work(&self.connection).map_err(|error| SqliteError::new(operation, &error, &self.limits))
    }
}
