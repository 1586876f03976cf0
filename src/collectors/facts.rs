//! What a sample reads of one database.

use std::fmt;
use std::sync::Arc;

use crate::os::FileKind;
use crate::sqlite::ChangeCounter;
use crate::sqlite::ENCRYPTED;
use crate::sqlite::ErrorCode;
use crate::sqlite::Header;
use crate::sqlite::SqliteError;
use crate::sqlite::WalFrames;

use super::readings::Readings;

/// What a sample reads from an open database.
#[derive(Debug, Clone)]
pub struct DatabaseFacts {
    /// Header and pager.
    pub header: Header,
    /// The WAL; `None` outside WAL mode and where there is no wal-index to read.
    pub wal: Option<WalFrames>,
    /// Moves with every commit.
    pub change: Option<ChangeCounter>,
    /// The values of the collectors that read with the sample.
    pub readings: Readings,
    /// The collectors that failed. The database is up all the same, as its first page was read.
    pub failures: Vec<SampleFailure>,
}

/// The error of a collector that reads with the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleFailure {
    /// The result code; `None` where a limit of litekeeper ended the read.
    pub code: Option<ErrorCode>,
    /// The message, for the page and the log.
    pub message: String,
}

/// Why a database is down.
#[derive(Debug, Clone)]
pub enum DownReason {
    /// No file has the name.
    Missing,
    /// The name leads to something that is no regular file.
    NotAFile(FileKind),
    /// The file has no content.
    Empty,
    /// `stat` failed.
    Stat(Arc<std::io::Error>),
    /// This process may not read one of its files.
    Denied(&'static str, Arc<std::io::Error>),
    /// The file looks encrypted, and has never been read as a database.
    Encrypted,
    /// SQLite refused or failed.
    Sqlite(SqliteError),
}

impl DownReason {
    /// The class for `sqlite_errors_total`; a timeout is no error of the database. An encrypted
    /// file counts as `other`: the classes of damage page as corruption.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Missing | Self::NotAFile(_) | Self::Stat(_) | Self::Denied(..) => {
                Some(ErrorCode::CannotOpen)
            }
            Self::Empty => Some(ErrorCode::NotADatabase),
            Self::Encrypted => Some(ErrorCode::Other),
            Self::Sqlite(error) => error.code(),
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("no such file"),
            Self::NotAFile(kind) => write!(formatter, "{}, not a database file", kind.describe()),
            Self::Empty => formatter.write_str(
                "the file is empty: its application has not written to it yet, or it was truncated",
            ),
            Self::Stat(error) => write!(formatter, "stat: {error}"),
            Self::Encrypted => formatter.write_str(ENCRYPTED),
            Self::Denied(file, error) => write!(formatter, "litekeeper may not read the {file}: {error}"),
            Self::Sqlite(error) => error.fmt(formatter),
        }
    }
}
