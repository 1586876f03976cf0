//! The one file with `unsafe`: what SQLite offers to C alone and the reader cannot do without.
//!
//! 1. A **VFS that can neither create, write nor delete**. SQLite's own read-only open still
//!    creates a `-wal` and a `-shm` beside a WAL database at rest, and *deletes* a `-wal` or `-journal`
//!    that stands beside a zero-byte main file (`pagerOpenWalIfPresent`, `hasHotJournal` in pager.c).
//!    Both would break the owner, so the promise is kept here, below everything else: this VFS is
//!    the default unix one with two methods replaced.
//!    As root, SQLite also gives sidecars to the owner of the main file (`robustFchown`) and may change an empty
//!    one's mode; both system calls are taken out.
//! 2. The **header bytes** of the main file, read through SQLite's own file handle
//!    (`SQLITE_FCNTL_FILE_POINTER`). Opening the file ourselves would drop SQLite's POSIX locks at the close.
//! 3. The **wal-index header** from the mapping that SQLite already has: frames and backfilled frames.
//!    `PRAGMA wal_checkpoint(NOOP)` would say the same, but SQLite 3.54.1 refuses it
//!    (`SQLITE_READONLY`) on a connection that holds the WAL read-only, as ours does on purpose.
//!
//! It must never: panic inside a callback, keep a pointer beyond the call, write through one.
#![expect(unsafe_code, reason = "SQLite offers its VFS, file handles and shared memory to C alone")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use rusqlite::Connection;
use rusqlite::ffi;

/// The name under which the read-only VFS is registered.
pub(super) const READ_ONLY_VFS: &CStr = c"litekeeper-read-only";

/// URI parameter: keep the wal-index in this process's heap instead of a `-shm` file.
pub(super) const HEAP_WAL_INDEX: &CStr = c"heap_wal_index";

/// The database header's length (<https://www.sqlite.org/fileformat2.html#the_database_header>).
pub(super) const HEADER_BYTES: usize = 100;

/// What the wal-index header says (<https://www.sqlite.org/walformat.html#the_wal_index_header>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WalIndex {
    /// Valid frames in the WAL (`mxFrame`).
    pub frames: u32,
    /// Frames that a checkpoint has copied into the main file (`nBackfill`).
    pub checkpointed: u32,
}

/// A VFS object that SQLite may use from every thread. SQLite reads it and links it into its own
/// list under its own mutex; Rust code reads it alone.
struct Shared<T>(T);
// SAFETY: the values are written once, before they are shared, and hold function pointers, sizes
// and pointers to data that lives as long as the process.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

/// SQLite's default VFS, which does all the work.
static ORIGINAL: OnceLock<Shared<*mut ffi::sqlite3_vfs>> = OnceLock::new();
/// The default VFS's methods for a main file, with `xShmMap` and `xShmLock` replaced.
static HEAP_METHODS: OnceLock<Shared<(*const ffi::sqlite3_io_methods, ffi::sqlite3_io_methods)>> =
    OnceLock::new();
/// The outcome of the registration, done once a process.
static REGISTERED: OnceLock<c_int> = OnceLock::new();

/// Registers the read-only VFS, once a process.
///
/// # Errors
/// SQLite's code when it has no default VFS or refuses the registration.
pub(super) fn register_read_only_vfs() -> Result<(), c_int> {
    let code = *REGISTERED.get_or_init(|| {
        // SAFETY: initialising is idempotent and thread-safe; a null name asks for the default VFS.
        let original = unsafe {
            ffi::sqlite3_initialize();
            ffi::sqlite3_vfs_find(std::ptr::null())
        };
        if original.is_null() {
            return ffi::SQLITE_ERROR;
        }
        let original = ORIGINAL.get_or_init(|| Shared(original)).0;
        // SAFETY: SQLite keeps a registered VFS for the life of the process; the struct is plain
        // data, so a bitwise copy with other methods is the documented way to build a shim
        // (https://www.sqlite.org/vfs.html#vfs_shims).
        let shim = unsafe {
            let mut shim = std::ptr::read(original);
            shim.pNext = std::ptr::null_mut();
            shim.zName = READ_ONLY_VFS.as_ptr();
            shim.xOpen = Some(open_read_only);
            shim.xDelete = Some(refuse_delete);
            Box::into_raw(Box::new(shim))
        };
        // SAFETY: the default VFS is valid for the life of the process.
        unsafe { keep_owners_and_modes(original) };
        // SAFETY: `shim` is leaked on purpose, as SQLite asks of a registered VFS.
        unsafe { ffi::sqlite3_vfs_register(shim, 0) }
    });
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}

