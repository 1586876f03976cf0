//! Why a report ends before its checks.

use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::SqliteError;

/// Why a report ends early.
pub(super) enum Failure {
    /// The file itself is the problem.
    Damaged { check: &'static str, problem: String },
    /// The checks could not run.
    Unknown { message: String, kind: Option<ErrorKind> },
}

impl Failure {
    /// Something that is not SQLite's to say.
    pub(super) fn unknown(message: impl ToString) -> Self {
        Self::Unknown { message: message.to_string(), kind: None }
    }

    pub(super) fn of(error: &SqliteError, check: &'static str) -> Self {
        let unknown = |message| Self::Unknown { message, kind: Some(error.kind()) };
        match error.kind() {
            ErrorKind::Sqlite(ErrorCode::Corrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { check, problem: error.to_string() }
            }
            ErrorKind::Sqlite(ErrorCode::Busy | ErrorCode::Locked) => unknown(format!(
                "{error}; another process holds the lock, a later try or a longer --busy-timeout may help"
            )),
            ErrorKind::Sqlite(
                ErrorCode::Io
                | ErrorCode::Full
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::Other,
            )
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Cancelled => unknown(error.to_string()),
        }
    }
}
