//! A connection that cannot write.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::percent_encode;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

use crate::limits::QueryLimits;

use super::error::SqliteError;
use super::header::Header;
use super::header::JournalMode;
use super::header::RawHeader;
use super::init::prepare;
use super::open_guard::ReaderGuard;
use super::raw;

/// How often the progress handler checks the limits, in virtual-machine instructions. At 1,000 a
/// check ends within 5 ms of its deadline, at 10,000 within 22 ms (measured on 715 MiB).
const PROGRESS_INSTRUCTIONS: i32 = 1_000;

/// The largest value or row that a reader accepts; larger ones give an error instead of memory.
const MAX_VALUE_BYTES: i32 = 64 * 1024 * 1024;

/// How long SQLite may sleep in all for one look that waits for no lock, see [`raw::limit_sleep`]:
/// enough to let a writer on another core finish what it is at, and little enough for a sweep over
/// many databases.
const NO_WAIT_SLEEP_LIMIT: Duration = Duration::from_millis(50);

/// How a database is opened without leaving a trace beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Under SQLite's locks, with the companion files that are there. Right for a rollback database
    /// and for a WAL database whose `-shm` exists. Fails with `SQLITE_CANTOPEN` where a companion
    /// file would have to be made.
    Shared,
    /// A WAL database at rest, without a `-wal`: its main file is all there is. No locks are taken,
    /// so the caller must check that nothing moved meanwhile and throw the answer away if it did.
    Immutable,
    /// A WAL database whose owner died or was copied: `-wal` but no `-shm`. The wal-index is built
    /// in memory from the WAL. The same duty as with `Immutable`.
    HeapWalIndex,
}

/// Frames of a WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalFrames {
    /// Valid frames.
    pub total: u32,
    /// Those already copied into the main file.
    pub checkpointed: u32,
    /// How far the holders of each read lock see.
    pub read_marks: raw::ReadMarks,
}

impl WalFrames {
    /// Frames that no checkpoint can copy while somebody holds a read lock: those after its mark.
    #[must_use]
    pub fn pinned_by(&self, read_lock: u8) -> Option<u32> {
        let mark = match read_lock {
            // Who reads the main file alone keeps everything from being copied into it.
            0 => self.checkpointed,
            lock => (*self.read_marks.get(usize::from(lock))?)?,
        };
        Some(self.total.saturating_sub(mark))
    }
}

/// How often a statement's work is reported while it runs.
const REPORT_PERIOD: Duration = Duration::from_millis(2);

/// What a statement has done so far, and what it does to others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadProgress {
    /// Pages read from the files since the connection was opened.
    pub pages_read: u64,
    /// Virtual-machine instructions of the statement, rounded down.
    pub instructions: u64,
    /// Another process is writing; in rollback mode it cannot commit before the reader is gone.
    pub writer_waits: bool,
    /// Frames in the WAL, which only grows while a reader is there; `None` outside WAL mode.
    pub wal_frames: Option<u32>,
    /// The change counter of a rollback database as it is in the file now, which moves with every
    /// commit.
    pub change_counter: Option<u32>,
}

impl ReadProgress {
    fn new(impact: raw::ReadImpact, instructions: u64) -> Self {
        let raw::ReadImpact { pages_read, writer_waits, wal_frames, change_counter } = impact;
        Self { pages_read, instructions, writer_waits, wal_frames, change_counter }
    }
}

/// A connection that cannot write, create or delete anything, held for one look and then dropped.
pub struct Reader {
    pub(super) connection: Connection,
    pub(super) limits: QueryLimits,
    access: Access,
    journal_mode: std::cell::Cell<Option<JournalMode>>,
    /// After the connection, so that it is closed when the turn ends.
    _guard: ReaderGuard,
}

impl Reader {
    /// Opens a database for reading: no lock is waited for beyond the limits, no companion file is
    /// made, nothing in the file is trusted (<https://www.sqlite.org/security.html>).
    ///
    /// Cost: about 35 µs with the close.
    ///
    /// # Errors
    /// `CannotOpen` when the file cannot be opened; page 1 is read only by the first question.
    /// `Busy` while a writer of this process opens or closes the database.
    pub fn open(path: &Path, access: Access, limits: &QueryLimits) -> Result<Self, SqliteError> {
        const OPERATION: &str = "open";
        prepare()?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let Some(count) = ReaderGuard::begin(path) else {
            return Err(SqliteError::from_code(OPERATION, rusqlite::ffi::SQLITE_BUSY, String::new()));
        };
        let uri = uri(path, access);
        raw::limit_sleep(match access {
            // Nobody else has such a database open, so there is nobody to wait for.
            Access::Immutable | Access::HeapWalIndex => Some(Duration::ZERO),
            Access::Shared if limits.busy_timeout.is_zero() => Some(NO_WAIT_SLEEP_LIMIT),
            Access::Shared => None,
        });
        let connection = Connection::open_with_flags_and_vfs(&uri, flags, raw::READ_ONLY_VFS)
            .map_err(|error| SqliteError::new(OPERATION, &error, limits).strip_path(&uri))?;
        let journal_mode = std::cell::Cell::new(None);
        let mut reader = Self { connection, limits: limits.clone(), access, journal_mode, _guard: count };
        reader.harden().map_err(|error| SqliteError::new(OPERATION, &error, limits))?;
        reader.arm()?;
        Ok(reader)
    }

