//! Reading a database page by page, for a copy of our own.

use std::ops::ControlFlow;

use super::blocks::BlockError;
use super::error::SqliteError;
use super::header::Header;
use super::pages::all_pages;
use super::reader::ReadProgress;
use super::reader::Reader;

/// Bytes between two checks of the limits and of the impact on others, and in one write.
const STEP_BYTES: usize = 1024 * 1024;

impl Reader {
    /// Reads every page as it is in the transaction that [`Reader::header`] began, in the order of
    /// the file, and passes them to `write` with the offset in bytes. `go` is called after each
    /// write: the bytes written so far, the part of the whole, and what the transaction does to
    /// others.
    ///
    /// SQLite's backup interface is not used: it changes fields of page 1, so that the copy is not
    /// the database byte for byte, and its first page fits no checksum any more.
    ///
    /// The transaction stays open. Later queries of this reader see the same state.
    ///
    /// # Errors
    /// What `write` returns, `Cancelled`, and what reading can meet.
    pub fn copy_pages(
        &self,
        header: &Header,
        mut write: impl FnMut(u64, &[u8]) -> std::io::Result<()>,
        mut go: impl FnMut(u64, f64, ReadProgress) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, BlockError> {
        const OPERATION: &str = "copy the database";
        let failed = |error: rusqlite::Error| SqliteError::new(OPERATION, &error, &self.limits);
        let page_size = usize::try_from(header.page_size).unwrap_or(usize::MAX);
        let size = u64::from(header.pages) * u64::from(header.page_size);
        let mut statement = all_pages(&self.connection).map_err(failed)?;
        let mut rows = statement.query(()).map_err(failed)?;
        let mut step = Vec::with_capacity(STEP_BYTES);
        let (mut read, mut written) = (0, 0);
        while read < size {
            let row = rows.next().map_err(failed)?;
            let page = row.and_then(|row| row.get_ref(0).ok()?.as_blob().ok());
            let Some(page) = page.filter(|page| page.len() == page_size) else {
                let words = "the database has fewer pages than its header says".to_owned();
                return Err(SqliteError::from_code(OPERATION, rusqlite::ffi::SQLITE_CORRUPT, words).into());
            };
            step.extend_from_slice(page);
            read += page.len() as u64;
            if step.len() < STEP_BYTES && read < size {
                continue;
            }
            write(written, &step)?;
            written = read;
            step.clear();
            if self.limits.is_exceeded() {
                return Err(SqliteError::limit_error(OPERATION, &self.limits).into());
            }
            if go(written, written as f64 / size as f64, self.work_done()).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
