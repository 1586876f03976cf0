//! Replacing some of SQLite's own methods of a file.

use rusqlite::ffi;

/// SQLite's methods for a file, and a copy with some of them replaced.
pub(super) struct PatchedMethods {
    pub original: &'static ffi::sqlite3_io_methods,
    pub patched: ffi::sqlite3_io_methods,
}

impl PatchedMethods {
    /// # Safety
    /// `file` was just opened by the default VFS.
    pub(super) unsafe fn new(
        file: *mut ffi::sqlite3_file,
        change: impl FnOnce(&mut ffi::sqlite3_io_methods),
    ) -> Self {
        // SAFETY: the tables of the default VFS are static in SQLite.
        let original = unsafe { &*(*file).pMethods };
        // SAFETY: plain data.
        let mut patched = unsafe { std::ptr::read(original) };
        change(&mut patched);
        Self { original, patched }
    }
}
