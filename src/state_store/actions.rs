//! Actions of users of the web server: user, time, address, result.

use std::time::SystemTime;

use litekeeper_sqlite::rusqlite::params;

use super::StateStore;
use super::StateStoreError;
use super::seconds;
use super::time;

/// An action of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionRecord {
    /// The number of its row; 0 before it is recorded.
    pub id: i64,
    /// The time of the request.
    pub at: SystemTime,
    /// The user's name.
    pub user: String,
    /// The client's address; empty for a unix socket.
    pub address: String,
    /// The kind of action: `run`, `recheck`, `pause` or `resume`.
    pub kind: String,
    /// The database's name; `None` for all databases.
    pub database: Option<String>,
    /// The task of a run.
    pub task: Option<String>,
    /// The result so far.
    pub result: String,
}

impl StateStore {
    /// Records an action and returns the number of its row.
    ///
    /// # Errors
    /// SQLite's.
    pub fn record_action(&self, action: &ActionRecord) -> Result<i64, StateStoreError> {
        let sql = "INSERT INTO actions (at, user, address, kind, database, task, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let connection = self.connection();
        let ActionRecord { user, address, kind, database, task, result, .. } = action;
        connection
            .execute(sql, params![seconds(action.at), user, address, kind, database, task, result])
            .map_err(self.failed())?;
        Ok(connection.last_insert_rowid())
    }

    /// Records the result of an action.
    ///
    /// # Errors
    /// SQLite's.
    pub fn finish_action(&self, id: i64, result: &str) -> Result<(), StateStoreError> {
        let sql = "UPDATE actions SET result = ?2 WHERE id = ?1";
        self.connection().execute(sql, params![id, result]).map(|_| ()).map_err(self.failed())
    }

    /// Records a result for actions that were in progress when their process ended.
    ///
    /// # Errors
    /// SQLite's.
    pub fn mark_interrupted(&self, result: &str) -> Result<usize, StateStoreError> {
        let sql = "UPDATE actions SET result = ?1 WHERE result IN ('waiting', 'running')";
        self.connection().execute(sql, [result]).map_err(self.failed())
    }

    /// The last actions, of one database or of all, the newest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn actions(&self, database: Option<&str>, limit: u32) -> Result<Vec<ActionRecord>, StateStoreError> {
        let sql = "SELECT id, at, user, address, kind, database, task, result FROM actions \
                   WHERE ?1 IS NULL OR database = ?1 OR database IS NULL ORDER BY id DESC LIMIT ?2";
        let connection = self.connection();
        let failed = self.failed();
        let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
        let rows = statement.query_map(params![database, limit], |row| {
            Ok(ActionRecord {
                id: row.get(0)?,
                at: time(row.get(1)?),
                user: row.get(2)?,
                address: row.get(3)?,
                kind: row.get(4)?,
                database: row.get(5)?,
                task: row.get(6)?,
                result: row.get(7)?,
            })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// Deletes actions before a time.
    ///
    /// # Errors
    /// SQLite's.
    pub fn prune_actions(&self, moment: SystemTime) -> Result<usize, StateStoreError> {
        self.connection()
            .execute("DELETE FROM actions WHERE at < ?1", [seconds(moment)])
            .map_err(self.failed())
    }
}
