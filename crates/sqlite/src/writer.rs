//! A connection that writes, for a configured task.
//!
//! Every transaction is short, measured, and followed by a pause for other writers. A writer must
//! never wait for a lock while it holds one, change a mode that the application chose, or leave a
//! new companion file behind.

use std::cell::Cell;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;

use crate::limits::QueryLimits;
use crate::span::Operation;

use super::error::ErrorCode;
use super::error::ErrorKind;
use super::error::SqliteError;
use super::header::AutoVacuum;
use super::header::JournalMode;
use super::header::RawHeader;
use super::init::prepare;
use super::open_guard::ExclusiveGuard;
use super::raw;
use super::reader::uri_of;

/// How often the progress handler checks the limits, in virtual-machine instructions; see the
/// reader's.
const PROGRESS_INSTRUCTIONS: i32 = 1_000;

/// One try to get the write lock. It is short so that a stop is seen soon.
const LOCK_TRY: Duration = Duration::from_millis(50);

/// How soon within a try the lock is looked at again. SQLite's own handler sleeps 1, 2, 5, 10 … ms,
/// in which the lock lies idle: a foreign commit that ended a pause is over in less than that.
const BUSY_POLL_INTERVAL: Duration = Duration::from_micros(50);

/// The pauses between tries to get the lock grow up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How long a commit waits for readers of a rollback database. They keep it out, while it keeps out
/// new ones.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(50);

/// SQLite's own page cache of a writer; the default of 2 MiB makes a batch read its pages again.
const CACHE_KIB: u32 = 16 * 1024;

/// What a piece of work gave and how long it held the write lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locked<T> {
    /// What it gave.
    pub value: T,
    /// From the lock to the end of the commit.
    pub hold: Duration,
    /// The part of it, where it is known, that the commit and an archive's commit took.
    pub commit: Duration,
}

impl<T> Locked<Option<T>> {
    /// What was held for, where anything was done.
    pub(super) fn transpose(self) -> Option<Locked<T>> {
        let Self { value, hold, commit } = self;
        value.map(|value| Locked { value, hold, commit })
    }
}

/// A connection that may write.
pub struct Writer {
    // None only while it is closed.
    pub(super) connection: Option<Connection>,
    pub(super) limits: QueryLimits,
    path: PathBuf,
    journal_mode: JournalMode,
    is_alone: fn(&Path) -> bool,
    longest_read: Cell<Duration>,
    // Makes the writer stay on its thread, where it may make files in the owner's name.
    _rights: raw::AllowChown,
}

impl Writer {
    /// Opens a database for writing. It waits for this process's own readers, and for a lock of
    /// others, no longer than `timeout`.
    ///
    /// # Errors
    /// `CannotOpen`, `NotADatabase`, `Busy` when the readers of this process do not leave in time,
    /// and `ReadOnly` when the file cannot be written.
    pub fn open(path: &Path, timeout: Duration, limits: &QueryLimits) -> Result<Self, SqliteError> {
        let operation = Operation::begin("open", None);
        operation.record_result(Self::opened(path, timeout, limits))
    }

    fn opened(path: &Path, timeout: Duration, limits: &QueryLimits) -> Result<Self, SqliteError> {
        const OPERATION: &str = "open for writing";
        let failed = |error: rusqlite::Error| SqliteError::new(OPERATION, &error, limits);
        prepare()?;
        let rights = raw::AllowChown::take();
        let Some(_alone) = ExclusiveGuard::begin(path, &limits.capped(timeout)) else {
            return Err(SqliteError::from_code(OPERATION, rusqlite::ffi::SQLITE_BUSY, String::new()));
        };
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let uri = uri_of(path);
        let mut connection = Connection::open_with_flags_and_vfs(&uri, flags, raw::WRITING_VFS)
            .map_err(|error| SqliteError::new(OPERATION, &error, limits).strip_path(&uri))?;
        connection.busy_handler(Some(set_busy_poll_handler)).map_err(failed)?;
        // A process that lost its locks is invisible to SQLite, which would take us for the last
        // one: see `drop`.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(failed)?;
        let mut writer = Self {
            connection: Some(connection),
            limits: limits.clone(),
            path: path.to_owned(),
            journal_mode: JournalMode::Rollback,
            is_alone: |_| false,
            longest_read: Cell::default(),
            _rights: rights,
        };
        writer.arm(None)?;
        // The first transaction maps the shared memory, so it belongs into the time alone.
        writer.retry_while_busy(timeout, |writer| {
            writer
                .connection()
                .execute_batch("BEGIN; SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1); COMMIT")
                .map_err(|error| {
                    let _ = writer.connection().execute_batch("ROLLBACK");
                    SqliteError::new(OPERATION, &error, &writer.limits)
                })
        })?;
        writer.journal_mode = writer.header()?.journal_mode;
        // Checkpoints come in the pauses, where nobody waits for the lock, and not as a part of a
        // commit.
        let settings = format!(
            "PRAGMA synchronous = FULL; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA wal_autocheckpoint = 0"
        );
        writer.connection().execute_batch(&settings).map_err(failed)?;
        Ok(writer)
    }

