//! The result of the last scrub of each database, which is kept over restarts.

use std::path::Path;
use std::time::SystemTime;

use litekeeper_sqlite::rusqlite;
use litekeeper_sqlite::rusqlite::Connection;
use litekeeper_sqlite::rusqlite::OptionalExtension as _;
use litekeeper_sqlite::rusqlite::params;

use crate::tasks::KnownDamage;
use crate::tasks::Run;
use crate::tasks::ScrubResult;

use super::StateStore;
use super::StateStoreError;
use super::path_to_value;
use super::seconds;
use super::time;

/// The result of the last scrub that completed.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrubStatus {
    /// Its numbers.
    pub result: ScrubResult,
    /// When it ended.
    pub completed_at: SystemTime,
    /// Since when scrubs find damage; `None` while there is none.
    pub damaged_since: Option<SystemTime>,
}

impl ScrubStatus {
    /// Whether no damage is known.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.damaged_since.is_none()
    }

    /// The first problem of a damaged database, in a form that is never empty.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.damaged_since?;
        let first = self.result.first_problem.clone();
        Some(first.unwrap_or_else(|| format!("{} mismatches", self.result.mismatches)))
    }
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS scrubs (path PRIMARY KEY NOT NULL, completed_at REAL NOT NULL, \
                     damaged_since REAL, result TEXT NOT NULL) WITHOUT ROWID";

/// Records the result of a run that was a completed scrub.
///
/// Only a scrub clears what a scrub found: its ledger keeps the hash that a page must have until the
/// page has it again, the file is another one, or an operator accepts the page.
pub(super) fn apply(connection: &Connection, run: &Run) -> rusqlite::Result<()> {
    let Some(mut result) = run.report.as_ref().and_then(|report| report.details.scrub()) else {
        return Ok(());
    };
    let before = read(connection, &run.path)?.filter(|before| !before.is_ok());
    let known_since = before.as_ref().and_then(|before| before.damaged_since);
    let damaged_since = match before {
        // A lost ledger does not end the damage that it knew of.
        Some(before) if result.mismatches == 0 && result.is_first => {
            result.first_problem = before.problem();
            known_since
        }
        _ if result.mismatches > 0 => Some(known_since.unwrap_or_else(|| run.ended_at())),
        _ => None,
    };
    write(connection, &run.path, &ScrubStatus { result, completed_at: run.ended_at(), damaged_since })
}

fn write(connection: &Connection, path: &Path, status: &ScrubStatus) -> rusqlite::Result<()> {
    connection.execute_batch(TABLE)?;
    let result = serde_json::to_string(&status.result).unwrap_or_default();
    let sql =
        "INSERT OR REPLACE INTO scrubs (path, completed_at, damaged_since, result) VALUES (?1, ?2, ?3, ?4)";
    let times = (seconds(status.completed_at), status.damaged_since.map(seconds));
    connection.execute(sql, params![path_to_value(path), times.0, times.1, result])?;
    Ok(())
}

fn read(connection: &Connection, path: &Path) -> rusqlite::Result<Option<ScrubStatus>> {
    // The table comes with the first scrub; an older litekeeper can read the file all the same.
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'scrubs'";
    if connection.query_row(sql, (), |row| row.get::<_, i64>(0))? == 0 {
        return Ok(None);
    }
    let sql = "SELECT completed_at, damaged_since, result FROM scrubs WHERE path = ?1";
    let row = connection.query_row(sql, [path_to_value(path)], |row| {
        let result: String = row.get(2)?;
        Ok(ScrubStatus {
            result: serde_json::from_str(&result).unwrap_or_default(),
            completed_at: time(row.get(0)?),
            damaged_since: row.get::<_, Option<f64>>(1)?.map(time),
        })
    });
    row.optional()
}

impl StateStore {
    /// The result of a database's last completed scrub.
    ///
    /// # Errors
    /// SQLite's.
    pub fn scrub_status(&self, path: &Path) -> Result<Option<ScrubStatus>, StateStoreError> {
        read(&self.connection(), path).map_err(self.failed())
    }

    /// Ends the damage that scrubs of a database found: the ledger says that it is gone or accepted.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear_scrub_damage(&self, path: &Path) -> Result<(), StateStoreError> {
        let connection = self.connection();
        let Some(mut status) = read(&connection, path).map_err(self.failed())? else { return Ok(()) };
        status.damaged_since = None;
        status.result.mismatches = 0;
        status.result.first_problem = None;
        write(&connection, path, &status).map_err(self.failed())
    }

    /// Damage of a database for which nothing may be written: what a failed integrity check or a
    /// scrub found, if nothing that clears it has followed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn known_damage(&self, path: &Path) -> Result<Option<KnownDamage>, StateStoreError> {
        if let Some(problem) = self.scrub_status(path)?.and_then(|status| status.problem()) {
            return Ok(Some(KnownDamage::Scrub(problem)));
        }
        Ok(self.unhealthy(path)?.map(KnownDamage::Check))
    }
}