/// Replaces the system calls by which SQLite changes owner and mode of sidecar files, in the whole
/// process: nothing in litekeeper makes such files, so nothing needs them.
unsafe fn keep_owners_and_modes(vfs: *mut ffi::sqlite3_vfs) {
    unsafe extern "C" fn keep_owner(_file: c_int, _user: u32, _group: u32) -> c_int {
        0
    }
    unsafe extern "C" fn keep_mode(_file: c_int, _mode: u32) -> c_int {
        0
    }
    type Untyped = unsafe extern "C" fn();
    // SAFETY: SQLite casts each pointer back to the system call's own signature before it calls
    // (os_unix.c, aSyscall), and those are the signatures above.
    unsafe {
        let owner =
            std::mem::transmute::<unsafe extern "C" fn(c_int, u32, u32) -> c_int, Untyped>(keep_owner);
        let mode = std::mem::transmute::<unsafe extern "C" fn(c_int, u32) -> c_int, Untyped>(keep_mode);
        if let Some(set) = (*vfs).xSetSystemCall {
            set(vfs, c"fchown".as_ptr(), Some(owner));
            set(vfs, c"fchmod".as_ptr(), Some(mode));
        }
    }
}

/// `xOpen`: the default one, with the right to write and to create taken away for everything that
/// belongs to a database. Temporary files, which SQLite makes for large sorts, are left alone.
unsafe extern "C" fn open_read_only(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    const BELONGS_TO_DATABASE: c_int = ffi::SQLITE_OPEN_MAIN_DB
        | ffi::SQLITE_OPEN_MAIN_JOURNAL
        | ffi::SQLITE_OPEN_SUPER_JOURNAL
        | ffi::SQLITE_OPEN_WAL;
    let Some(original) = ORIGINAL.get() else {
        return ffi::SQLITE_CANTOPEN;
    };
    let flags = if flags & BELONGS_TO_DATABASE == 0 {
        flags
    } else {
        flags & !(ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE) | ffi::SQLITE_OPEN_READONLY
    };
    // SAFETY: the default VFS has an xOpen; the arguments are SQLite's own, passed on.
    let code = unsafe {
        match (*original.0).xOpen {
            Some(open) => open(vfs, name, file, flags, out_flags),
            None => ffi::SQLITE_CANTOPEN,
        }
    };
    // SAFETY: for a main database `name` is a sqlite3_filename, which sqlite3_uri_boolean asks for;
    // `file` was filled in by the successful open above.
    unsafe {
        if code == ffi::SQLITE_OK
            && flags & ffi::SQLITE_OPEN_MAIN_DB != 0
            && ffi::sqlite3_uri_boolean(name, HEAP_WAL_INDEX.as_ptr(), 0) != 0
        {
            keep_wal_index_in_heap(file);
        }
    }
    code
}

/// `xDelete`: refuses. A reader has nothing to delete.
unsafe extern "C" fn refuse_delete(
    _vfs: *mut ffi::sqlite3_vfs,
    _name: *const c_char,
    _sync_directory: c_int,
) -> c_int {
    ffi::SQLITE_READONLY
}

