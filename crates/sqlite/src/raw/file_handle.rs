//! The main file of an open connection: header, change counter, reserved lock, and what a read does
//! to other processes.

use std::ffi::c_int;

use rusqlite::Connection;
use rusqlite::ffi;

use super::file_pointer::main_file;
use super::shared_memory;
use super::wal_index::wal_index;
use super::wal_index::wal_index_of;
use crate::header::HEADER_BYTES;
use crate::header::JournalMode;

/// Reads the first 100 bytes of the main file through SQLite's own handle.
///
/// # Errors
/// SQLite's code, `SQLITE_IOERR_SHORT_READ` for a file that is shorter.
pub(crate) fn read_header(connection: &Connection) -> Result<[u8; HEADER_BYTES], c_int> {
    let file = main_file(connection)?;
    let mut header = [0_u8; HEADER_BYTES];
    // SAFETY: `file` is open as long as the connection is; the buffer has the length given.
    let code = unsafe {
        match (*(*file).pMethods).xRead {
            Some(read) => read(file, header.as_mut_ptr().cast(), HEADER_BYTES as c_int, 0),
            None => ffi::SQLITE_IOERR_READ,
        }
    };
    if code == ffi::SQLITE_OK { Ok(header) } else { Err(code) }
}

/// Reads from the main file in its current state, even while others write to it. What is behind its
/// end is zeros.
///
/// # Errors
/// SQLite's code.
pub(crate) fn read_at(connection: &Connection, offset: u64, buffer: &mut [u8]) -> Result<(), c_int> {
    let file = main_file(connection)?;
    let (Ok(length), Ok(offset)) = (c_int::try_from(buffer.len()), i64::try_from(offset)) else {
        return Err(ffi::SQLITE_IOERR_READ);
    };
    // SAFETY: `file` is open as long as the connection is; the buffer has the length given.
    let code = unsafe {
        match (*(*file).pMethods).xRead {
            Some(read) => read(file, buffer.as_mut_ptr().cast(), length, offset),
            None => ffi::SQLITE_IOERR_READ,
        }
    };
    // After a short read SQLite has filled the rest with zeros.
    if matches!(code, ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ) { Ok(()) } else { Err(code) }
}

/// What a long read does to other processes, and its own work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReadImpact {
    /// Pages read from the files since the connection was opened.
    pub pages_read: u64,
    /// Another process is writing a rollback database: it cannot commit before the readers are
    /// gone.
    pub writer_waits: bool,
    /// Frames in the WAL: while a reader is there it only grows.
    pub wal_frames: Option<u32>,
    /// The change counter in the main file; `None` in WAL mode, where it does not change.
    pub change_counter: Option<u32>,
}

/// Measures the impact of its connection's reads. It exists only inside the progress handler of
/// that connection, which lends it for one call at a time, so it cannot outlive the pointers.
pub(crate) struct ImpactProbe {
    connection: *mut ffi::sqlite3,
    file: *mut ffi::sqlite3_file,
    journal_mode: JournalMode,
}

// SAFETY: the pointers are used only by the progress handler, on the thread that runs a statement
// of the connection, and the handler moves to another thread only together with the connection,
// which is `Send` itself.
unsafe impl Send for ImpactProbe {}

impl ImpactProbe {
    /// # Safety
    /// The probe must not be used after the connection is closed, or on another thread than the
    /// connection.
    unsafe fn new(connection: &Connection, journal_mode: JournalMode) -> Self {
        Self {
            // SAFETY: the handle is only kept; the caller vouches for its use.
            connection: unsafe { connection.handle() },
            file: main_file(connection).unwrap_or(std::ptr::null_mut()),
            journal_mode,
        }
    }

    /// The work of the connection so far, and what it does to other processes now.
    pub(crate) fn measure(&self) -> ReadImpact {
        let (mut pages, mut highest) = (0, 0);
        let mut impact = ReadImpact::default();
        // SAFETY: the connection is open and used by this thread alone, see `new`. The first call
        // reads a counter and changes nothing (SQLITE_DBSTATUS_CACHE_MISS without reset).
        unsafe {
            let (opcode, reset) = (ffi::SQLITE_DBSTATUS_CACHE_MISS, 0);
            if ffi::sqlite3_db_status(self.connection, opcode, &raw mut pages, &raw mut highest, reset)
                == ffi::SQLITE_OK
            {
                impact.pages_read = u64::try_from(pages).unwrap_or(0);
            }
            match self.journal_mode {
                JournalMode::Wal => impact.wal_frames = wal_index_of(self.file).map(|index| index.frames),
                JournalMode::Rollback if !self.file.is_null() => {
                    impact.writer_waits = is_reserved_of(self.file);
                    impact.change_counter = change_counter_of(self.file);
                }
                JournalMode::Rollback => {}
            }
        }
        impact
    }
}

