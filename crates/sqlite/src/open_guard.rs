//! Who of this process has a database open, so that readers and a writer do not spoil each other's.
//!
//! Within one process SQLite shares the WAL's shared memory between connections, and the first decides how it is
//! mapped: beside a reader, who maps it read-only, a writer could not write. And only the last to close
//! tidies up the sidecars. So a writer opens and closes a database alone; readers are told "busy" meanwhile, as if
//! another process held its lock. In between both go on side by side.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Condvar;
use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::limits::QueryLimits;

/// How often a writer that waits looks whether it was told to stop.
const WATCH_PERIOD: Duration = Duration::from_millis(20);

/// The connections of this process to one database.
#[derive(Debug, Default)]
struct Turn {
    readers: u32,
    /// A writer is about to open or close it.
    alone: bool,
}

static TURNS: Mutex<Option<HashMap<PathBuf, Turn>>> = Mutex::new(None);
static LEFT: Condvar = Condvar::new();

type Turns = HashMap<PathBuf, Turn>;

fn with_turns<T>(work: impl FnOnce(&mut Turns) -> T) -> T {
    work(locked().get_or_insert_default())
}

fn locked() -> MutexGuard<'static, Option<Turns>> {
    // The map is whole after every statement here.
    TURNS.lock()
}

fn leave(path: &Path, change: impl FnOnce(&mut Turn)) {
    with_turns(|turns| {
        if let Some(turn) = turns.get_mut(path) {
            change(turn);
            if turn.readers == 0 && !turn.alone {
                turns.remove(path);
            }
        }
    });
    LEFT.notify_all();
}

/// A reader's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct ReaderTurn(PathBuf);

impl ReaderTurn {
    /// Begins to read; `None` while a writer opens or closes the database.
    pub(super) fn begin(path: &Path) -> Option<Self> {
        with_turns(|turns| {
            let turn = turns.entry(path.to_owned()).or_default();
            if turn.alone {
                return None;
            }
            turn.readers += 1;
            Some(Self(path.to_owned()))
        })
    }
}

impl Drop for ReaderTurn {
    fn drop(&mut self) {
        leave(&self.0, |turn| turn.readers -= 1);
    }
}

/// The time in which a writer opens or closes a database, until it is dropped.
#[derive(Debug)]
pub(super) struct Alone(PathBuf);

impl Alone {
    /// Waits for the readers to leave and keeps new ones out; `None` when the budget ended first, or another
    /// writer of this process is at it.
    pub(super) fn begin(path: &Path, limits: &QueryLimits) -> Option<Self> {
        let mut turns = locked();
        let turn = turns.get_or_insert_default().entry(path.to_owned()).or_default();
        if turn.alone {
            return None;
        }
        // Set before the wait, so that new readers do not come for ever.
        turn.alone = true;
        let this = Self(path.to_owned());
        while turns.as_ref().and_then(|turns| turns.get(path)).is_some_and(|turn| turn.readers > 0) {
            if limits.is_exceeded() {
                drop(turns);
                return None;
            }
            LEFT.wait_for(&mut turns, WATCH_PERIOD);
        }
        drop(turns);
        Some(this)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        leave(&self.0, |turn| turn.alone = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_waits_for_readers_and_keeps_new_ones_out() {
        let path = Path::new("/a database that is not there");
        let reader = ReaderTurn::begin(path).unwrap();
        let waiting = std::thread::spawn(|| {
            let limits = QueryLimits::with_timeout(Duration::from_secs(60));
            drop(Alone::begin(path, &limits).unwrap());
        });
        while ReaderTurn::begin(path).is_some() {
            std::thread::yield_now();
        }
        assert!(!waiting.is_finished());
        drop(reader);
        waiting.join().unwrap();
        assert!(ReaderTurn::begin(path).is_some());
    }

    #[test]
    fn a_writer_that_waits_in_vain_leaves_no_trace() {
        let path = Path::new("/another database that is not there");
        let reader = ReaderTurn::begin(path).unwrap();
        assert!(Alone::begin(path, &QueryLimits::with_timeout(Duration::ZERO)).is_none());
        assert!(ReaderTurn::begin(path).is_some());
        drop(reader);
        assert!(with_turns(|turns| !turns.contains_key(path)));
    }
}
