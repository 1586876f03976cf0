//! The file handle that SQLite has open.

use std::ffi::c_int;

use rusqlite::Connection;
use rusqlite::ffi;

/// The open main file of a connection.
pub(super) fn main_file(connection: &Connection) -> Result<*mut ffi::sqlite3_file, c_int> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: the connection is open; the opcode writes one pointer to `file`.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        )
    };
    // SAFETY: checked for null before it is read.
    if code != ffi::SQLITE_OK || file.is_null() || unsafe { (*file).pMethods.is_null() } {
        return Err(if code == ffi::SQLITE_OK { ffi::SQLITE_CANTOPEN } else { code });
    }
    Ok(file)
}