/// Calls `handler` after every `instructions` of a statement on the connection; the statement ends
/// when it returns true. `journal_mode` says which facts of [`ReadImpact`] the probe reads.
pub(crate) fn set_progress_handler(
    connection: &mut Connection,
    instructions: c_int,
    journal_mode: JournalMode,
    mut handler: impl FnMut(&ImpactProbe) -> bool + Send + 'static,
) -> rusqlite::Result<()> {
    // SAFETY: the probe stays inside the handler of this very connection, which calls it on the
    // thread of a statement and drops it when it is closed or gets another handler.
    let probe = unsafe { ImpactProbe::new(connection, journal_mode) };
    connection.progress_handler(instructions, Some(move || handler(&probe)))
}

/// What the reads of a connection do now; `journal_mode` as for [`set_progress_handler`].
pub(crate) fn read_impact(connection: &Connection, journal_mode: JournalMode) -> ReadImpact {
    // SAFETY: the connection is borrowed for as long as the probe lives.
    unsafe { ImpactProbe::new(connection, journal_mode) }.measure()
}

/// Whether another process is in a write transaction of a rollback database, its commit included.
pub(crate) fn is_reserved(connection: &Connection) -> bool {
    // SAFETY: the file is open as long as the connection is.
    main_file(connection).is_ok_and(|file| unsafe { is_reserved_of(file) })
}

/// Whether the wal-index that the connection has mapped was truncated by another process: what it
/// read is not a state of the database then.
pub(crate) fn has_lost_shared_memory(connection: &Connection) -> bool {
    // SAFETY: the file is open as long as the connection is.
    main_file(connection).is_ok_and(|file| unsafe { shared_memory::is_lost(file) })
}

unsafe fn is_reserved_of(file: *mut ffi::sqlite3_file) -> bool {
    let mut reserved = 0;
    // SAFETY: `file` is open. The call asks the system for a lock's holder (F_GETLK) and takes
    // none.
    unsafe {
        if let Some(check) = (*(*file).pMethods).xCheckReservedLock {
            check(file, &raw mut reserved);
        }
    }
    reserved != 0
}

unsafe fn change_counter_of(file: *mut ffi::sqlite3_file) -> Option<u32> {
    let mut bytes = [0_u8; 4];
    // SAFETY: `file` is open; the buffer has the length given.
    let code = unsafe {
        let read = (*(*file).pMethods).xRead?;
        read(file, bytes.as_mut_ptr().cast(), 4, COUNTER_OFFSET)
    };
    (code == ffi::SQLITE_OK).then(|| u32::from_be_bytes(bytes))
}

/// Where the change counter stands in the header.
const COUNTER_OFFSET: i64 = 24;

/// A value that changes with every commit, read without a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeCounter {
    /// The change counter in the header of a rollback database.
    Counter(u32),
    /// The wal-index header's own counter and the frames in the WAL.
    Wal(u32, u32),
}

/// The change counter of a connection's database in its current state, after any writer. In WAL
/// mode it is that of the wal-index, and `None` while none is mapped: the counter in the main file
/// does not change then.
pub(crate) fn change_counter(connection: &Connection, journal_mode: JournalMode) -> Option<ChangeCounter> {
    match journal_mode {
        JournalMode::Wal => {
            wal_index(connection).map(|index| ChangeCounter::Wal(index.changes, index.frames))
        }
        JournalMode::Rollback => {
            let file = main_file(connection).ok()?;
            // SAFETY: the file is open as long as the connection is.
            unsafe { change_counter_of(file) }.map(ChangeCounter::Counter)
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a database of this test alone")]

    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn a_probe_goes_with_its_connection() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = Connection::open(directory.path().join("a.db")).unwrap();
        connection.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
        let pages = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&pages);
        set_progress_handler(&mut connection, 1, JournalMode::Rollback, move |probe| {
            let impact = probe.measure();
            assert!(impact.change_counter.is_some() && impact.wal_frames.is_none());
            seen.store(impact.pages_read, Ordering::Relaxed);
            false
        })
        .unwrap();
        let work = std::thread::spawn(move || {
            connection.query_row("SELECT sum(a) FROM t", (), |row| row.get::<_, i64>(0)).unwrap();
            let impact = read_impact(&connection, JournalMode::Rollback);
            drop(connection);
            impact
        });
        assert_eq!(work.join().unwrap().pages_read, pages.load(Ordering::Relaxed));
        assert_eq!(Arc::strong_count(&pages), 1, "the handler is gone, and the probe with it");
    }
}
