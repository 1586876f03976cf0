//! The version of SQLite with which another program than litekeeper wrote a database last.

use std::path::Path;

use litekeeper_sqlite::rusqlite::OptionalExtension as _;
use litekeeper_sqlite::rusqlite::params;

use super::StateStore;
use super::StateStoreError;
use super::path_to_value;

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS writers (path PRIMARY KEY NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID";

impl StateStore {
    /// The version of the last other writer, as SQLite's version number; `None` while none was
    /// seen.
    ///
    /// # Errors
    /// SQLite's.
    pub fn foreign_writer(&self, path: &Path) -> Result<Option<u32>, StateStoreError> {
        let connection = self.connection();
        // The table comes with the first version that is remembered; an older litekeeper can read
        // the file all the same.
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'writers'";
        let tables: i64 = connection.query_row(sql, (), |row| row.get(0)).map_err(self.failed())?;
        if tables == 0 {
            return Ok(None);
        }
        let sql = "SELECT version FROM writers WHERE path = ?1";
        connection.query_row(sql, [path_to_value(path)], |row| row.get(0)).optional().map_err(self.failed())
    }

    /// Remembers the version of the last other writer.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_foreign_writer(&self, path: &Path, version: u32) -> Result<(), StateStoreError> {
        let connection = self.connection();
        connection.execute_batch(TABLE).map_err(self.failed())?;
        connection
            .execute(
                "INSERT OR REPLACE INTO writers (path, version) VALUES (?1, ?2)",
                params![path_to_value(path), version],
            )
            .map(|_| ())
            .map_err(self.failed())
    }
}