    fn harden(&mut self) -> rusqlite::Result<()> {
        let connection = &mut self.connection;
        connection.busy_timeout(self.limits.busy_timeout)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
        Ok(())
    }

    /// Reads what the header and the pager know, in one read transaction that lasts as long as the
    /// reader, without parsing the schema.
    ///
    /// # Errors
    /// `Busy` while a writer holds its exclusive lock, `NotADatabase` or `Corrupt` when page 1 is
    /// not one.
    pub fn header(&self) -> Result<Header, SqliteError> {
        const OPERATION: &str = "read the header";
        let failed = |error: rusqlite::Error| SqliteError::new(OPERATION, &error, &self.limits);
        self.connection.execute_batch("BEGIN").map_err(failed)?;
        let schema_version = self.pragma("PRAGMA schema_version").map_err(failed)?;
        let freelist_pages = self.pragma("PRAGMA freelist_count").map_err(failed)?;
        let user_version = self.pragma("PRAGMA user_version").map_err(failed)?;
        let application_id = self.pragma("PRAGMA application_id").map_err(failed)?;
        let pages = self.page_count().map_err(failed)?;
        let raw = raw::read_header(&self.connection)
            .map_err(|code| SqliteError::from_code(OPERATION, code, String::new()))?;
        let RawHeader { page_size, reserved_bytes, journal_mode, auto_vacuum, encoding, writer_version } =
            RawHeader::parse(&raw);
        self.journal_mode.set(Some(journal_mode));
        Ok(Header {
            page_size,
            reserved_bytes,
            pages,
            // Both fields are unsigned in the file and come as signed 32-bit numbers.
            freelist_pages: freelist_pages as u32,
            schema_version: schema_version as u32,
            user_version: user_version as i32,
            application_id: application_id as i32,
            journal_mode,
            auto_vacuum,
            encoding,
            writer_version,
        })
    }

    /// Ends the read transaction that [`Reader::header`] began, so that writers are not kept
    /// waiting.
    ///
    /// # Errors
    /// What SQLite says; none is known.
    pub fn end_transaction(&self) -> Result<(), SqliteError> {
        self.connection
            .execute_batch("COMMIT")
            .map_err(|error| SqliteError::new("end the transaction", &error, &self.limits))
    }

    fn pragma(&self, sql: &str) -> rusqlite::Result<i64> {
        self.connection.query_row(sql, (), |row| row.get(0))
    }

