//! The VFS that can neither create, write nor delete. See the head of this room's part.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;
use std::time::Duration;

use rusqlite::ffi;

use super::Shared;
use super::shared_memory;

/// The name under which the read-only VFS is registered.
pub(crate) const READ_ONLY_VFS: &CStr = c"litekeeper-read-only";

/// The name of the VFS for writers: the default one, which survives that its shared memory is truncated.
pub(crate) const WRITING_VFS: &CStr = c"litekeeper-writing";

/// URI parameter: keep the wal-index in this process's heap instead of a `-shm` file.
pub(crate) const HEAP_WAL_INDEX: &CStr = c"heap_wal_index";

/// SQLite's default VFS, which does all the work.
static ORIGINAL: OnceLock<Shared<*mut ffi::sqlite3_vfs>> = OnceLock::new();
/// The default VFS's methods for a main file, with `xShmMap` and `xShmLock` replaced.
static HEAP_METHODS: OnceLock<Shared<(*const ffi::sqlite3_io_methods, ffi::sqlite3_io_methods)>> =
    OnceLock::new();
/// The outcome of the registration, done once a process.
static REGISTERED: OnceLock<c_int> = OnceLock::new();

/// SQLite's default VFS; `None` before the registration.
pub(super) fn original() -> Option<*mut ffi::sqlite3_vfs> {
    ORIGINAL.get().map(|Shared(original)| *original)
}

/// Registers both VFSes, once a process.
///
/// # Errors
/// SQLite's code when it has no default VFS or refuses the registration.
pub(crate) fn register_read_only_vfs() -> Result<(), c_int> {
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
            shim.szOsFile = shared_memory::file_size_with_own_part(shim.szOsFile);
            shim.xOpen = Some(open_read_only);
            shim.xDelete = Some(refuse_delete);
            shim.xSleep = Some(sleep_within_allowance);
            Box::into_raw(Box::new(shim))
        };
        // SAFETY: the default VFS is valid for the life of the process.
        unsafe { keep_owners_and_modes(original) };
        // SAFETY: as above.
        let writing = unsafe {
            let mut writing = std::ptr::read(original);
            writing.pNext = std::ptr::null_mut();
            writing.zName = WRITING_VFS.as_ptr();
            writing.szOsFile = shared_memory::file_size_with_own_part(writing.szOsFile);
            writing.xOpen = Some(open_watched);
            Box::into_raw(Box::new(writing))
        };
        shared_memory::protect();
        // SAFETY: both are leaked on purpose, as SQLite asks of a registered VFS.
        match unsafe { ffi::sqlite3_vfs_register(shim, 0) } {
            ffi::SQLITE_OK => unsafe { ffi::sqlite3_vfs_register(writing, 0) },
            code => code,
        }
    });
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}

type Untyped = unsafe extern "C" fn();
type ChangeOwner = unsafe extern "C" fn(c_int, u32, u32) -> c_int;
type ChangeMode = unsafe extern "C" fn(c_int, u32) -> c_int;

/// The system calls as SQLite had them before [`keep_owners_and_modes`].
static SYSTEM_CALLS: OnceLock<(ChangeOwner, ChangeMode)> = OnceLock::new();

thread_local! {
    /// How many [`OwnerRights`] this thread holds.
    static OWNER_RIGHTS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// While it lives, SQLite may give the files that it makes on this thread to the owner of the database,
/// as it does by itself when it runs as root: a writer's sidecars must not lock the owner out.
pub(crate) struct OwnerRights(std::marker::PhantomData<*const ()>);

impl OwnerRights {
    pub(crate) fn take() -> Self {
        OWNER_RIGHTS.with(|held| held.set(held.get() + 1));
        Self(std::marker::PhantomData)
    }
}

impl Drop for OwnerRights {
    fn drop(&mut self) {
        OWNER_RIGHTS.with(|held| held.set(held.get() - 1));
    }
}

/// The system calls, on a thread that may change owners and modes.
fn granted() -> Option<&'static (ChangeOwner, ChangeMode)> {
    // A thread that is ending has no locals any more, and nothing to write either.
    let held = OWNER_RIGHTS.try_with(std::cell::Cell::get).unwrap_or(0);
    if held > 0 { SYSTEM_CALLS.get() } else { None }
}

