//! What can be asked through a reader and a writer alike.

use std::time::Instant;

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
        let begun = Instant::now();
        let result = work(self.connection());
        self.note_read(begun);
        result.map_err(self.failed(operation))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::QueryLimits;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
    fn a_read_of_a_rollback_database_counts_as_a_hold() {
        for (mode, counts) in [("delete", true), ("persist", true), ("wal", false)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("a.db");
            let owner = Connection::open(&path).unwrap();
            owner.execute_batch(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t (a)")).unwrap();
            let timeout = Duration::from_secs(60);
            let writer = Writer::open(&path, timeout, &QueryLimits::with_timeout(timeout)).unwrap();
            assert!(writer.longest_read().is_zero(), "{mode}");
            let count = |connection: &Connection| {
                connection.query_row("SELECT count(*) FROM t", (), |row| row.get::<_, i64>(0))
            };
            assert_eq!(writer.query("count", count).unwrap(), 0);
            assert_eq!(!writer.longest_read().is_zero(), counts, "{mode}");
        }
    }
}
