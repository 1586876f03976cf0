//! The header of a rollback journal, read without a lock.

use std::ffi::CStr;
use std::ffi::c_int;

use rusqlite::ffi;

use super::vfs;

/// Whether a rollback journal holds a header, which SQLite writes before it changes the first page
/// of the main file and takes away, by deleting, truncating or zeroing, when the transaction ends
/// (`writeJournalHdr`, `syncJournal` and `pager_end_transaction` in pager.c;
/// <https://www.sqlite.org/fileformat2.html#the_rollback_journal>).
///
/// No process has locks on a journal, so that opening and closing it drops none.
///
/// # Errors
/// SQLite's code, `SQLITE_CANTOPEN` for a journal that has gone.
pub(crate) fn journal_has_header(path: &CStr) -> Result<bool, c_int> {
    const FLAGS: c_int = ffi::SQLITE_OPEN_READONLY | ffi::SQLITE_OPEN_MAIN_JOURNAL;
    let Some(system) = vfs::original() else { return Err(ffi::SQLITE_CANTOPEN) };
    let mut first = [0_u8; 8];
    // SAFETY: the VFS is valid for the life of the process. The file has the size that it asks for,
    // is aligned like a struct of pointers, zeroed, and closed before it goes; the path ends with a
    // NUL and outlives the file.
    let code = unsafe {
        let words = usize::try_from((*system).szOsFile).unwrap_or(0).div_ceil(size_of::<u64>());
        let mut place = vec![0_u64; words];
        let file: *mut ffi::sqlite3_file = place.as_mut_ptr().cast();
        let Some(open) = (*system).xOpen else { return Err(ffi::SQLITE_CANTOPEN) };
        let code = open(system, path.as_ptr(), file, FLAGS, std::ptr::null_mut());
        if code != ffi::SQLITE_OK || (*file).pMethods.is_null() {
            return Err(code);
        }
        let methods = &*(*file).pMethods;
        let code = methods.xRead.map_or(ffi::SQLITE_IOERR_READ, |read| {
            read(file, first.as_mut_ptr().cast(), c_int::from(first.len() as u8), 0)
        });
        if let Some(close) = methods.xClose {
            close(file);
        }
        code
    };
    match code {
        // What is missing of a journal that has just been made was filled with zeros.
        ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ => Ok(first != [0; 8]),
        code => Err(code),
    }
}
