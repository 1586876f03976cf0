//! What SQLite knows of an open database and tells C alone: header, wal-index, counters, locks.

use std::ffi::c_int;
use std::ffi::c_void;

use rusqlite::Connection;
use rusqlite::ffi;

use super::Shared;
use super::shared_memory;

/// The database header's length (<https://www.sqlite.org/fileformat2.html#the_database_header>).
pub(crate) const HEADER_BYTES: usize = 100;

/// What the wal-index header says (<https://www.sqlite.org/walformat.html#the_wal_index_header>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalIndex {
    /// Valid frames in the WAL (`mxFrame`).
    pub frames: u32,
    /// Frames that a checkpoint has copied into the main file (`nBackfill`).
    pub checkpointed: u32,
    /// Counts transactions (`iChange`).
    pub changes: u32,
    /// How far the readers of each lock see (`aReadMark`), see [`ReadMarks`].
    pub read_marks: ReadMarks,
}

/// For each of the five read locks of a WAL the frame up to which its holders see; those of lock 0 read the main file
/// alone. `None` where the mark is unused. A mark holds only while somebody holds its lock.
pub type ReadMarks = [Option<u32>; 5];

/// The open main file of a connection.
pub(super) fn main_file(connection: &Connection) -> Result<*mut ffi::sqlite3_file, c_int> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: the connection is open; the opcode writes one pointer to `file`.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        )
    };
    // SAFETY: checked for null before it is read.
    if code != ffi::SQLITE_OK || file.is_null() || unsafe { (*file).pMethods.is_null() } {
        return Err(if code == ffi::SQLITE_OK { ffi::SQLITE_CANTOPEN } else { code });
    }
    Ok(file)
}

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

/// Reads from the main file as it is in this moment, whoever writes to it. What is behind its end is zeros.
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

/// What a long read meets and does to others, as seen from its progress handler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Strain {
    /// Pages read from the files since the connection was opened.
    pub pages_read: u64,
    /// Another process is writing a rollback database: before it can commit, readers must go.
    pub writer_waits: bool,
    /// Frames in the WAL: while a reader is there it only grows.
    pub wal_frames: Option<u32>,
    /// The change counter in the main file; `None` in WAL mode, where it stands still.
    pub change_counter: Option<u32>,
}

/// A look at what a connection does, for the progress of a long check and its manners.
///
/// The gauge belongs into the progress handler of the same connection, which SQLite drops with
/// it: then the pointers inside are never used after the close. `wal` says whether the connection reads a
/// WAL through a `-shm` file, see [`wal_index`].
pub(crate) fn strain_gauge(connection: &Connection, wal: bool) -> impl Fn() -> Strain + Send + 'static {
    // SAFETY: the handle is only kept; see below for its use.
    let handle = Shared(unsafe { connection.handle() });
    let file = Shared(main_file(connection).unwrap_or(std::ptr::null_mut()));
    move || {
        // The whole structs move into the closure, not the bare pointers, which are not Send.
        let (handle, file) = (&handle, &file);
        let (mut now, mut highest, mut reserved, mut change_counter) = (0, 0, false, None);
        // SAFETY: called from the progress handler, so the connection is open, and on its thread.
        // The first call reads a counter and changes nothing (SQLITE_DBSTATUS_CACHE_MISS without reset).
        unsafe {
            let code = ffi::sqlite3_db_status(
                handle.0,
                ffi::SQLITE_DBSTATUS_CACHE_MISS,
                &raw mut now,
                &raw mut highest,
                0,
            );
            if code != ffi::SQLITE_OK {
                now = 0;
            }
            if !wal && !file.0.is_null() {
                reserved = is_reserved_of(file.0);
                change_counter = change_counter_of(file.0);
            }
        }
        Strain {
            pages_read: u64::try_from(now).unwrap_or(0),
            writer_waits: reserved,
            // SAFETY: as above; the caller vouches for the shared memory.
            wal_frames: if wal { unsafe { wal_index_of(file.0) }.map(|index| index.frames) } else { None },
            change_counter,
        }
    }
}

/// Whether another process is in a write transaction of a rollback database, its commit included.
pub(crate) fn is_reserved(connection: &Connection) -> bool {
    // SAFETY: the file is open as long as the connection is.
    main_file(connection).is_ok_and(|file| unsafe { is_reserved_of(file) })
}

