//! Owners of files, the credentials of this process, and the options of the mount.

use std::ffi::CStr;
use std::io;

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;

/// Owner, group and mode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The user who owns it.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// The permission bits, `0o7777` at the most.
    pub mode: u32,
    /// Names under which it can be reached.
    pub links: u64,
    /// Bytes.
    pub size: u64,
}

/// Reads the owner of a file, following symbolic links; `None` if it does not exist.
///
/// # Errors
/// What the system says.
pub fn ownership(path: &CStr) -> io::Result<Option<Ownership>> {
    match rustix::fs::stat(path) {
        Ok(stat) => Ok(Some(Ownership {
            user: stat.st_uid,
            group: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            #[allow(clippy::useless_conversion, reason = "it has 32 bits on some machines")]
            links: u64::from(stat.st_nlink),
            size: u64::try_from(stat.st_size).unwrap_or(0),
        })),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The effective user of this process.
#[must_use]
pub fn effective_user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What the mount under a directory is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount {
    /// Bytes that the file system writes at once at the least.
    pub block_bytes: u64,
    /// Whether nothing can be written through it.
    pub read_only: bool,
}

/// Asks for the mount under a directory. It may hang as long as the file system does.
///
/// # Errors
/// What the system says.
pub fn mount(directory: &CStr) -> io::Result<Mount> {
    let facts = rustix::fs::statvfs(directory)?;
    Ok(Mount { block_bytes: facts.f_frsize, read_only: facts.f_flag.contains(StatVfsMountFlags::RDONLY) })
}