    /// Has the close checkpoint the WAL and remove the companion files, as SQLite does by itself,
    /// if `is_alone` then says that no other process has the database open. Without it they stay.
    #[must_use]
    pub fn checkpoint_on_close_if(mut self, is_alone: fn(&Path) -> bool) -> Self {
        self.is_alone = is_alone;
        self
    }

    pub(super) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("the connection is taken by the drop alone")
    }

    pub(super) fn failed(
        &self,
        operation: &'static str,
    ) -> impl Fn(rusqlite::Error) -> SqliteError + 'static {
        let limits = self.limits.clone();
        move |error| SqliteError::new(operation, &error, &limits)
    }

    fn header(&self) -> Result<RawHeader, SqliteError> {
        let raw = raw::read_header(self.connection())
            .map_err(|code| SqliteError::from_code("read the header", code, String::new()))?;
        Ok(RawHeader::parse(&raw))
    }

    /// Whether the database is in WAL mode.
    #[must_use]
    pub fn journal_mode(&self) -> JournalMode {
        self.journal_mode
    }

    /// The longest that a read of this connection kept writers of a rollback database from
    /// committing.
    #[must_use]
    pub fn longest_read(&self) -> Duration {
        self.longest_read.get()
    }

    /// Notes how long a read took: its SHARED lock keeps writers of a rollback database from
    /// committing.
    pub(super) fn note_read(&self, begun: Instant) {
        if self.journal_mode == JournalMode::Rollback {
            self.longest_read.set(self.longest_read.get().max(begun.elapsed()));
        }
    }

    /// Whether and how the database gives free pages back, as `PRAGMA auto_vacuum` tells it now.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn auto_vacuum(&self) -> Result<AutoVacuum, SqliteError> {
        let number: i64 = self.pragma("PRAGMA main.auto_vacuum")?;
        Ok(match number {
            0 => AutoVacuum::None,
            1 => AutoVacuum::Full,
            _ => AutoVacuum::Incremental,
        })
    }

    /// Pages of the database and those that are free.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn pages(&self) -> Result<(u64, u64), SqliteError> {
        let pages: i64 = self.pragma("PRAGMA main.page_count")?;
        let free: i64 = self.pragma("PRAGMA main.freelist_count")?;
        Ok((pages.unsigned_abs(), free.unsigned_abs()))
    }

    pub(super) fn pragma<T: rusqlite::types::FromSql>(&self, sql: &str) -> Result<T, SqliteError> {
        self.connection().query_row(sql, (), |row| row.get(0)).map_err(self.failed("read a pragma"))
    }

    /// Makes the progress handler end a statement at the limits, or at an earlier deadline.
    pub(super) fn arm(&mut self, deadline: Option<Instant>) -> Result<(), SqliteError> {
        let limits = self.limits.clone();
        let failed = self.failed("set the time limit");
        let is_over =
            move || limits.is_exceeded() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let connection = self.connection.as_mut().expect("the connection is taken by the drop alone");
        connection.progress_handler(PROGRESS_INSTRUCTIONS, Some(is_over)).map_err(failed)
    }

    /// Has the progress handler tell how long a statement lasts, some ten times a second.
    pub(super) fn tell(
        &mut self,
        begun: Instant,
        mut observe: impl FnMut(Duration) + Send + 'static,
    ) -> Result<(), SqliteError> {
        const PERIOD: Duration = Duration::from_millis(100);
        let (limits, failed) = (self.limits.clone(), self.failed("follow the progress"));
        let mut reported = begun;
        let handler = move || {
            if reported.elapsed() >= PERIOD {
                reported = Instant::now();
                observe(begun.elapsed());
            }
            limits.is_exceeded()
        };
        let connection = self.connection.as_mut().expect("the connection is taken by the drop alone");
        connection.progress_handler(PROGRESS_INSTRUCTIONS, Some(handler)).map_err(failed)
    }

    /// Does `work` until it does not end with `Busy`, with growing pauses in between, for as long
    /// as `timeout` and the limits permit.
    ///
    /// # Errors
    /// Those of `work`; the last `Busy` when the time is over first, `Cancelled` on request.
    pub fn retry_while_busy<T>(
        &mut self,
        timeout: Duration,
        mut work: impl FnMut(&mut Self) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        let mut backoff = LOCK_TRY;
        let limits = self.limits.capped(timeout);
        loop {
            let error = match work(self) {
                Err(error) if matches!(error.code(), Some(ErrorCode::Busy | ErrorCode::Locked)) => error,
                other => return other,
            };
            if !sleep(backoff, &limits) {
                let cancelled = self.limits.cancel.is_cancelled();
                return Err(if cancelled {
                    SqliteError::limit_error("wait for a lock", &self.limits)
                } else {
                    error
                });
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// One write transaction. Nothing is waited for while it holds the lock, but for readers at the
    /// commit of a rollback database, and these no longer than 50 ms.
    ///
    /// # Errors
    /// `Busy` when the lock is held, or readers do not let the commit through; `DeadlineExceeded`
    /// when the work did not end within `limit`. All is rolled back then.
    pub(super) fn transaction<T>(
        &mut self,
        operation: &'static str,
        limit: Duration,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Locked<T>, SqliteError> {
        self.connection().execute_batch("BEGIN IMMEDIATE").map_err(self.failed(operation))?;
        let begun = Instant::now();
        self.arm(Some(begun + limit))?;
        let mut worked = Duration::ZERO;
        let result = match work(self.connection()) {
            Ok(value) => {
                worked = begun.elapsed();
                self.commit().map(|()| value)
            }
            Err(error) => Err(error),
        };
        let result = result.map_err(|error| {
            let error = SqliteError::new(operation, &error, &self.limits);
            // Many errors have rolled back already; then there is nothing left to do.
            if !self.connection().is_autocommit() {
                let _ = self.connection().execute_batch("ROLLBACK");
            }
            error
        });
        let hold = begun.elapsed();
        self.arm(None)?;
        result.map(|value| Locked { value, hold, commit: hold.saturating_sub(worked) })
    }

    fn commit(&mut self) -> rusqlite::Result<()> {
        let waits_until = Instant::now() + COMMIT_TIMEOUT;
        self.connection().busy_timeout(Duration::from_millis(5))?;
        let result = loop {
            match self.connection().execute_batch("COMMIT") {
                Err(error) if is_busy(&error) && Instant::now() < waits_until => {}
                other => break other,
            }
        };
        self.set_busy_poll_handler()?;
        result
    }

    /// Restores the polling busy handler.
    pub(super) fn set_busy_poll_handler(&mut self) -> rusqlite::Result<()> {
        let connection = self.connection.as_mut().expect("the connection is taken by the drop alone");
        connection.busy_handler(Some(set_busy_poll_handler))
    }
}

/// A busy handler that looks often, for one `LOCK_TRY`.
fn set_busy_poll_handler(looks: i32) -> bool {
    std::thread::sleep(BUSY_POLL_INTERVAL);
    BUSY_POLL_INTERVAL * looks.unsigned_abs() < LOCK_TRY
}

impl Drop for Writer {
    /// Closes the connection alone. SQLite removes the companion files where it is known that no
    /// other process has the database open; its own locks do not tell, as another process may have
    /// lost them.
    fn drop(&mut self) {
        /// Readers of this process end within milliseconds; a longer wait for a hung one is not
        /// worth it.
        const EXCLUSIVE_TIMEOUT: Duration = Duration::from_secs(2);
        let _alone = ExclusiveGuard::begin(&self.path, &QueryLimits::with_timeout(EXCLUSIVE_TIMEOUT));
        let connection = self.connection.take();
        if self.journal_mode == JournalMode::Wal
            && let Some(connection) = &connection
            && (self.is_alone)(&self.path)
        {
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
        drop(connection);
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked))
}

/// Sleeps unless the limits are exceeded first.
pub(super) fn sleep(length: Duration, limits: &QueryLimits) -> bool {
    const STEP: Duration = Duration::from_millis(20);
    let until = Instant::now() + length;
    loop {
        if limits.is_exceeded() {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(STEP));
    }
}

/// Whether an error means that the work did not fit its time, so that less of it may.
#[must_use]
pub fn is_own_timeout(error: &SqliteError, limits: &QueryLimits) -> bool {
    error.kind() == ErrorKind::DeadlineExceeded && !limits.is_exceeded()
}
