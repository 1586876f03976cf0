//! Why a database could not be scrubbed.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::serde_formats::path_bytes;

/// Why a database could not be scrubbed. It also crosses the pipe from the reader process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Error {
    /// There is no such file, or it is not a regular file.
    #[error("{}: {message}", path.display())]
    NotFound {
        /// The file.
        #[serde(with = "path_bytes")]
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// This user may not read the file.
    #[error("{}: cannot be read: {message}", path.display())]
    PermissionDenied {
        /// The file.
        #[serde(with = "path_bytes")]
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// The disk could not read a part of a file: that is damage too, of a kind that the disk
    /// reports by itself.
    #[error("{}: cannot be read from byte {offset}: {message}", path.display())]
    Read {
        /// The file.
        #[serde(with = "path_bytes")]
        path: PathBuf,
        /// The first byte of the part.
        offset: u64,
        /// What the system says.
        message: String,
    },
    /// The file is empty, or does not begin as an SQLite database.
    #[error("{}: {message}", path.display())]
    NotADatabase {
        /// The file.
        #[serde(with = "path_bytes")]
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Another process scrubs this database.
    #[error("{}: another process is scrubbing this database", path.display())]
    Busy {
        /// The database.
        #[serde(with = "path_bytes")]
        path: PathBuf,
    },
    /// The ledger could not be written or locked.
    #[error("{}: the ledger cannot be used: {message}", path.display())]
    Ledger {
        /// The file of the ledger.
        #[serde(with = "path_bytes")]
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// The reader process cannot be started, ended, or does not respond.
    #[error("the process that reads databases {message}")]
    Reader {
        /// What happened to it.
        message: String,
    },
}

impl Error {
    /// The kind, as a label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::PermissionDenied { .. } => "permission_denied",
            Self::Read { .. } => "read",
            Self::NotADatabase { .. } => "not_a_database",
            Self::Busy { .. } => "busy",
            Self::Ledger { .. } => "ledger",
            Self::Reader { .. } => "reader",
        }
    }

    pub(crate) fn open(path: &Path, error: &io::Error) -> Self {
        let (path, message) = (path.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { path, message },
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound { path, message },
            _ => Self::Read { path, offset: 0, message },
        }
    }

    pub(crate) fn read(path: &Path, offset: u64, error: &io::Error) -> Self {
        Self::Read { path: path.to_owned(), offset, message: error.to_string() }
    }

    pub(crate) fn ledger(path: &Path, error: &io::Error) -> Self {
        Self::Ledger { path: path.to_owned(), message: error.to_string() }
    }

    pub(crate) fn reader(message: impl Into<String>) -> Self {
        Self::Reader { message: message.into() }
    }
}
