//! Whether another process holds the write lock of a WAL database, asked without taking it.

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::Flock;
use rustix::process::FlockType;
use rustix::process::fcntl_getlk;

/// The byte of the `-shm` file that a writer of a WAL database locks: `UNIX_SHM_BASE` plus
/// `WAL_WRITE_LOCK` (<https://www.sqlite.org/walformat.html#wal_locks>).
const WRITE_LOCK_BYTE: u64 = 120;

/// SQLite's own descriptor of a database's `-shm` file.
///
/// Opening that file once more and closing it would drop SQLite's locks, so the descriptor that is
/// open already is searched for. It must not be used after the connection that opened the file is
/// closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalWriteLock(RawFd);

impl WalWriteLock {
    /// Finds it, while a connection of this process has the database open in WAL mode. `None`
    /// without `/proc`.
    pub(crate) fn find(database: &Path) -> Option<Self> {
        let mut shm = database.as_os_str().as_bytes().to_vec();
        shm.extend_from_slice(b"-shm");
        let file = rustix::fs::stat(CString::new(shm).ok()?.as_c_str()).ok()?;
        for entry in std::fs::read_dir("/proc/self/fd").ok()?.flatten() {
            let link = entry.path();
            let is_it = rustix::fs::stat(&link)
                .is_ok_and(|open| (open.st_dev, open.st_ino) == (file.st_dev, file.st_ino));
            if let Some(number) =
                entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_it)
            {
                return Some(Self(number));
            }
        }
        None
    }

    /// Whether another process holds the lock now.
    pub(crate) fn is_held(self) -> bool {
        // SAFETY: the caller keeps the connection open, and with it the descriptor; the call asks
        // the system (F_GETLK) and changes nothing, also where the number should stand for another
        // file by now.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.0) };
        let mut wanted = Flock::from(FlockType::WriteLock);
        (wanted.start, wanted.length) = (WRITE_LOCK_BYTE, 1);
        matches!(fcntl_getlk(descriptor, &wanted), Ok(Some(_)))
    }
}
