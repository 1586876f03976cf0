//! The VFS that can neither create, write nor delete; see the head of `raw`.

use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::ffi;

use super::io_methods::PatchedMethods;
use super::shared_memory;

/// The name under which the read-only VFS is registered.
pub(crate) const READ_ONLY_VFS: &CStr = c"litekeeper-read-only";

/// The name of the VFS for writers: the default one, which survives that its shared memory is
/// truncated.
pub(crate) const WRITING_VFS: &CStr = c"litekeeper-writing";

/// URI parameter: keep the wal-index in this process's heap instead of a `-shm` file.
pub(crate) const HEAP_WAL_INDEX: &CStr = c"heap_wal_index";

/// SQLite's default VFS, which does all the work and lives as long as the process; null before
/// [`init`].
static ORIGINAL: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(std::ptr::null_mut());
/// The default VFS's methods for a main file, with `xShmMap` and `xShmLock` replaced.
static HEAP_METHODS: OnceLock<PatchedMethods> = OnceLock::new();

/// SQLite's default VFS; `None` before [`init`].
pub(super) fn original() -> Option<*mut ffi::sqlite3_vfs> {
    let original = ORIGINAL.load(Ordering::Acquire);
    (!original.is_null()).then_some(original)
}

/// Prepares SQLite once a process: registers both VFSes, replaces the system calls that change
/// owners and modes, and installs the handler for a truncated `-shm`.
///
/// The system calls are in a table of SQLite's without a lock, so no other thread may use SQLite
/// meanwhile: call it first in `main`. Later calls return the result of the first.
///
/// # Errors
/// SQLite's code when it has no default VFS, does not let the system calls be replaced, or refuses
/// the registration.
pub(crate) fn init() -> Result<(), c_int> {
    static RESULT: OnceLock<Result<(), c_int>> = OnceLock::new();
    *RESULT.get_or_init(|| {
        // SAFETY: initialising is idempotent and thread-safe; a null name asks for the default VFS.
        let original = unsafe {
            match ffi::sqlite3_initialize() {
                ffi::SQLITE_OK => ffi::sqlite3_vfs_find(std::ptr::null()),
                code => return Err(code),
            }
        };
        if original.is_null() {
            return Err(ffi::SQLITE_ERROR);
        }
        ORIGINAL.store(original, Ordering::Release);
        // SAFETY: the default VFS is valid for the life of the process.
        unsafe { replace_system_calls(original) }?;
        shared_memory::protect();
        // SAFETY: as above. Both are leaked on purpose, as SQLite asks of a registered VFS.
        unsafe {
            register(original, READ_ONLY_VFS, |vfs| {
                vfs.xOpen = Some(open_read_only);
                vfs.xDelete = Some(refuse_delete);
                vfs.xSleep = Some(sleep_within_allowance);
            })?;
            register(original, WRITING_VFS, |vfs| vfs.xOpen = Some(open_watched))
        }
    })
}

/// Registers a copy of a VFS with other methods, under a name.
///
/// # Safety
/// `original` is a VFS that lives as long as the process.
unsafe fn register(
    original: *mut ffi::sqlite3_vfs,
    name: &'static CStr,
    change: impl FnOnce(&mut ffi::sqlite3_vfs),
) -> Result<(), c_int> {
    // SAFETY: the struct is plain data, so a bitwise copy with other methods is the documented way
    // to build a shim (https://www.sqlite.org/vfs.html#vfs_shims).
    let mut vfs = unsafe { std::ptr::read(original) };
    vfs.pNext = std::ptr::null_mut();
    vfs.zName = name.as_ptr();
    vfs.szOsFile = shared_memory::file_size_with_own_part(vfs.szOsFile);
    change(&mut vfs);
    // SAFETY: SQLite keeps a registered VFS for the life of the process, and it is leaked for that.
    match unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0) } {
        ffi::SQLITE_OK => Ok(()),
        code => Err(code),
    }
}

