//! What can go wrong beside a database, in the words of the metric contract.

use std::fmt;

use rusqlite::ffi;

use crate::limits::QueryLimits;
use crate::span::SpanError;

/// The classes of `sqlite_errors_total{code}`: SQLite's primary result codes that an operator acts
/// on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorCode {
    /// Another connection holds the lock that is needed.
    Busy,
    /// A conflict within one connection or a shared cache.
    Locked,
    /// The content breaks the file format.
    Corrupt,
    /// The file is no SQLite database.
    NotADatabase,
    /// The operating system failed to read or write.
    Io,
    /// The disk is full.
    Full,
    /// The work would need the right to write.
    ReadOnly,
    /// The file could not be opened.
    CannotOpen,
    /// Everything else.
    Other,
}

impl ErrorCode {
    /// Every class, in the order of the exposition.
    pub const ALL: [Self; 9] = [
        Self::Busy,
        Self::Locked,
        Self::Corrupt,
        Self::NotADatabase,
        Self::Io,
        Self::Full,
        Self::ReadOnly,
        Self::CannotOpen,
        Self::Other,
    ];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Busy => "SQLITE_BUSY",
            Self::Locked => "SQLITE_LOCKED",
            Self::Corrupt => "SQLITE_CORRUPT",
            Self::NotADatabase => "SQLITE_NOTADB",
            Self::Io => "SQLITE_IOERR",
            Self::Full => "SQLITE_FULL",
            Self::ReadOnly => "SQLITE_READONLY",
            Self::CannotOpen => "SQLITE_CANTOPEN",
            Self::Other => "other",
        }
    }

    /// The class of a (possibly extended) result code (<https://www.sqlite.org/rescode.html>).
    fn from_code(code: i32) -> Self {
        // The shared memory of the WAL is not ready: the reader came between an owner's open and
        // its first transaction. Only the owner may set it up, and it passes by itself.
        if matches!(
            code,
            ffi::SQLITE_READONLY_CANTINIT | ffi::SQLITE_READONLY_RECOVERY | ffi::SQLITE_READONLY_CANTLOCK
        ) {
            return Self::Busy;
        }
        match code & 0xff {
            ffi::SQLITE_BUSY => Self::Busy,
            ffi::SQLITE_LOCKED => Self::Locked,
            ffi::SQLITE_CORRUPT => Self::Corrupt,
            ffi::SQLITE_NOTADB => Self::NotADatabase,
            ffi::SQLITE_IOERR => Self::Io,
            ffi::SQLITE_FULL => Self::Full,
            ffi::SQLITE_READONLY => Self::ReadOnly,
            ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM => Self::CannotOpen,
            _ => Self::Other,
        }
    }
}

/// Why a piece of work ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// SQLite refused or failed.
    Sqlite(ErrorCode),
    /// The deadline passed.
    DeadlineExceeded,
    /// Somebody asked the work to stop.
    Cancelled,
}

/// A failed operation on a database.
#[derive(Debug, Clone)]
pub struct SqliteError {
    operation: &'static str,
    kind: ErrorKind,
    extended: i32,
    message: String,
}

impl SqliteError {
    /// Wraps what rusqlite reports. For an interrupt, the limits say what caused it.
    pub(super) fn new(operation: &'static str, error: &rusqlite::Error, limits: &QueryLimits) -> Self {
        let (extended, message) = match error {
            rusqlite::Error::SqliteFailure(failure, message) => (
                failure.extended_code,
                message.clone().unwrap_or_else(|| ffi::code_to_str(failure.extended_code).to_owned()),
            ),
            rusqlite::Error::SqlInputError { error, msg, .. } => (error.extended_code, msg.clone()),
            // A value of another type than expected, or text that is not UTF-8. Both are legal
            // content, which no check calls damage; SQLite itself says where a page is damaged.
            rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::Utf8Error(..) => {
                (ffi::SQLITE_MISMATCH, error.to_string())
            }
            other => (ffi::SQLITE_ERROR, other.to_string()),
        };
        let mut new = Self::from_code(operation, extended, message);
        if extended & 0xff == ffi::SQLITE_INTERRUPT {
            new.kind = Self::limit_error(operation, limits).kind;
        }
        new
    }

    /// An exceeded limit, before or during a statement.
    #[must_use]
    pub fn limit_error(operation: &'static str, limits: &QueryLimits) -> Self {
        let kind =
            if limits.cancel.is_cancelled() { ErrorKind::Cancelled } else { ErrorKind::DeadlineExceeded };
        Self { kind, ..Self::from_code(operation, ffi::SQLITE_INTERRUPT, String::new()) }
    }