/// Replaces the system calls by which SQLite changes owner and mode of files, in the whole process.
unsafe fn keep_owners_and_modes(vfs: *mut ffi::sqlite3_vfs) {
    unsafe extern "C" fn keep_owner(file: c_int, user: u32, group: u32) -> c_int {
        // SAFETY: SQLite's own arguments to its own system call.
        granted().map_or(0, |(change_owner, _)| unsafe { change_owner(file, user, group) })
    }
    unsafe extern "C" fn keep_mode(file: c_int, mode: u32) -> c_int {
        // SAFETY: as above.
        granted().map_or(0, |(_, change_mode)| unsafe { change_mode(file, mode) })
    }
    // SAFETY: SQLite casts each pointer back to the system call's own signature before it calls
    // (os_unix.c, aSyscall), and those are the signatures here, in both directions.
    unsafe {
        let (Some(get), Some(set)) = ((*vfs).xGetSystemCall, (*vfs).xSetSystemCall) else { return };
        let (Some(owner), Some(mode)) = (get(vfs, c"fchown".as_ptr()), get(vfs, c"fchmod".as_ptr())) else {
            return;
        };
        let originals = (
            std::mem::transmute::<Untyped, ChangeOwner>(owner),
            std::mem::transmute::<Untyped, ChangeMode>(mode),
        );
        if SYSTEM_CALLS.set(originals).is_ok() {
            set(vfs, c"fchown".as_ptr(), Some(std::mem::transmute::<ChangeOwner, Untyped>(keep_owner)));
            set(vfs, c"fchmod".as_ptr(), Some(std::mem::transmute::<ChangeMode, Untyped>(keep_mode)));
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
        if code == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            if ffi::sqlite3_uri_boolean(name, HEAP_WAL_INDEX.as_ptr(), 0) != 0 {
                keep_wal_index_in_heap(file);
            } else {
                shared_memory::watch_file(file);
            }
        }
    }
    code
}

/// `xOpen` for a writer: the default one, with the shared memory of a main file watched.
unsafe extern "C" fn open_watched(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: the default VFS has an xOpen; the arguments are SQLite's own, passed on.
    unsafe {
        let Some(open) = ORIGINAL.get().and_then(|original| (*original.0).xOpen) else {
            return ffi::SQLITE_CANTOPEN;
        };
        let code = open(vfs, name, file, flags, out_flags);
        if code == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            shared_memory::watch_file(file);
        }
        code
    }
}

thread_local! {
    /// How long SQLite may still sleep on this thread; `None` for as long as it likes.
    static SLEEP_ALLOWANCE: std::cell::Cell<Option<Duration>> = const { std::cell::Cell::new(None) };
}

/// Bounds the time that SQLite sleeps on this thread from now on, on connections of the read-only VFS.
///
/// SQLite's own retries for a read lock of a WAL (`walTryBeginRead` in wal.c) sleep for up to 10 s in all and
/// read neither a busy timeout nor a progress handler. Without sleeps the same 100 retries end in milliseconds.
pub(crate) fn limit_sleep(allowance: Option<Duration>) {
    SLEEP_ALLOWANCE.with(|left| left.set(allowance));
}

/// `xSleep`: the default one for as long as the thread's allowance lasts.
unsafe extern "C" fn sleep_within_allowance(_vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    let wanted = Duration::from_micros(u64::try_from(microseconds).unwrap_or(0));
    let left = SLEEP_ALLOWANCE.try_with(std::cell::Cell::get).unwrap_or(Some(Duration::ZERO));
    let granted = left.map_or(wanted, |left| wanted.min(left));
    if let Some(left) = left {
        let _ = SLEEP_ALLOWANCE.try_with(|cell| cell.set(Some(left.saturating_sub(granted))));
    }
    if !granted.is_zero() {
        std::thread::sleep(granted);
    }
    c_int::try_from(granted.as_micros()).unwrap_or(microseconds)
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