/// Limits the memory of all connections of this process together.
///
/// # Errors
/// SQLite's code when it keeps another limit.
pub(crate) fn limit_heap(bytes: i64) -> Result<(), c_int> {
    // SAFETY: the calls take and return numbers. A negative one only asks.
    let limit = unsafe {
        ffi::sqlite3_hard_heap_limit64(bytes);
        ffi::sqlite3_hard_heap_limit64(-1)
    };
    if limit == bytes { Ok(()) } else { Err(ffi::SQLITE_ERROR) }
}

type Untyped = unsafe extern "C" fn();
type ChangeOwner = unsafe extern "C" fn(c_int, libc::uid_t, libc::gid_t) -> c_int;
type ChangeMode = unsafe extern "C" fn(c_int, libc::mode_t) -> c_int;

/// The system calls as SQLite had them before [`replace_system_calls`].
static SYSTEM_CALLS: OnceLock<(ChangeOwner, ChangeMode)> = OnceLock::new();

thread_local! {
    /// How many [`AllowChown`] this thread holds.
    static ALLOWED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// While it lives, SQLite may give the files that it makes on this thread to the owner of the
/// database, as it does by itself when it runs as root: a writer's companion files must not lock
/// the owner out.
pub(crate) struct AllowChown(std::marker::PhantomData<*const ()>);

impl AllowChown {
    pub(crate) fn take() -> Self {
        ALLOWED.with(|held| held.set(held.get() + 1));
        Self(std::marker::PhantomData)
    }
}

impl Drop for AllowChown {
    fn drop(&mut self) {
        ALLOWED.with(|held| held.set(held.get() - 1));
    }
}

/// The original system calls, on a thread that may change owners and modes.
fn original_syscalls() -> Option<&'static (ChangeOwner, ChangeMode)> {
    // A thread that is ending has no locals any more, and writes nothing either.
    let held = ALLOWED.try_with(std::cell::Cell::get).unwrap_or(0);
    if held > 0 { SYSTEM_CALLS.get() } else { None }
}

unsafe extern "C" fn fchown_if_allowed(file: c_int, user: libc::uid_t, group: libc::gid_t) -> c_int {
    // SAFETY: SQLite's own arguments to its own system call.
    original_syscalls().map_or(0, |(change_owner, _)| unsafe { change_owner(file, user, group) })
}

unsafe extern "C" fn fchmod_if_allowed(file: c_int, mode: libc::mode_t) -> c_int {
    // SAFETY: as above.
    original_syscalls().map_or(0, |(_, change_mode)| unsafe { change_mode(file, mode) })
}

