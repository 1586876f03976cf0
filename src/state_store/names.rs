//! The names of databases that the configuration does not name, so that they outlive a restart.

use std::path::Path;
use std::path::PathBuf;

use litekeeper_sqlite::rusqlite::params;

use super::StateStore;
use super::StateStoreError;
use super::path_from_value;
use super::path_to_value;

/// One name: the path of the main file, the name it would have if it were alone, and the name it
/// has.
pub type NameRow = (PathBuf, String, String);

impl StateStore {
    /// Every name that was stored.
    ///
    /// # Errors
    /// SQLite's.
    pub fn names(&self) -> Result<Vec<NameRow>, StateStoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare("SELECT path, base, name FROM names").map_err(self.failed())?;
        let rows = statement
            .query_map((), |row| Ok((path_from_value(row.get_ref(0)?), row.get(1)?, row.get(2)?)))
            .map_err(self.failed())?;
        rows.collect::<Result<_, _>>().map_err(self.failed())
    }

    /// Stores names in one transaction; a path that has one gets the new one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_names<'a>(
        &self,
        names: impl IntoIterator<Item = (&'a Path, &'a str, &'a str)>,
    ) -> Result<(), StateStoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(self.failed())?;
        {
            let sql = "INSERT OR REPLACE INTO names (path, base, name) VALUES (?1, ?2, ?3)";
            let mut statement = transaction.prepare(sql).map_err(self.failed())?;
            for (path, base, name) in names {
                statement.execute(params![path_to_value(path), base, name]).map_err(self.failed())?;
            }
        }
        transaction.commit().map_err(self.failed())
    }
}
