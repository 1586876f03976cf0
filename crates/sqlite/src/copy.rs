//! Copying a database, page by page, into a file of our own.

use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::backup::Backup;
use rusqlite::backup::StepResult;

use super::error::SqliteError;
use super::reader::ReadProgress;
use super::reader::Reader;
use super::reader::uri_of;

/// Pages copied between two checks of the limits and of the impact on others.
const STEP_BYTES: u32 = 1024 * 1024;

impl Reader {
    /// Copies every page as it is in the transaction that [`Reader::header`] began, into an empty
    /// file that is there already. `go` is called with each step: the bytes copied so far, the part
    /// of the whole, and what the transaction does to others. The copy is not synced.
    ///
    /// The transaction stays open, so all steps copy one state of the database and never start
    /// again because of other writers. Later queries of this reader see the same state.
    ///
    /// # Errors
    /// `Full` when the disk under the copy is, `Cancelled`, and what reading can meet.
    pub fn copy_into(
        &self,
        target: &Path,
        page_size: u32,
        mut go: impl FnMut(u64, f64, ReadProgress) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SqliteError> {
        const OPERATION: &str = "copy the database";
        let failed = |error: rusqlite::Error| SqliteError::new(OPERATION, &error, &self.limits);
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        #[expect(clippy::disallowed_methods, reason = "the copy is our own file")]
        let mut copy = Connection::open_with_flags(uri_of(target), flags).map_err(failed)?;
        // Nothing of it counts before it is complete, synced and verified, so it needs neither
        // journal nor syncs.
        copy.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF",
        )
        .map_err(failed)?;
        let pages_a_step = i32::try_from((STEP_BYTES / page_size.max(1)).max(1)).unwrap_or(1);
        let backup = Backup::new(&self.connection, &mut copy).map_err(failed)?;
        loop {
            if self.limits.is_exceeded() {
                return Err(SqliteError::limit_error(OPERATION, &self.limits));
            }
            match backup.step(pages_a_step).map_err(failed)? {
                StepResult::Done => return Ok(ControlFlow::Continue(())),
                StepResult::More => {}
                StepResult::Busy | StepResult::Locked | _ => {
                    let code = rusqlite::ffi::SQLITE_BUSY;
                    return Err(SqliteError::from_code(OPERATION, code, String::new()));
                }
            }
            let progress = backup.progress();
            // SQLite counts pages in 32 bits without a sign, and gives them as C ints.
            let (all, left) = (progress.pagecount.cast_unsigned(), progress.remaining.cast_unsigned());
            let done = all.saturating_sub(left);
            let share = f64::from(done) / f64::from(all.max(1));
            if go(u64::from(done) * u64::from(page_size), share, self.work_done()).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}