/// Replaces the system calls by which SQLite changes owner and mode of files, in the whole process.
///
/// # Errors
/// SQLite's code. A reader that runs as root could change the owner's files then.
///
/// # Safety
/// `vfs` is the default VFS, and no other thread uses SQLite.
unsafe fn replace_system_calls(vfs: *mut ffi::sqlite3_vfs) -> Result<(), c_int> {
    // SAFETY: SQLite casts each pointer back to the system call's own signature before it calls
    // (os_unix.c, aSyscall), and those are the signatures here, in both directions.
    unsafe {
        let (Some(get), Some(set)) = ((*vfs).xGetSystemCall, (*vfs).xSetSystemCall) else {
            return Err(ffi::SQLITE_NOTFOUND);
        };
        let (Some(owner), Some(mode)) = (get(vfs, c"fchown".as_ptr()), get(vfs, c"fchmod".as_ptr())) else {
            return Err(ffi::SQLITE_NOTFOUND);
        };
        SYSTEM_CALLS.get_or_init(|| {
            (
                std::mem::transmute::<Untyped, ChangeOwner>(owner),
                std::mem::transmute::<Untyped, ChangeMode>(mode),
            )
        });
        let own = [
            (c"fchown", std::mem::transmute::<ChangeOwner, Untyped>(fchown_if_allowed)),
            (c"fchmod", std::mem::transmute::<ChangeMode, Untyped>(fchmod_if_allowed)),
        ];
        for (name, call) in own {
            match set(vfs, name.as_ptr(), Some(call)) {
                ffi::SQLITE_OK => {}
                code => return Err(code),
            }
        }
    }
    Ok(())
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
    let Some(original) = original() else {
        return ffi::SQLITE_CANTOPEN;
    };
    let flags = if flags & BELONGS_TO_DATABASE == 0 {
        flags
    } else {
        flags & !(ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE) | ffi::SQLITE_OPEN_READONLY
    };
    // SAFETY: the default VFS has an xOpen; the arguments are SQLite's own, passed on.
    let code = unsafe {
        match (*original).xOpen {
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
        let Some(open) = original().and_then(|original| (*original).xOpen) else {
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

/// Bounds the time that SQLite sleeps on this thread from now on, on connections of the read-only
/// VFS.
///
/// SQLite's own retries for a read lock of a WAL (`walTryBeginRead` in wal.c) sleep for up to 10 s
/// in all and read neither a busy timeout nor a progress handler. Without sleeps the same 100
/// retries end in milliseconds.
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
/// SQLite builds the wal-index in heap memory from the WAL (`walBeginShmUnreliable` in wal.c) and
/// touches no `-shm`. Locks on that file, which is not there, are granted: whether somebody made it
/// meanwhile the caller checks.
unsafe fn keep_wal_index_in_heap(file: *mut ffi::sqlite3_file) {
    // SAFETY: the caller passes an open file, whose method table is static in SQLite.
    unsafe {
        let methods = HEAP_METHODS.get_or_init(|| {
            PatchedMethods::new(file, |methods| {
                methods.xShmMap = Some(refuse_shared_memory);
                methods.xShmLock = Some(grant_lock);
            })
        });
        // Another locking style has another table; then SQLite's own way is kept, which
        // fails to open the missing -shm: an error, no harm.
        if std::ptr::eq((*file).pMethods, methods.original) {
            (*file).pMethods = &raw const methods.patched;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_calls_are_replaced() {
        init().unwrap();
        let vfs = original().unwrap();
        // SAFETY: the default VFS is valid for the life of the process.
        let now = unsafe { (*vfs).xGetSystemCall.map(|get| get(vfs, c"fchown".as_ptr())) };
        let own: Untyped =
            // SAFETY: the same cast as in `replace_system_calls`; the pointers are compared alone.
            unsafe { std::mem::transmute::<ChangeOwner, Untyped>(fchown_if_allowed) };
        assert!(std::ptr::fn_addr_eq(now.flatten().unwrap(), own));
        // Without the right nothing is changed, whatever the descriptor is.
        // SAFETY: the descriptor is none, and the call does nothing.
        assert_eq!(unsafe { fchown_if_allowed(-1, 0, 0) }, 0);
        let _allowed = AllowChown::take();
        // SAFETY: the system refuses the descriptor.
        assert_eq!(unsafe { fchown_if_allowed(-1, 0, 0) }, -1);
    }

    #[test]
    fn system_calls_that_cannot_be_replaced_are_an_error() {
        unsafe extern "C" fn refuse(
            _vfs: *mut ffi::sqlite3_vfs,
            _name: *const c_char,
            _call: ffi::sqlite3_syscall_ptr,
        ) -> c_int {
            ffi::SQLITE_READONLY
        }
        init().unwrap();
        // SAFETY: plain data of the default VFS, which is valid for the life of the process.
        let mut vfs = unsafe { std::ptr::read(original().unwrap()) };
        vfs.xSetSystemCall = Some(refuse);
        // SAFETY: a VFS that changes nothing.
        assert_eq!(unsafe { replace_system_calls(&raw mut vfs) }, Err(ffi::SQLITE_READONLY));
        vfs.xSetSystemCall = None;
        // SAFETY: as above.
        assert_eq!(unsafe { replace_system_calls(&raw mut vfs) }, Err(ffi::SQLITE_NOTFOUND));
    }
}
