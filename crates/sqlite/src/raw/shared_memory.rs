//! A `-shm` that another process truncates while it is mapped here.
//!
//! Touching a page of a mapping beyond the end of its file raises SIGBUS, which by default ends the
//! whole process, and with it the watch over all other databases. SQLite has no protection against
//! it on unix. So:
//!
//! 1. The regions of each wal-index that this process has mapped are kept in a table ([`REGIONS`]),
//!    by `xShmMap`.
//! 2. A handler for SIGBUS puts a page of zeros in the place of the one that is gone, if it belongs
//!    to such a region, and marks the region. Every other SIGBUS goes to the handler that was there
//!    before.
//! 3. Zeros in the wal-index make SQLite miss frames of the WAL, and read older pages from the main
//!    file in their place. So from then on each read, write and sync of that main file fails with
//!    `SQLITE_IOERR_SHMMAP`: no page that was looked up in zeros reaches a result, a transaction or
//!    a checkpoint. [`is_lost`] tells what remains to be asked: whether an answer was finished from
//!    pages that were in the cache.
//!
//! Once every connection of this process to the database is closed, SQLite drops the mapping and
//! the marks go with it.

use std::ffi::c_int;
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use rusqlite::ffi;

use super::io_methods::PatchedMethods;
use super::page_reads;

/// One mapped region of a wal-index.
struct Region {
    /// Its first address; 0 for a free place.
    start: AtomicUsize,
    bytes: AtomicUsize,
    /// Open files of SQLite that use it. Changed under [`CHANGES`] alone.
    users: AtomicU32,
    /// A page of it was beyond the end of its file.
    lost: AtomicBool,
}

/// Regions that can be mapped at a time, each of 32 KiB for 4,096 frames of a WAL.
const MAX_REGIONS: usize = 4096;

static REGIONS: [Region; MAX_REGIONS] = [const {
    Region {
        start: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        users: AtomicU32::new(0),
        lost: AtomicBool::new(false),
    }
}; MAX_REGIONS];
/// Places of the table that were ever used, from the first on.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Held by those who add and remove regions. The signal handler only reads.
static CHANGES: Mutex<()> = Mutex::new(());
/// Whether any page was ever lost; until then nothing is looked up.
static ANY_LOST: AtomicBool = AtomicBool::new(false);

/// The regions that an open file uses.
struct FileRegions {
    /// Their places in the table.
    places: Vec<usize>,
    /// The first region, which begins with the header; null until it is mapped.
    header: *mut c_void,
}

impl Default for FileRegions {
    fn default() -> Self {
        Self { places: Vec::new(), header: std::ptr::null_mut() }
    }
}

/// The state before [`protect`].
struct PreviousState {
    action: libc::sigaction,
    /// The size of a memory page.
    page: usize,
}

static PREVIOUS: OnceLock<PreviousState> = OnceLock::new();

/// Installs the handler, once a process.
pub(super) fn protect() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // SAFETY: plain system calls with valid arguments; `sigaction` is plain data, for which
        // zeros are valid.
        unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before) != 0 {
                return;
            }
            // Known before the handler can run.
            if PREVIOUS.set(PreviousState { action: before, page }).is_err() {
                return;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_bus_error as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
        }
    });
}

/// Runs in the thread that touched the page, in the middle of an instruction: it may only read
/// atomics and call the system (signal-safety(7); `mmap` is a bare system call here).
unsafe extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    /// `si_code` for an address without anything behind it, as asm-generic/siginfo.h has it.
    const BUS_ADRERR: c_int = 2;
    let Some(PreviousState { action, page }) = PREVIOUS.get() else { return };
    // SAFETY: the kernel passes a valid siginfo; for a SIGBUS of its own it holds the address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code == BUS_ADRERR
        && let Some(region) = region_at(address)
    {
        region.lost.store(true, Ordering::SeqCst);
        ANY_LOST.store(true, Ordering::SeqCst);
        let start = (address & !(page - 1)) as *mut c_void;
        // SAFETY: the page belongs to a mapping that SQLite keeps for as long as the region is in
        // the table; it is replaced as a whole, and SQLite unmaps it like the rest. `errno` of the
        // interrupted code is put back.
        let replaced = unsafe {
            let errno = *libc::__errno_location();
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let replaced = libc::mmap(start, *page, protection, flags, -1, 0);
            *libc::__errno_location() = errno;
            replaced
        };
        if replaced != libc::MAP_FAILED {
            return;
        }
    }
    // SAFETY: the action as it was. A fault comes again when the instruction does; a signal that a
    // process sent is raised again, and delivered when this handler returns.
    unsafe {
        libc::sigaction(signal, action, std::ptr::null_mut());
        if code <= 0 {
            libc::raise(signal);
        }
    }
}