    /// An error of a bare result code, with SQLite's own words for it when `message` is empty.
    pub(super) fn from_code(operation: &'static str, extended: i32, message: String) -> Self {
        let message = if message.is_empty() { ffi::code_to_str(extended).to_owned() } else { message };
        Self { operation, kind: ErrorKind::Sqlite(ErrorCode::from_code(extended)), extended, message }
    }

    /// The same without a name that the reader of the message knows already.
    pub(super) fn strip_path(mut self, name: &str) -> Self {
        self.message = self.message.replace(&format!(": {name}"), "");
        self
    }

    /// What failed: SQLite, the deadline or somebody's wish.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What SQLite said, without the operation.
    pub(super) fn words(&self) -> &str {
        &self.message
    }

    /// Whether a constraint or a trigger refused a change of some rows.
    #[must_use]
    pub fn is_constraint(&self) -> bool {
        self.extended & 0xff == ffi::SQLITE_CONSTRAINT
    }

    /// Whether the statement needs a collation that only the application has.
    pub(super) fn is_missing_collation(&self) -> bool {
        self.extended == ffi::SQLITE_ERROR_MISSING_COLLSEQ
    }

    /// SQLite's extended result code.
    #[must_use]
    pub fn extended_code(&self) -> i32 {
        self.extended
    }

    /// Whether SQLite's own retries for a read lock of a WAL ended in vain.
    #[must_use]
    pub fn is_locking_protocol(&self) -> bool {
        self.extended & 0xff == ffi::SQLITE_PROTOCOL
    }

    /// Whether the `-shm` was truncated while it was mapped.
    #[must_use]
    pub fn is_lost_shared_memory(&self) -> bool {
        self.extended == ffi::SQLITE_IOERR_SHMMAP
    }

    /// The class for `sqlite_errors_total`; a deadline is no error of the database.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self.kind {
            ErrorKind::Sqlite(code) => Some(code),
            ErrorKind::DeadlineExceeded | ErrorKind::Cancelled => None,
        }
    }
}

impl fmt::Display for SqliteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, kind, extended, message } = self;
        match kind {
            // What a person can do about it stands with the codes whose words alone mislead.
            ErrorKind::Sqlite(_) if *extended == ffi::SQLITE_READONLY_ROLLBACK => write!(
                formatter,
                "{operation}: a hot journal is waiting: the last writer died in a transaction, and only a \
                 connection that may write can roll it back (open the database once with its application or sqlite3)"
            ),
            ErrorKind::Sqlite(_) if self.is_missing_part() => write!(
                formatter,
                "{operation}: {message}; it is the application's own, and only a program that has it can do this"
            ),
            ErrorKind::Sqlite(_) => write!(formatter, "{operation}: {message}"),
            ErrorKind::DeadlineExceeded => {
                write!(formatter, "{operation}: stopped, its time limit was reached")
            }
            ErrorKind::Cancelled => write!(formatter, "{operation}: stopped on request"),
        }
    }
}

impl std::error::Error for SqliteError {}

/// The primary result codes from 0 on (<https://www.sqlite.org/rescode.html>).
const PRIMARY_CODES: [&str; 29] = [
    "SQLITE_OK",
    "SQLITE_ERROR",
    "SQLITE_INTERNAL",
    "SQLITE_PERM",
    "SQLITE_ABORT",
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_NOMEM",
    "SQLITE_READONLY",
    "SQLITE_INTERRUPT",
    "SQLITE_IOERR",
    "SQLITE_CORRUPT",
    "SQLITE_NOTFOUND",
    "SQLITE_FULL",
    "SQLITE_CANTOPEN",
    "SQLITE_PROTOCOL",
    "SQLITE_EMPTY",
    "SQLITE_SCHEMA",
    "SQLITE_TOOBIG",
    "SQLITE_CONSTRAINT",
    "SQLITE_MISMATCH",
    "SQLITE_MISUSE",
    "SQLITE_NOLFS",
    "SQLITE_AUTH",
    "SQLITE_FORMAT",
    "SQLITE_RANGE",
    "SQLITE_NOTADB",
    "SQLITE_NOTICE",
    "SQLITE_WARNING",
];

impl SpanError for SqliteError {
    fn status_code(&self) -> &'static str {
        let primary = usize::try_from(self.extended & 0xff).ok();
        primary.and_then(|code| PRIMARY_CODES.get(code)).copied().unwrap_or("SQLITE_ERROR")
    }

    fn error_type(&self) -> Option<&'static str> {
        match self.kind {
            ErrorKind::Sqlite(_) => Some(self.status_code()),
            ErrorKind::DeadlineExceeded => Some("timeout"),
            ErrorKind::Cancelled => None,
        }
    }
}
