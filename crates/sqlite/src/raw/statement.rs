//! Statements whose text is bytes: rusqlite takes UTF-8 alone, and SQLite's names need not be.

use std::ffi::CStr;
use std::ffi::c_int;

use rusqlite::Connection;
use rusqlite::ffi;

/// A prepared statement.
pub(crate) struct Statement<'connection> {
    statement: *mut ffi::sqlite3_stmt,
    connection: &'connection Connection,
}

impl<'connection> Statement<'connection> {
    /// Prepares the first statement of `sql`.
    ///
    /// # Errors
    /// What SQLite says of it.
    pub fn prepare(connection: &'connection Connection, sql: &[u8]) -> rusqlite::Result<Self> {
        let Ok(length) = c_int::try_from(sql.len()) else {
            return Err(failure(connection, ffi::SQLITE_TOOBIG));
        };
        let mut statement = std::ptr::null_mut();
        // SAFETY: the connection is open, and the text has the length given; SQLite copies what it
        // keeps.
        let code = unsafe {
            ffi::sqlite3_prepare_v2(
                connection.handle(),
                sql.as_ptr().cast(),
                length,
                &raw mut statement,
                std::ptr::null_mut(),
            )
        };
        if code != ffi::SQLITE_OK || statement.is_null() {
            return Err(failure(connection, code));
        }
        Ok(Self { statement, connection })
    }

    /// Goes to the next row; false at the end.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn step(&mut self) -> rusqlite::Result<bool> {
        // SAFETY: the statement lives until the drop.
        match unsafe { ffi::sqlite3_step(self.statement) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            code => Err(failure(self.connection, code)),
        }
    }

    /// The number in a column of the row; `None` for NULL.
    pub fn number(&self, column: c_int) -> Option<i64> {
        // SAFETY: the statement is at a row; SQLite answers NULL for a column that is not there.
        unsafe {
            (ffi::sqlite3_column_type(self.statement, column) != ffi::SQLITE_NULL)
                .then(|| ffi::sqlite3_column_int64(self.statement, column))
        }
    }

    /// The bytes of the text in a column of the row; `None` for NULL.
    pub fn bytes(&self, column: c_int) -> Option<Vec<u8>> {
        // SAFETY: the statement is at a row; the text is copied before anything else is asked of
        // it.
        unsafe {
            if ffi::sqlite3_column_type(self.statement, column) == ffi::SQLITE_NULL {
                return None;
            }
            let text = ffi::sqlite3_column_text(self.statement, column);
            let length = usize::try_from(ffi::sqlite3_column_bytes(self.statement, column)).unwrap_or(0);
            let empty = text.is_null() || length == 0;
            Some(if empty { Vec::new() } else { std::slice::from_raw_parts(text, length).to_vec() })
        }
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: it is finalized once, and the connection is still open.
        unsafe { ffi::sqlite3_finalize(self.statement) };
    }
}

/// The error of the connection's last call.
fn failure(connection: &Connection, code: c_int) -> rusqlite::Error {
    // SAFETY: the connection is open; the text is copied at once.
    let message = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(connection.handle())) };
    let words = message.to_string_lossy().into_owned();
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(words))
}