fn region_at(address: usize) -> Option<&'static Region> {
    REGIONS[..USED.load(Ordering::SeqCst).min(MAX_REGIONS)].iter().find(|region| {
        let start = region.start.load(Ordering::SeqCst);
        start != 0 && (start..start + region.bytes.load(Ordering::SeqCst)).contains(&address)
    })
}

/// Adds a region for one more file; its place, `None` when the table is full.
fn add_region(start: usize, bytes: usize) -> Option<usize> {
    let _changes = CHANGES.lock();
    let at = |wanted: usize| REGIONS.iter().position(|region| region.start.load(Ordering::SeqCst) == wanted);
    // The same address is the same region, as connections of one process share a mapping.
    let place = at(start).or_else(|| at(0))?;
    let region = &REGIONS[place];
    if region.users.fetch_add(1, Ordering::SeqCst) == 0 {
        region.lost.store(false, Ordering::SeqCst);
        region.bytes.store(bytes, Ordering::SeqCst);
        region.start.store(start, Ordering::SeqCst);
        USED.fetch_max(place + 1, Ordering::SeqCst);
    }
    Some(place)
}

fn remove_region(place: usize) {
    let _changes = CHANGES.lock();
    let region = &REGIONS[place];
    if region.users.fetch_sub(1, Ordering::SeqCst) == 1 {
        region.start.store(0, Ordering::SeqCst);
    }
}

/// SQLite's methods for a main file, and the same with those replaced that this module needs.
static METHODS: OnceLock<PatchedMethods> = OnceLock::new();
/// Where our own part of an open file begins, after SQLite's.
static OWN_PART_OFFSET: AtomicUsize = AtomicUsize::new(0);

/// The size of an open file with space for our own part, for a VFS whose `xOpen` calls
/// [`watch_file`].
pub(super) fn file_size_with_own_part(original: c_int) -> c_int {
    let start = usize::try_from(original).unwrap_or(0).next_multiple_of(align_of::<*mut FileRegions>());
    OWN_PART_OFFSET.store(start, Ordering::SeqCst);
    c_int::try_from(start + size_of::<*mut FileRegions>()).unwrap_or(original)
}

/// Has the regions that a main file maps entered into the table from now on.
///
/// # Safety
/// `file` was just opened as a main file by the default VFS, in a place of
/// [`file_size_with_own_part`] bytes.
pub(super) unsafe fn watch_file(file: *mut ffi::sqlite3_file) {
    // SAFETY: the caller passes an open file, whose method table is static in SQLite.
    unsafe {
        let methods = METHODS.get_or_init(|| {
            PatchedMethods::new(file, |methods| {
                methods.xClose = Some(close);
                methods.xRead = Some(read);
                methods.xWrite = Some(write);
                methods.xSync = Some(sync);
                methods.xShmMap = Some(map);
                methods.xShmUnmap = Some(unmap);
            })
        });
        // Another locking style has another table; it is left as it is.
        if std::ptr::eq((*file).pMethods, methods.original) && methods.original.iVersion >= 2 {
            own_part(file).write(std::ptr::null_mut());
            (*file).pMethods = &raw const methods.patched;
        }
    }
}

unsafe fn own_part(file: *mut ffi::sqlite3_file) -> *mut *mut FileRegions {
    // SAFETY: the caller's file has space for it there, see `file_size_with_own_part`.
    unsafe { file.byte_add(OWN_PART_OFFSET.load(Ordering::SeqCst)).cast() }
}

/// Whether a part of the wal-index that a main file has mapped is gone. What was read since the
/// mapping is then no state of the database.
///
/// # Safety
/// `file` is an open main file.
pub(super) unsafe fn is_lost(file: *mut ffi::sqlite3_file) -> bool {
    if !ANY_LOST.load(Ordering::SeqCst) {
        return false;
    }
    // SAFETY: passed on.
    unsafe { regions_of(file) }
        .is_some_and(|regions| regions.places.iter().any(|place| REGIONS[*place].lost.load(Ordering::SeqCst)))
}

