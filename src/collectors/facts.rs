//! What a sample reads of one database.

use std::fmt;
use std::sync::Arc;

use crate::os::FileKind;
use crate::sqlite::ChangeCounter;
use crate::sqlite::ErrorCode;
use crate::sqlite::FileFormat;
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
    /// The name leads to something that is not a regular file.
    NotAFile(FileKind),
    /// `stat` failed.
    Stat(Arc<std::io::Error>),
    /// This process may not read one of its files.
    Denied(&'static str, Arc<std::io::Error>),
    /// The file is no database that SQLite can open.
    Format(FileFormat),
    /// The first page or its header is damaged.
    Damaged(String),
    /// SQLite refused or failed.
    Sqlite(SqliteError),
}

impl DownReason {
    /// The class for `sqlite_errors_total`; a timeout is no error of the database. A file that
    /// never was a database counts as `other`: the classes of damage page as corruption.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Missing | Self::NotAFile(_) | Self::Stat(_) | Self::Denied(..) => {
                Some(ErrorCode::CannotOpen)
            }
            Self::Damaged(_) => Some(ErrorCode::NotADatabase),
            Self::Format(_) => Some(ErrorCode::Other),
            Self::Sqlite(error) => error.code(),
        }
    }

    /// The same for a file that was read as a database before: whatever its bytes look like now, it
    /// is damaged.
    #[must_use]
    pub fn of_former_database(self) -> Self {
        match self {
            Self::Format(FileFormat::Empty) => {
                Self::Damaged("the file is empty and was a database before: it was truncated".to_owned())
            }
            Self::Format(format) => {
                Self::Damaged(format!("the file was a database before, and now: {format}"))
            }
            Self::Missing
            | Self::NotAFile(_)
            | Self::Stat(_)
            | Self::Denied(..)
            | Self::Damaged(_)
            | Self::Sqlite(_) => self,
        }
    }

    /// The name of the reason in `sqlite_down_reason`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotAFile(_) => "not_a_file",
            Self::Stat(_) => "io",
            Self::Denied(..) => "denied",
            Self::Format(format) => format.label(),
            Self::Damaged(_) => "damaged",
            Self::Sqlite(error) => match error.code() {
                Some(ErrorCode::Corrupt | ErrorCode::NotADatabase) => "damaged",
                Some(ErrorCode::Io | ErrorCode::Full) => "io",
                Some(_) | None => "other",
            },
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("no such file"),
            Self::NotAFile(kind) => write!(formatter, "{}, not a database file", kind.describe()),
            Self::Stat(error) => write!(formatter, "stat: {error}"),
            Self::Format(format) => format.fmt(formatter),
            Self::Damaged(words) => formatter.write_str(words),
            Self::Denied(file, error) => write!(formatter, "litekeeper may not read the {file}: {error}"),
            Self::Sqlite(error) => error.fmt(formatter),
        }
    }
}
