//! The identity of each database with backups: random, created once per path.

use std::path::Path;
use std::path::PathBuf;

use litekeeper_sqlite::rusqlite;
use litekeeper_sqlite::rusqlite::OptionalExtension as _;
use litekeeper_sqlite::rusqlite::params;

use crate::database::DatabaseName;
use crate::task::TaskKind;
use crate::tasks::BackupIdentity;
use crate::tasks::backup_id;

use super::StateStore;
use super::StateStoreError;
use super::path_from_value;
use super::path_to_value;

/// The table comes with the first identity; an older litekeeper can still read the file.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS backup_identities (
    path PRIMARY KEY NOT NULL,
    id TEXT NOT NULL,
    owns_unmarked INTEGER NOT NULL
) WITHOUT ROWID";

impl StateStore {
    /// The identity of the backups of a database, created now if there is none yet.
    ///
    /// # Errors
    /// SQLite's.
    pub fn backup_identity(
        &self,
        path: &Path,
        name: &DatabaseName,
    ) -> Result<BackupIdentity, StateStoreError> {
        let connection = self.connection();
        connection.execute_batch(TABLE).map_err(self.failed())?;
        let known = || {
            let sql = "SELECT id, owns_unmarked FROM backup_identities WHERE path = ?1";
            connection
                .query_row(sql, [path_to_value(path)], |row| {
                    Ok(BackupIdentity { id: row.get(0)?, owns_unmarked: row.get(1)? })
                })
                .optional()
                .map_err(self.failed())
        };
        if let Some(identity) = known()? {
            return Ok(identity);
        }
        let makers = makers_of_unmarked(&connection, name).map_err(self.failed())?;
        let owns_unmarked = !makers.is_empty() && makers.iter().all(|maker| maker == path);
        // Another process may have made one meanwhile, which then counts.
        let sql = "INSERT OR IGNORE INTO backup_identities VALUES (?1, lower(hex(randomblob(6))), ?2)";
        connection.execute(sql, params![path_to_value(path), owns_unmarked]).map_err(self.failed())?;
        known()?.ok_or_else(|| self.failed()(rusqlite::Error::QueryReturnedNoRows))
    }
}

/// The paths of databases whose backups under a name were made by versions that gave them no
/// identity.
fn makers_of_unmarked(
    connection: &rusqlite::Connection,
    name: &DatabaseName,
) -> rusqlite::Result<Vec<PathBuf>> {
    let sql = "SELECT path, details ->> '$.backup.path' FROM runs WHERE task = ?1 AND database = ?2 AND outcome = 'success'";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params![TaskKind::Backup.stored_name(), name.as_str()])?;
    let mut makers = Vec::new();
    while let Some(row) = rows.next()? {
        let file: Option<String> = row.get(1)?;
        if file.is_some_and(|file| backup_id(Path::new(&file)).is_none()) {
            makers.push(path_from_value(row.get_ref(0)?));
        }
    }
    Ok(makers)
}
