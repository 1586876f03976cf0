//! Whether this process may write a database, and whether the owner could go on after it.

use std::ffi::CStr;
use std::io;

use rustix::fs::Access;
use rustix::fs::AtFlags;
use rustix::fs::CWD;

use crate::sidecar::DatabaseFiles;

/// What keeps this process from writing a database: SQLite needs the main file and, for the sidecars, its directory.
#[must_use]
pub fn write_denied(files: &DatabaseFiles, directory: &CStr) -> Option<(&'static str, io::Error)> {
    let needed = [("main file", files.main.as_c_str()), ("directory", directory)];
    needed.into_iter().find_map(|(name, path)| {
        let asked = rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS);
        asked.err().map(|error| (name, error.into()))
    })
}

/// What keeps this process from making, listing and removing files in a directory.
#[must_use]
pub fn directory_denied(directory: &CStr) -> Option<io::Error> {
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(CWD, directory, needed, AtFlags::EACCESS).err().map(io::Error::from)
}

/// Whether sidecar files that this process makes could be used by the database's owner.
///
/// SQLite gives a new `-wal`, `-shm` or `-journal` the mode of the main file, and as root its owner too. Anybody else
/// makes them in its own name; if this process were killed then, they would stay, and an owner who cannot
/// write them could not open the database any more.
///
/// # Errors
/// What the system says of the main file.
pub fn owner_could_use_sidecars(main: &CStr) -> io::Result<bool> {
    const GROUP: u32 = 0o060;
    const OTHERS: u32 = 0o006;
    let stat = rustix::fs::stat(main)?;
    let user = rustix::process::geteuid();
    let group = rustix::process::getegid();
    let allows = |bits: u32| stat.st_mode & bits == bits;
    Ok(user.is_root()
        || user.as_raw() == stat.st_uid
        || group.as_raw() == stat.st_gid && allows(GROUP)
        || allows(OTHERS))
}

/// Whether this process runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