/// Replaces `xShmMap` of an open file by one that answers `SQLITE_READONLY_CANTINIT`, upon which
/// SQLite builds the wal-index in heap memory from the WAL (`walBeginShmUnreliable` in wal.c) and touches
/// no `-shm`. Locks on that file, which is not there, are granted: whether somebody made it meanwhile the caller checks.
unsafe fn keep_wal_index_in_heap(file: *mut ffi::sqlite3_file) {
    // SAFETY: the caller passes an open file, whose method table is static in SQLite.
    unsafe {
        let original = (*file).pMethods;
        let methods = &HEAP_METHODS
            .get_or_init(|| {
                let mut methods = std::ptr::read(original);
                methods.xShmMap = Some(refuse_shared_memory);
                methods.xShmLock = Some(grant_lock);
                Shared((original, methods))
            })
            .0;
        // Another locking style would have another table; then SQLite's own way is kept, which
        // fails to open the missing -shm: an error, no harm.
        if methods.0 == original {
            (*file).pMethods = &raw const methods.1;
        }
    }
}

unsafe extern "C" fn refuse_shared_memory(
    _file: *mut ffi::sqlite3_file,
    _region: c_int,
    _bytes: c_int,
    _extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite passes a valid place for the answer.
    unsafe { *out = std::ptr::null_mut() };
    ffi::SQLITE_READONLY_CANTINIT
}

unsafe extern "C" fn grant_lock(
    _file: *mut ffi::sqlite3_file,
    _first: c_int,
    _count: c_int,
    _flags: c_int,
) -> c_int {
    ffi::SQLITE_OK
}

/// The open main file of a connection.
fn main_file(connection: &Connection) -> Result<*mut ffi::sqlite3_file, c_int> {
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
pub(super) fn read_header(connection: &Connection) -> Result<[u8; HEADER_BYTES], c_int> {
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

/// A look at how many pages a connection has read from its files, for the progress of a long check.
///
/// The counter belongs into the progress handler of the same connection, which SQLite drops with
/// it: then the pointer inside is never used after the close.
pub(super) fn page_counter(connection: &Connection) -> impl Fn() -> u64 + Send + 'static {
    // SAFETY: the handle is only kept; see `read` below for its use.
    let handle = Shared(unsafe { connection.handle() });
    move || {
        // The whole struct moves into the closure, not the bare pointer, which is not Send.
        let handle = &handle;
        let (mut now, mut highest) = (0, 0);
        // SAFETY: called from the progress handler, so the connection is open, and on its thread.
        // The call reads a counter and changes nothing (SQLITE_DBSTATUS_CACHE_MISS without reset).
        let code = unsafe {
            ffi::sqlite3_db_status(
                handle.0,
                ffi::SQLITE_DBSTATUS_CACHE_MISS,
                &raw mut now,
                &raw mut highest,
                0,
            )
        };
        if code == ffi::SQLITE_OK { u64::try_from(now).unwrap_or(0) } else { 0 }
    }
}

/// Reads the wal-index header from the shared memory that the connection has mapped.
///
/// Call it only on a connection that reads a WAL database through a `-shm` file, inside a read
/// transaction: elsewhere `xShmMap` would try to open that file. `None` when the index cannot be
/// read now (no owner keeps it alive, or a writer changed it during both tries).
pub(super) fn wal_index(connection: &Connection) -> Option<WalIndex> {
    /// SQLite's own size of a region of the wal-index (`WALINDEX_PGSZ`).
    const REGION_BYTES: c_int = 32 * 1024;
    /// The header stands twice; a reader that sees two equal copies saw no write under way.
    const COPY_WORDS: usize = 12;
    const FRAMES_WORD: usize = 4;
    const BACKFILL_WORD: usize = 24;
    let file = main_file(connection).ok()?;
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
        let checkpointed = word(BACKFILL_WORD);
        if steady && frames == word(FRAMES_WORD) {
            return Some(WalIndex { frames, checkpointed: checkpointed.min(frames) });
        }
    }
    None
}
