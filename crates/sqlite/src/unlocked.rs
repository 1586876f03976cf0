//! Reading a rollback database without a lock: what proves that nobody wrote meanwhile.
//!
//! A reader's SHARED lock makes the commit of an owner without a busy timeout fail. Without one,
//! pages can change under the reader, so what it reads counts only between two equal marks. It must
//! never take a lock, and never report what it read without the second mark.

use std::ffi::CStr;

use super::error::SqliteError;
use super::header::HEADER_BYTES;
use super::header::JournalMode;
use super::header::RawHeader;
use super::raw;
use super::reader::Reader;

/// The header of the main file, whose change counter moves with each commit to a rollback database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderSnapshot([u8; HEADER_BYTES]);

impl HeaderSnapshot {
    /// The journal mode in which the database was written last.
    #[must_use]
    pub fn journal_mode(&self) -> JournalMode {
        RawHeader::parse(&self.0).journal_mode
    }
}

/// What other processes do to a rollback database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// The main file holds the last commit, and nobody changes its pages.
    AtRest(HeaderSnapshot),
    /// The same, but a write transaction is open, which has not reached the main file yet. With
    /// `locking_mode=EXCLUSIVE` its commits need not move the mark.
    Open(HeaderSnapshot),
    /// A writer is at work: its pages may have reached the main file.
    Writing,
    /// A journal with a header and no writer: one that died left it, and SQLite has to roll it
    /// back.
    Hot,
}

impl SqliteError {
    /// A writer that was at work for as long as a reader without a lock waited for its end.
    #[must_use]
    pub fn writer_at_work() -> Self {
        let message = "another process is writing".to_owned();
        Self::from_code("read without a lock", rusqlite::ffi::SQLITE_BUSY, message)
    }
}

impl Reader {
    /// Looks at what others do, without a lock: the header twice, the journal in between, and
    /// whether somebody holds RESERVED (`F_GETLK`, which takes nothing). `journal` is asked for the
    /// journal's path, if there is a journal with content.
    ///
    /// A transaction changes the main file only under EXCLUSIVE, with RESERVED before it, and
    /// except for the journal modes MEMORY and OFF only while its journal has a header. So a
    /// journal without a header, or no journal and no lock, mean that nobody changes pages, and
    /// equal marks before and after that none was changed in between: each commit moves the
    /// counter.
    ///
    /// # Errors
    /// The header cannot be read.
    pub fn activity<'a>(&self, journal: impl FnOnce() -> Option<&'a CStr>) -> Result<Activity, SqliteError> {
        let before = self.mark()?;
        // One that cannot be opened has gone this moment, or may not be read: then nothing is known
        // of it.
        let journal = journal().map(|path| raw::journal_has_header(path).unwrap_or(true));
        let reserved = raw::is_reserved(&self.connection);
        Ok(match journal {
            Some(true) if !reserved => Activity::Hot,
            Some(true) => Activity::Writing,
            None if reserved => Activity::Writing,
            Some(false) | None if self.mark()? != before => Activity::Writing,
            Some(false) if reserved => Activity::Open(before),
            Some(false) | None => Activity::AtRest(before),
        })
    }

    /// The header as it is now.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn mark(&self) -> Result<HeaderSnapshot, SqliteError> {
        raw::read_header(&self.connection)
            .map(HeaderSnapshot)
            .map_err(|code| SqliteError::from_code("read the header", code, String::new()))
    }

    /// Whether all that was read since the database was opened came from page 1, which a commit
    /// changes as a whole.
    #[must_use]
    pub fn has_read_page_one_alone(&self) -> bool {
        self.work_done().pages_read <= 1
    }
}
