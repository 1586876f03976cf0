//! A database under watch: its name in the metrics, its files and how it is watched.

use std::ffi::CString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Settings;

/// The label `db`: valid UTF-8, unique among the databases watched, the same after a restart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseName(Arc<str>);

impl DatabaseName {
    /// A name from text that discovery has made unique.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A database that other programs own.
#[derive(Debug, PartialEq)]
pub struct Database {
    /// Its name in every metric.
    pub name: DatabaseName,
    /// The main file, symlinks resolved: SQLite puts the sidecars beside that one.
    pub path: PathBuf,
    /// The main file and its WAL, ready for the system calls of every sweep.
    pub files: DatabaseFiles,
    /// How it is watched.
    pub settings: Arc<Settings>,
    /// The most series that its table and custom collectors may publish.
    pub series_limit: usize,
}

impl Database {
    /// A database at a resolved path.
    #[must_use]
    pub fn new(name: DatabaseName, path: PathBuf, settings: Arc<Settings>, series_limit: usize) -> Self {
        let files = DatabaseFiles::of(&path);
        Self { name, path, files, settings, series_limit }
    }
}

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

/// The suffixes of the files that SQLite keeps beside a database.
pub const SIDECAR_SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Whether a file's name is that of a sidecar.
#[must_use]
pub fn is_sidecar(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    SIDECAR_SUFFIXES.iter().any(|suffix| name.ends_with(suffix.as_bytes()))
}
