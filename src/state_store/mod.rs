//! The agent's own SQLite file: runs, statuses of checks, pauses, due times, trends, actions.
//!
//! The agent and every `litekeeper run` beside it write it in short transactions. It must never
//! hold anything that cannot be lost: without it the agent starts as it did the first time.

mod actions;
mod check_status;
mod error;
mod identities;
mod names;
mod pauses;
mod runs;
mod schema;
mod scrub_status;
mod trends;
mod writers;

#[cfg(test)]
mod tests;

pub use actions::ActionRecord;
pub use check_status::CheckStatus;
pub use error::StateStoreError;
pub use names::NameRow;
pub use runs::Recorded;
pub use runs::RunQuery;
pub use runs::StoredRun;
pub use scrub_status::ScrubStatus;
pub use trends::Point;
pub use trends::Resolution;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use litekeeper_sqlite::rusqlite;
use litekeeper_sqlite::rusqlite::Connection;
use litekeeper_sqlite::rusqlite::OpenFlags;
use litekeeper_sqlite::rusqlite::OptionalExtension;
use litekeeper_sqlite::rusqlite::params;
use litekeeper_sqlite::rusqlite::types::Value;
use litekeeper_sqlite::rusqlite::types::ValueRef;
use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::os::ClockReading;
use crate::task::TaskKind;

/// How long another process of litekeeper may hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The state file.
#[derive(Debug)]
pub struct StateStore {
    connection: Mutex<Connection>,
    file: Option<PathBuf>,
    /// Which process wrote a row, so that others notice it.
    process: String,
}

impl StateStore {
    /// Opens the file, and creates it and its directory if it does not exist; without a path, the
    /// state is in memory only.
    ///
    /// # Errors
    /// The file cannot be made or read, is not litekeeper's, or is of a later version.
    pub fn open(file: Option<&Path>) -> Result<Self, StateStoreError> {
        let shown = file.unwrap_or(Path::new(":memory:")).to_owned();
        let failed = |error| StateStoreError::Sqlite(shown.clone(), error);
        let connection = match file {
            None => Connection::open_in_memory().map_err(failed)?,
            Some(file) => {
                if let Some(directory) = file.parent() {
                    std::fs::create_dir_all(directory)
                        .map_err(|error| StateStoreError::Directory(shown.clone(), error))?;
                }
                #[expect(clippy::disallowed_methods, reason = "the agent's own file")]
                Connection::open(file).map_err(failed)?
            }
        };
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        schema::prepare(&connection, &shown)?;
        let process = format!("{}-{}", std::process::id(), seconds(SystemTime::now()));
        Ok(Self { connection: Mutex::new(connection), file: file.map(Path::to_owned), process })
    }

    /// Opens the file read-only, and creates nothing; `None` if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read, is not litekeeper's, or is of a later version.
    pub fn read(file: &Path) -> Result<Option<Self>, StateStoreError> {
        if !file.exists() {
            return Ok(None);
        }
        let failed = |error| StateStoreError::Sqlite(file.to_owned(), error);
        #[expect(clippy::disallowed_methods, reason = "the agent's own file, which has no WAL")]
        let opened = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let connection = opened.map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        schema::ensure_ours(&connection, file)?;
        Ok(Some(Self {
            connection: Mutex::new(connection),
            file: Some(file.to_owned()),
            process: String::new(),
        }))
    }

    /// The file's path; `None` for a state in memory.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic ended is rolled back when the next one begins.
        self.connection.lock()
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> StateStoreError {
        let shown = self.file.clone().unwrap_or_else(|| PathBuf::from(":memory:"));
        move |error| StateStoreError::Sqlite(shown.clone(), error)
    }

    /// The last due time of a task that was handled, whether the task ran, was skipped or failed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_scheduled(&self, path: &Path, task: TaskKind) -> Result<Option<SystemTime>, StateStoreError> {
        let sql = "SELECT handled_until FROM slots WHERE path = ?1 AND task = ?2";
        self.connection()
            .query_row(sql, params![path_to_value(path), task.stored_name()], |row| row.get(0))
            .optional()
            .map(|found| found.map(time))
            .map_err(self.failed())
    }

    /// Records a due time as handled.
    ///
    /// # Errors
    /// SQLite's.
    pub fn mark_scheduled(
        &self,
        path: &Path,
        task: TaskKind,
        due_at: SystemTime,
    ) -> Result<(), StateStoreError> {
        let sql = "INSERT INTO slots (path, task, handled_until) VALUES (?1, ?2, ?3)
                   ON CONFLICT (path, task) DO UPDATE SET handled_until = excluded.handled_until";
        self.connection()
            .execute(sql, params![path_to_value(path), task.stored_name(), seconds(due_at)])
            .map(|_| ())
            .map_err(self.failed())
    }

    /// The clocks at the last log cleaning of a database.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clock(&self, path: &Path) -> Result<Option<ClockReading>, StateStoreError> {
        let sql = "SELECT wall, since_boot, boot FROM clocks WHERE path = ?1";
        self.connection()
            .query_row(sql, [path_to_value(path)], |row| {
                Ok(ClockReading { wall: row.get(0)?, since_boot: row.get(1)?, boot: row.get(2)? })
            })
            .optional()
            .map_err(self.failed())
    }

    /// Records the clocks.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_clock(&self, path: &Path, mark: &ClockReading) -> Result<(), StateStoreError> {
        let sql = "INSERT OR REPLACE INTO clocks (path, wall, since_boot, boot) VALUES (?1, ?2, ?3, ?4)";
        self.connection()
            .execute(sql, params![path_to_value(path), mark.wall, mark.since_boot, mark.boot])
            .map(|_| ())
            .map_err(self.failed())
    }
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A time from seconds since 1970.
fn time(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A path as text, or as a blob if it is not UTF-8.
fn path_to_value(path: &Path) -> Value {
    use std::os::unix::ffi::OsStrExt as _;
    path.to_str().map_or_else(
        || Value::Blob(path.as_os_str().as_bytes().to_vec()),
        |text| Value::Text(text.to_owned()),
    )
}

fn path_from_value(value: ValueRef<'_>) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(value.as_bytes().unwrap_or_default()))
}

fn task_from_slot(text: &str) -> Option<TaskKind> {
    TaskKind::ALL.into_iter().find(|task| task.stored_name() == text)
}
