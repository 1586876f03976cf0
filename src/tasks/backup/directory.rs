//! Whether backups and archives can be kept in a directory.

use std::path::Path;

use crate::os::FileKind;
use crate::os::directory_denied;
use crate::os::stat;
use crate::tasks::space::c_path;

/// Why nothing can be kept in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryError {
    /// There is none.
    Missing,
    /// Something else has its name.
    NoDirectory(FileKind),
    /// Its file system is mounted read-only.
    ReadOnly,
    /// This process may not make, list or remove files in it; the system's words.
    Denied(String),
    /// The system does not tell; its words.
    Unknown(String),
}

impl std::fmt::Display for DirectoryError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => formatter.write_str(
                "there is no such directory; make it, or mount what belongs there (litekeeper makes none, as it would fill \
                 the wrong disk)",
            ),
            Self::NoDirectory(kind) => write!(formatter, "it is {}, no directory", kind.describe()),
            Self::ReadOnly => formatter.write_str("its file system is mounted read-only"),
            Self::Denied(error) => write!(formatter, "litekeeper may not keep files there: {error}"),
            Self::Unknown(error) => formatter.write_str(error),
        }
    }
}

/// What keeps backups from being kept in a directory.
#[must_use]
pub fn directory_error(directory: &Path) -> Option<DirectoryError> {
    let path = c_path(directory);
    match stat(&path) {
        Ok(Some(found)) if found.kind == FileKind::Directory => {
            directory_denied(&path).map(|error| match error.kind() {
                std::io::ErrorKind::ReadOnlyFilesystem => DirectoryError::ReadOnly,
                _ => DirectoryError::Denied(error.to_string()),
            })
        }
        Ok(Some(found)) => Some(DirectoryError::NoDirectory(found.kind)),
        Ok(None) => Some(DirectoryError::Missing),
        Err(error) => Some(DirectoryError::Unknown(error.to_string())),
    }
}
