//! Who else may want the write lock, as far as it decides how it is shared with them.

use std::ffi::CString;
use std::time::Duration;
use std::time::Instant;

use crate::database::Database;
use crate::host::open_for_writing;
use crate::sqlite::Waiting;
use crate::sqlite::Writer;

/// How often they are counted. A connection that comes meanwhile waits no longer than that to be seen.
const PERIOD: Duration = Duration::from_secs(1);

/// A count may take this part of the time: it reads the descriptors of every process.
const SHARE: u32 = 50;

/// The longest hold while several connections may wait: after less than 8 ms, who waits sleeps 5 ms at the most. Measured
/// with two owners that commit a row every 5 ms each (1 million rows, WAL / rollback): the worst commit was 34 to 53 / 54 to
/// 230 ms late; with holds of 20 ms that only every eighth time were followed by a whole pause 79 to 330 / 104 to 700 ms.
const HOLD_AMONG_SEVERAL: Duration = Duration::from_millis(7);

/// The connections that other processes have to a database.
#[derive(Debug)]
pub(super) struct Neighbours {
    file: CString,
    next_look: Instant,
    waiting: Waiting,
}

impl Neighbours {
    /// Those of a database, counted in the first pause and again and again after it: what begins is small.
    pub(super) fn of(database: &Database) -> Self {
        Self { file: database.files.main.clone(), next_look: Instant::now(), waiting: Waiting::One }
    }

    /// How long a hold is meant to be, where `target` is the user's wish.
    pub(super) fn hold(&self, target: Duration) -> Duration {
        match self.waiting {
            Waiting::One => target,
            Waiting::Any => target.min(HOLD_AMONG_SEVERAL),
        }
    }

    /// Lets them have their turn after a hold.
    pub(super) fn pause(&mut self, writer: &mut Writer, hold: Duration, ratio: f64) {
        self.look();
        writer.pause_for_others(hold, ratio, self.waiting);
    }

    /// Once several were seen, they may come back at any time.
    fn look(&mut self) {
        let begun = Instant::now();
        if self.waiting == Waiting::Any || begun < self.next_look {
            return;
        }
        let connections = open_for_writing(&self.file);
        if connections.is_none_or(|connections| connections > 1) {
            tracing::debug!(
                ?connections,
                "several connections may wait for the lock, so it is held for shorter times"
            );
            self.waiting = Waiting::Any;
        }
        self.next_look = begun + PERIOD.max(begun.elapsed() * SHARE);
    }
}