    /// The pages of the database in this transaction. `PRAGMA page_count` would parse the schema
    /// first (its `PragFlg_NeedSchema`: 45 ms with 5,000 tables); a backup's step over no page says
    /// the same for 2 µs.
    pub(super) fn page_count(&self) -> rusqlite::Result<u32> {
        // One for each page size (there are eight), which a database in memory keeps from its first
        // backup on: a backup of another is refused with SQLITE_READONLY.
        thread_local! {
            static SCRATCH_DBS: std::cell::RefCell<BTreeMap<u32, Connection>> = const { std::cell::RefCell::new(BTreeMap::new()) };
        }
        let raw = raw::read_header(&self.connection)
            .map_err(|code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))?;
        SCRATCH_DBS.with_borrow_mut(|places| {
            let scratch = match places.entry(RawHeader::parse(&raw).page_size) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(Connection::open_in_memory()?),
            };
            let backup = Backup::new(&self.connection, scratch)?;
            backup.step(0)?;
            // SQLite counts pages in 32 bits without a sign, and gives them as a C int.
            Ok(backup.progress().pagecount.cast_unsigned())
        })
    }

    /// Calls `observe` with the work so far, many times a second while a statement runs; a `Break`
    /// ends the statement. It replaces the progress handler until the next deadline is set.
    ///
    /// # Errors
    /// What SQLite says; none is known.
    pub fn on_progress(
        &mut self,
        mut observe: impl FnMut(ReadProgress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(), SqliteError> {
        let limits = self.limits.clone();
        let journal_mode = self.locked_journal_mode();
        let (mut calls, mut reported) = (0_u64, Instant::now());
        let handler = move |probe: &raw::ImpactProbe| {
            calls += 1;
            let mut go = ControlFlow::Continue(());
            if reported.elapsed() >= REPORT_PERIOD {
                reported = Instant::now();
                let instructions = calls * u64::from(PROGRESS_INSTRUCTIONS.unsigned_abs());
                go = observe(ReadProgress::new(probe.measure(), instructions));
            }
            go.is_break() || limits.is_exceeded()
        };
        raw::set_progress_handler(&mut self.connection, PROGRESS_INSTRUCTIONS, journal_mode, handler)
            .map_err(|error| SqliteError::new("follow the progress", &error, &self.limits))
    }

    /// The work that the connection has done so far, and what it does to others now.
    #[must_use]
    pub fn work_done(&self) -> ReadProgress {
        ReadProgress::new(raw::read_impact(&self.connection, self.locked_journal_mode()), 0)
    }

    /// Fails if the `-shm` was truncated while it was mapped: what was read is not a state of the
    /// database then.
    ///
    /// # Errors
    /// [`SqliteError::is_lost_shared_memory`] tells it apart.
    pub fn ensure_shared_memory(&self) -> Result<(), SqliteError> {
        if raw::has_lost_shared_memory(&self.connection) {
            let message = "the -shm file was truncated while it was read".to_owned();
            return Err(SqliteError::from_code("read", rusqlite::ffi::SQLITE_IOERR_SHMMAP, message));
        }
        Ok(())
    }

    /// Whether what it reads is protected by SQLite's locks, which keep writers of a rollback
    /// database from committing.
    #[must_use]
    pub fn takes_locks(&self) -> bool {
        self.access == Access::Shared
    }

    /// How other processes are seen at work: by the wal-index of a WAL that is read under locks,
    /// else by the main file.
    fn locked_journal_mode(&self) -> JournalMode {
        match (self.access, self.journal_mode.get()) {
            (Access::Shared, Some(mode)) => mode,
            _ => JournalMode::Rollback,
        }
    }

    /// Does `work` with a deadline of its own within the limits.
    pub(super) fn within<T, E: From<SqliteError>>(
        &mut self,
        limit: Duration,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let whole = self.limits.clone();
        self.limits = whole.capped(limit);
        let armed = self.arm();
        let result = armed.map_err(E::from).and_then(|()| work(self));
        self.limits = whole;
        self.arm()?;
        result
    }

    /// Takes back what [`Reader::on_progress`] set: only the limits end a statement then.
    ///
    /// # Errors
    /// What SQLite says; none is known.
    pub fn end_progress(&mut self) -> Result<(), SqliteError> {
        self.arm()
    }

    /// Makes the progress handler use the current limits.
    fn arm(&mut self) -> Result<(), SqliteError> {
        let limits = self.limits.clone();
        self.connection
            .progress_handler(PROGRESS_INSTRUCTIONS, Some(move || limits.is_exceeded()))
            .map_err(|error| SqliteError::new("set the time limit", &error, &self.limits))
    }

    /// Frames in the WAL and those checkpointed; `None` where no shared wal-index tells.
    #[must_use]
    pub fn wal_frames(&self) -> Option<WalFrames> {
        match self.access {
            Access::Shared => raw::wal_index(&self.connection).map(|index| WalFrames {
                total: index.frames,
                checkpointed: index.checkpointed,
                read_marks: index.read_marks,
            }),
            Access::Immutable => Some(WalFrames { total: 0, checkpointed: 0, read_marks: [None; 5] }),
            Access::HeapWalIndex => None,
        }
    }

    /// A mark that moves with every commit, in a transaction that [`Reader::header`] began; `None`
    /// where only the WAL's own content tells.
    #[must_use]
    pub fn change_counter(&self) -> Option<raw::ChangeCounter> {
        match self.access {
            Access::Shared | Access::Immutable => {
                raw::change_counter(&self.connection, self.locked_journal_mode())
            }
            Access::HeapWalIndex => None,
        }
    }
}

/// The URI of a database for one kind of access.
fn uri(path: &Path, access: Access) -> String {
    let mut uri = uri_of(path);
    uri.push_str(match access {
        Access::Shared => "?readonly_shm=1",
        Access::Immutable => "?immutable=1",
        Access::HeapWalIndex => "?heap_wal_index=1",
    });
    uri
}

/// Everything but unreserved characters (RFC 3986, section 2.3) and `/`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The URI of a path: every byte that is not plainly safe goes as `%HH`, so that names with `?`,
/// `#`, quotes, newlines or invalid UTF-8 arrive as they are (<https://www.sqlite.org/uri.html>).
pub(super) fn uri_of(path: &Path) -> String {
    format!("file:{}", percent_encode(path.as_os_str().as_bytes(), ENCODED))
}
