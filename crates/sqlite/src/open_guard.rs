//! Ensures that a writer of this process opens or closes a database only while none of its readers
//! has it open.
//!
//! Within one process SQLite shares the WAL's shared memory between connections, and the first
//! decides how it is mapped: beside a reader, who maps it read-only, a writer could not write. And
//! only the last to close tidies up the companion files. So a writer opens and closes a database
//! exclusively; readers get "busy" meanwhile, as if another process held its lock. Between opening
//! and closing, both work side by side.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Condvar;
use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::limits::QueryLimits;

/// How often a waiting writer checks its limits.
const WATCH_PERIOD: Duration = Duration::from_millis(20);

/// The connections of this process to one database.
#[derive(Debug, Default)]
struct OpenCount {
    readers: u32,
    /// A writer is about to open or close it.
    alone: bool,
}

static OPEN_COUNTS: Mutex<Option<HashMap<PathBuf, OpenCount>>> = Mutex::new(None);
static READER_LEFT: Condvar = Condvar::new();

type OpenCounts = HashMap<PathBuf, OpenCount>;

fn with_counts<T>(work: impl FnOnce(&mut OpenCounts) -> T) -> T {
    work(locked().get_or_insert_default())
}

fn locked() -> MutexGuard<'static, Option<OpenCounts>> {
    // The map is whole after every statement here.
    OPEN_COUNTS.lock()
}

fn leave(path: &Path, change: impl FnOnce(&mut OpenCount)) {
    with_counts(|counts| {
        if let Some(count) = counts.get_mut(path) {
            change(count);
            if count.readers == 0 && !count.alone {
                counts.remove(path);
            }
        }
    });
    READER_LEFT.notify_all();
}

/// A reader's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct ReaderGuard(PathBuf);

impl ReaderGuard {
    /// Begins to read; `None` while a writer opens or closes the database.
    pub(super) fn begin(path: &Path) -> Option<Self> {
        with_counts(|counts| {
            let count = counts.entry(path.to_owned()).or_default();
            if count.alone {
                return None;
            }
            count.readers += 1;
            Some(Self(path.to_owned()))
        })
    }
}

impl Drop for ReaderGuard {
    fn drop(&mut self) {
        leave(&self.0, |count| count.readers -= 1);
    }
}

/// The time in which a writer opens or closes a database, until it is dropped.
#[derive(Debug)]
pub(super) struct ExclusiveGuard(PathBuf);

impl ExclusiveGuard {
    /// Waits for the readers to leave and keeps new ones out; `None` if the limits are exceeded
    /// first, or another writer of this process has the database open.
    pub(super) fn begin(path: &Path, limits: &QueryLimits) -> Option<Self> {
        let mut counts = locked();
        let count = counts.get_or_insert_default().entry(path.to_owned()).or_default();
        if count.alone {
            return None;
        }
        // Set before the wait, so that new readers do not come for ever.
        count.alone = true;
        let this = Self(path.to_owned());
        while counts.as_ref().and_then(|counts| counts.get(path)).is_some_and(|count| count.readers > 0) {
            if limits.is_exceeded() {
                drop(counts);
                return None;
            }
            READER_LEFT.wait_for(&mut counts, WATCH_PERIOD);
        }
        drop(counts);
        Some(this)
    }
}

impl Drop for ExclusiveGuard {
    fn drop(&mut self) {
        leave(&self.0, |count| count.alone = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_waits_for_readers_and_keeps_new_ones_out() {
        let path = Path::new("/a database that is not there");
        let reader = ReaderGuard::begin(path).unwrap();
        let waiting = std::thread::spawn(|| {
            let limits = QueryLimits::with_timeout(Duration::from_secs(60));
            drop(ExclusiveGuard::begin(path, &limits).unwrap());
        });
        while ReaderGuard::begin(path).is_some() {
            std::thread::yield_now();
        }
        assert!(!waiting.is_finished());
        drop(reader);
        waiting.join().unwrap();
        assert!(ReaderGuard::begin(path).is_some());
    }

    #[test]
    fn a_writer_that_waits_in_vain_leaves_no_trace() {
        let path = Path::new("/another database that is not there");
        let reader = ReaderGuard::begin(path).unwrap();
        assert!(ExclusiveGuard::begin(path, &QueryLimits::with_timeout(Duration::ZERO)).is_none());
        assert!(ReaderGuard::begin(path).is_some());
        drop(reader);
        assert!(with_counts(|counts| !counts.contains_key(path)));
    }
}
