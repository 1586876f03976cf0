//! The processes that read databases for scrubs.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use litekeeper_scrub::Error;
use litekeeper_scrub::LedgerDirectory;
use litekeeper_scrub::Outcome;
use litekeeper_scrub::Preview;
use litekeeper_scrub::Progress;
use litekeeper_scrub::Reader;
use litekeeper_scrub::ScrubRequest;
use parking_lot::Mutex;

/// How long a scrub waits for a ledger that another process has.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Idle reader processes. A scrub takes one, or starts one: as many are kept as scrubs ran at the
/// same time, and each reads one database after the other.
#[derive(Debug, Default)]
pub struct ReaderPool(Mutex<Vec<Reader>>);

impl ReaderPool {
    /// Scrubs a database, or continues a scrub that was stopped.
    ///
    /// # Errors
    /// See [`Reader::scrub`].
    pub fn scrub(
        &self,
        request: &ScrubRequest,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Outcome, Error> {
        let begun = Instant::now();
        loop {
            match self.with(|reader| reader.scrub(request, progress)) {
                // The agent that follows the WAL has the ledger for milliseconds.
                Err(Error::Busy { .. }) if begun.elapsed() < BUSY_TIMEOUT => std::thread::sleep(BUSY_PAUSE),
                result => return result,
            }
        }
    }

    /// Notes the pages that the WAL of a database says were written since the last scrub.
    ///
    /// # Errors
    /// Why the WAL or the ledger could not be read.
    pub fn follow(&self, database: &Path, ledgers: &Path) -> Result<(), Error> {
        let request = ScrubRequest::new(database, LedgerDirectory::new(ledgers));
        self.with(|reader| reader.follow(&request)).map(|_| ())
    }

    /// What a scrub would do.
    ///
    /// # Errors
    /// See [`Reader::preview`].
    pub fn preview(&self, request: &ScrubRequest) -> Result<Preview, Error> {
        self.with(|reader| reader.preview(request))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Reader) -> Result<T, Error>) -> Result<T, Error> {
        let idle = std::iter::from_fn(|| self.0.lock().pop()).find_map(|mut reader| {
            // One that ended meanwhile is replaced.
            (!reader.is_gone()).then_some(reader)
        });
        let mut reader = idle.map_or_else(Reader::spawn, Ok)?;
        let result = work(&mut reader);
        if !reader.is_gone() {
            self.0.lock().push(reader);
        }
        result
    }
}
