//! Checks whether a directory can store backups and archives.

use std::path::Path;

use crate::os::FileKind;
use crate::os::directory_denied;
use crate::os::stat;
use crate::tasks::space::c_path;

/// Why a directory cannot store files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryError {
    /// The directory does not exist.
    Missing,
    /// The path is not a directory.
    NoDirectory(FileKind),
    /// Its file system is mounted read-only.
    ReadOnly,
    /// This process may not create, list or remove files in it; contains the system's message.
    Denied(String),
    /// The directory could not be examined; contains the system's message.
    Unknown(String),
}

impl std::fmt::Display for DirectoryError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => formatter.write_str(
                "the directory does not exist; create it, or mount its file system (litekeeper does not create it, because it \
                 would fill the wrong disk if a mount is missing)",
            ),
            Self::NoDirectory(kind) => write!(formatter, "this is {}, not a directory", kind.describe()),
            Self::ReadOnly => formatter.write_str("the file system is mounted read-only"),
            Self::Denied(error) => {
                write!(formatter, "litekeeper may not create, list or remove files there: {error}")
            }
            Self::Unknown(error) => formatter.write_str(error),
        }
    }
}

/// Returns why files cannot be stored in a directory, or `None` if they can.
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