/// Whether the wal-index that the connection has mapped was truncated by another process: what it read is no state of
/// the database then.
pub(crate) fn has_lost_shared_memory(connection: &Connection) -> bool {
    // SAFETY: the file is open as long as the connection is.
    main_file(connection).is_ok_and(|file| unsafe { shared_memory::is_lost(file) })
}

unsafe fn is_reserved_of(file: *mut ffi::sqlite3_file) -> bool {
    let mut reserved = 0;
    // SAFETY: `file` is open. The call asks the system for a lock's holder (F_GETLK) and takes none.
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

/// A mark that moves with every commit, read without a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeCounter {
    /// The change counter in the header of a rollback database.
    Counter(u32),
    /// The wal-index header's own counter and the frames in the WAL.
    Wal(u32, u32),
}

/// The mark of a connection's database as it is now, whoever wrote last. `wal` as for [`strain_gauge`].
pub(crate) fn change_mark(connection: &Connection, wal: bool) -> Option<ChangeCounter> {
    if wal {
        return wal_index(connection).map(|index| ChangeCounter::Wal(index.changes, index.frames));
    }
    let file = main_file(connection).ok()?;
    // SAFETY: the file is open as long as the connection is.
    unsafe { change_counter_of(file) }.map(ChangeCounter::Counter)
}

/// Reads the wal-index header from the shared memory that the connection has mapped.
///
/// Call it only on a connection that reads a WAL database through a `-shm` file, inside a read
/// transaction: elsewhere `xShmMap` would try to open that file. `None` when the index cannot be
/// read now (no owner keeps it alive, or a writer changed it during both tries).
pub(crate) fn wal_index(connection: &Connection) -> Option<WalIndex> {
    let file = main_file(connection).ok()?;
    // SAFETY: the file is open, and the caller vouches for the shared memory.
    unsafe { wal_index_of(file) }
}

unsafe fn wal_index_of(file: *mut ffi::sqlite3_file) -> Option<WalIndex> {
    /// SQLite's own size of a region of the wal-index (`WALINDEX_PGSZ`).
    const REGION_BYTES: c_int = 32 * 1024;
    /// The header stands twice; a reader that sees two equal copies saw no write under way.
    const COPY_WORDS: usize = 12;
    const CHANGES_WORD: usize = 2;
    const FRAMES_WORD: usize = 4;
    const BACKFILL_WORD: usize = 24;
    const READ_MARKS_WORD: usize = 25;
    const READ_MARK_UNUSED: u32 = u32::MAX;
    if file.is_null() {
        return None;
    }
    let mut region: *mut c_void = std::ptr::null_mut();
    // SAFETY: `file` is open; with `extend` 0 the call maps what is there and makes nothing.
    let code = unsafe {
        let methods = (*file).pMethods;
        if (*methods).iVersion < 2 {
            return None;
        }
        (*methods).xShmMap?(file, 0, REGION_BYTES, 0, &raw mut region)
    };
    if !matches!(code, ffi::SQLITE_OK | ffi::SQLITE_READONLY) || region.is_null() {
        return None;
    }
    // SAFETY: the region is mapped for the connection's life, aligned to a page and larger than
    // the words read; volatile, as other processes write it.
    let word = |index: usize| unsafe { region.cast::<u32>().add(index).read_volatile() };
    for _ in 0..2 {
        let frames = word(FRAMES_WORD);
        let steady = (0..COPY_WORDS).all(|index| word(index) == word(index + COPY_WORDS));
        let (changes, checkpointed) = (word(CHANGES_WORD), word(BACKFILL_WORD));
        let read_marks: ReadMarks = std::array::from_fn(|lock| {
            Some(word(READ_MARKS_WORD + lock)).filter(|mark| *mark != READ_MARK_UNUSED)
        });
        // SAFETY: `file` is open.
        if unsafe { shared_memory::is_lost(file) } {
            return None;
        }
        if steady && frames == word(FRAMES_WORD) {
            return Some(WalIndex { frames, checkpointed: checkpointed.min(frames), changes, read_marks });
        }
    }
    None
}
