//! The time between two holds of the write lock, in which others get their turn.
//!
//! Who waits for a lock sleeps in SQLite's busy handler, tells nobody, and may find the lock taken each time it wakes. So
//! a pause is measured by those sleeps, or by the commits that are seen in it.

use std::time::Duration;
use std::time::Instant;

use super::header::JournalMode;
use super::raw;
use super::writer::Writer;

/// From so many frames in the WAL on, it is checkpointed in a pause: below the 1,000 at which an owner's commit would
/// do it, and pay for what the job wrote.
const CHECKPOINT_FRAMES: u32 = 900;

/// Who has committed and does nothing for so long has no more to write for now. An owner that waited is often late with
/// its next transaction too: to take the lock before that would have it wait for another whole hold.
const QUIET: Duration = Duration::from_millis(1);

/// Who may wait for the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// One connection at the most: when it has committed, nobody waits.
    One,
    /// Any number: whoever commits, others may wait still.
    Any,
}

impl Writer {
    /// Lets others have their turn after a hold, for `ratio` times its length at the least.
    ///
    /// SQLite's busy handler sleeps 1, 2, 5, 10, 15, 20, 25 … ms between its tries, so a pause must be as long as such
    /// a sleep to be met for sure: 5 ms after a hold of 8 ms, 10 ms after one of 18 ms, 15 ms after one of 33 ms. The pause
    /// for a single connection ends when that has committed and is quiet. Among several, one that wakes while another has
    /// the lock sleeps longer next time, and then has no more than a chance: two out of three, as a pause is twice the hold.
    pub fn pause_for_others(&mut self, hold: Duration, ratio: f64, waiting: Waiting) {
        const STEP: Duration = Duration::from_micros(50);
        let begun = Instant::now();
        let least = hold.mul_f64(ratio);
        let most = match waiting {
            Waiting::One => least.max(met_for_sure(hold)),
            Waiting::Any => least.max(met_for_sure(hold)).max(hold * 2),
        };
        let wal = self.journal_mode() == JournalMode::Wal;
        let mut mark = raw::change_mark(self.connection(), wal);
        if let Some(raw::ChangeMark::Wal(_, frames)) = mark
            && frames > CHECKPOINT_FRAMES
        {
            // Passive: it takes no lock that a writer wants. That it could not copy all is no failure of the job.
            let _ = self.connection().query_row("PRAGMA main.wal_checkpoint(PASSIVE)", (), |_| Ok(()));
        }
        let mut committed: Option<Instant> = None;
        while begun.elapsed() < most && !self.budget.cancel.is_cancelled() {
            std::thread::sleep(STEP);
            let now = raw::change_mark(self.connection(), wal);
            if now != mark {
                (mark, committed) = (now, Some(Instant::now()));
            }
            let quiet = committed.is_some_and(|at| at.elapsed() >= QUIET);
            if waiting == Waiting::One && quiet && begun.elapsed() >= least {
                return;
            }
        }
    }
}

/// The longest sleep of SQLite's busy handler that can be under way when a hold of this length ends.
fn met_for_sure(hold: Duration) -> Duration {
    /// When the handler wakes after the first try failed, in milliseconds (`sqliteDefaultBusyCallback`).
    const WAKES: [u64; 8] = [1, 3, 8, 18, 33, 53, 78, 103];
    const MARGIN: Duration = Duration::from_micros(500);
    let mut slept_from = 0;
    for wake in WAKES {
        if hold <= Duration::from_millis(wake) {
            return Duration::from_millis(wake - slept_from) + MARGIN;
        }
        slept_from = wake;
    }
    Duration::from_millis(25) + MARGIN
}
