//! Pauses of all databases or of single ones.

use std::collections::BTreeSet;
use std::time::SystemTime;

use litekeeper_sqlite::rusqlite::params;

use super::StateStore;
use super::StateStoreError;
use super::seconds;

/// Stands for every database; no database can be called so, as names are not empty.
const EVERYTHING: &str = "";

impl StateStore {
    /// Pauses a database, or all of them.
    ///
    /// # Errors
    /// SQLite's.
    pub fn pause(&self, database: Option<&str>, now: SystemTime) -> Result<(), StateStoreError> {
        let sql = "INSERT OR IGNORE INTO pauses (database, since) VALUES (?1, ?2)";
        self.connection()
            .execute(sql, params![database.unwrap_or(EVERYTHING), seconds(now)])
            .map(|_| ())
            .map_err(self.failed())
    }

    /// Ends the pause of a database, or every pause.
    ///
    /// # Errors
    /// SQLite's.
    pub fn resume(&self, database: Option<&str>) -> Result<usize, StateStoreError> {
        let sql = "DELETE FROM pauses WHERE ?1 IS NULL OR database = ?1";
        self.connection().execute(sql, [database]).map_err(self.failed())
    }

    /// Whether everything is paused, and which databases are.
    ///
    /// # Errors
    /// SQLite's.
    pub fn pauses(&self) -> Result<(bool, BTreeSet<String>), StateStoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT database FROM pauses").map_err(self.failed())?;
        let rows = statement.query_map((), |row| row.get::<_, String>(0)).map_err(self.failed())?;
        let mut names = rows.collect::<Result<BTreeSet<_>, _>>().map_err(self.failed())?;
        let everything = names.remove(EVERYTHING);
        Ok((everything, names))
    }
}
