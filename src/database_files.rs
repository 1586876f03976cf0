//! The files that SQLite keeps beside a database: `-wal`, `-shm`, `-journal`; and `-tshm`, which
//! Turso keeps.
//!
//! Names alone; nothing here touches a file.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The paths of a database's files, as the system calls want them. The two that every sweep needs
/// are kept; the others are made when they are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFiles {
    /// The main file.
    pub main: CString,
    /// The write-ahead log.
    pub wal: CString,
}

impl DatabaseFiles {
    /// The files of a main file.
    #[must_use]
    pub fn of(main: &Path) -> Self {
        Self {
            main: with_suffix(main.as_os_str().as_bytes(), ""),
            wal: with_suffix(main.as_os_str().as_bytes(), "-wal"),
        }
    }

    /// The shared memory of the WAL.
    #[must_use]
    pub fn shm(&self) -> CString {
        with_suffix(self.main.as_bytes(), "-shm")
    }

    /// The shared memory by which processes that use Turso coordinate (its multi-process mode).
    #[must_use]
    pub fn turso_shm(&self) -> CString {
        with_suffix(self.main.as_bytes(), "-tshm")
    }

    /// The rollback journal.
    #[must_use]
    pub fn journal(&self) -> CString {
        with_suffix(self.main.as_bytes(), "-journal")
    }
}

fn with_suffix(path: &[u8], suffix: &str) -> CString {
    let bytes: Vec<u8> = path.iter().copied().chain(suffix.bytes()).collect();
    CString::new(bytes).expect("a path of the system holds no NUL byte")
}

/// The files that SQLite or Turso keep beside a database: suffix and what it is.
pub const COMPANIONS: [(&str, &str); 4] = [
    ("-wal", "the write-ahead log"),
    ("-shm", "the shared memory"),
    ("-journal", "the rollback journal"),
    ("-tshm", "the shared memory of Turso"),
];

/// Whether a file's name is that of a companion file.
#[must_use]
pub fn is_companion(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    COMPANIONS.iter().any(|(suffix, _)| name.ends_with(suffix.as_bytes()))
}