/// Where the wal-index header is that SQLite has mapped for a main file, for as long as the file
/// stays open and in WAL mode; `None` where there is none. The file's own `xShmMap` could open or
/// create a `-shm` instead.
///
/// # Safety
/// `file` is null or an open main file.
pub(super) unsafe fn mapped_header(file: *mut ffi::sqlite3_file) -> Option<*mut c_void> {
    // SAFETY: passed on.
    let header = unsafe { regions_of(file) }?.header;
    (!header.is_null()).then_some(header)
}

/// # Safety
/// `file` is null or an open main file, on the thread that uses its connection.
unsafe fn regions_of<'f>(file: *mut ffi::sqlite3_file) -> Option<&'f FileRegions> {
    let methods = METHODS.get()?;
    // SAFETY: a file with our methods has our part; the list belongs to the file, which one thread
    // uses at a time.
    unsafe {
        if file.is_null() || !std::ptr::eq((*file).pMethods, &raw const methods.patched) {
            return None;
        }
        (*own_part(file)).as_ref()
    }
}

unsafe fn forget_regions(file: *mut ffi::sqlite3_file) {
    // SAFETY: called from a method of ours, so the file has our part; the list was made by
    // `Box::into_raw` below.
    unsafe {
        let regions = std::mem::replace(&mut *own_part(file), std::ptr::null_mut());
        if !regions.is_null() {
            Box::from_raw(regions).places.into_iter().for_each(remove_region);
        }
    }
}

/// SQLite's own methods, which are there: `watch_file` saw them.
fn original() -> Option<&'static ffi::sqlite3_io_methods> {
    METHODS.get().map(|methods| methods.original)
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite's own argument, passed on; the mapping is not used after this call.
    unsafe {
        forget_regions(file);
        original().and_then(|own| own.xClose).map_or(ffi::SQLITE_OK, |close| close(file))
    }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, bytes: c_int, at: i64) -> c_int {
    // SAFETY: SQLite's own arguments, passed on.
    unsafe {
        let code = original()
            .and_then(|own| own.xRead)
            .map_or(ffi::SQLITE_IOERR_READ, |read| read(file, to, bytes, at));
        if is_lost(file) {
            return ffi::SQLITE_IOERR_SHMMAP;
        }
        if code == ffi::SQLITE_OK {
            page_reads::show(file, to, bytes, at);
        }
        code
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    bytes: c_int,
    at: i64,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        if is_lost(file) {
            return ffi::SQLITE_IOERR_SHMMAP;
        }
        original()
            .and_then(|own| own.xWrite)
            .map_or(ffi::SQLITE_IOERR_WRITE, |write| write(file, from, bytes, at))
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: as above.
    unsafe {
        let code =
            original().and_then(|own| own.xSync).map_or(ffi::SQLITE_IOERR_FSYNC, |sync| sync(file, flags));
        if is_lost(file) { ffi::SQLITE_IOERR_SHMMAP } else { code }
    }
}

unsafe extern "C" fn map(
    file: *mut ffi::sqlite3_file,
    number: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite's own arguments, passed on; `out` is a valid place for the answer.
    unsafe {
        let code = original()
            .and_then(|own| own.xShmMap)
            .map_or(ffi::SQLITE_IOERR_SHMMAP, |map| map(file, number, bytes, extend, out));
        let start = *out as usize;
        if !matches!(code, ffi::SQLITE_OK | ffi::SQLITE_READONLY) || start == 0 {
            return code;
        }
        let own = own_part(file);
        if (*own).is_null() {
            own.write(Box::into_raw(Box::default()));
        }
        let regions = &mut **own;
        if number == 0 {
            regions.header = *out;
        }
        if regions.places.iter().all(|place| REGIONS[*place].start.load(Ordering::SeqCst) != start) {
            let Some(place) = add_region(start, usize::try_from(bytes).unwrap_or(0)) else {
                *out = std::ptr::null_mut();
                return ffi::SQLITE_NOMEM;
            };
            regions.places.push(place);
        }
        code
    }
}

unsafe extern "C" fn unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: SQLite's own arguments, passed on; it does not use the mapping after this call.
    unsafe {
        forget_regions(file);
        original().and_then(|own| own.xShmUnmap).map_or(ffi::SQLITE_OK, |unmap| unmap(file, delete))
    }
}
