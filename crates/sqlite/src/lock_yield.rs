//! The pause between two holds of the write lock, in which other writers commit.
//!
//! A waiting writer sleeps in SQLite's busy handler, where it cannot be seen, and may find the lock
//! taken each time it wakes. So the length of a pause follows those sleeps, or the commits that are
//! seen in it.

use std::time::Duration;
use std::time::Instant;

use super::header::JournalMode;
use super::raw;
use super::writer::Writer;
use super::writer::sleep;

/// From so many frames in the WAL on, it is checkpointed in a pause: below the 1,000 at which an
/// owner's commit would do it, and pay for what the job wrote.
pub(super) const CHECKPOINT_FRAMES: u32 = 900;

/// Who has committed and does nothing for so long has no more to write for now. An owner that
/// waited is often late with its next transaction too: to take the lock before that would have it
/// wait for another whole hold.
const IDLE_AFTER_COMMIT: Duration = Duration::from_micros(500);

/// SQLite's busy handler sleeps no longer than this between two tries
/// (`sqliteDefaultBusyCallback`).
const MAX_BUSY_SLEEP: Duration = Duration::from_millis(100);

/// How many connections may wait for the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contention {
    /// One connection, or none: when it has committed, nobody waits.
    Single,
    /// Any number: others may still wait after one has committed.
    Many,
}

impl Contention {
    /// How long a pause lasts after a hold.
    ///
    /// SQLite's busy handler sleeps 1, 2, 5, 10, 15, 20, 25 … ms between its tries, so a pause must
    /// be as long as such a sleep to be met for sure: 5 ms after a hold of 8 ms, 10 ms after one of
    /// 18 ms, 15 ms after one of 33 ms. Among several, one that wakes while another has the lock
    /// sleeps longer next time, and then has no more than a chance: two out of three, as a pause is
    /// twice the hold.
    fn pause(self, hold: Duration) -> Duration {
        match self {
            Self::Single => max_busy_sleep(hold),
            Self::Many => max_busy_sleep(hold).max((hold * 2).min(MAX_BUSY_SLEEP)),
        }
    }
}

impl Writer {
    /// Yields the lock to other writers after a hold, for `ratio` times its length at the least. A
    /// pause for a single connection ends when that has committed and is quiet.
    pub fn yield_lock(&mut self, hold: Duration, ratio: f64, waiting: Contention) {
        let begun = Instant::now();
        let least = hold.mul_f64(ratio);
        let most = least.max(waiting.pause(hold));
        let mark = raw::change_counter(self.connection(), self.journal_mode());
        self.checkpoint_if_due();
        match waiting {
            Contention::Single => self.await_commit(mark, begun + least, begun + most),
            Contention::Many => {
                sleep(most.saturating_sub(begun.elapsed()), &self.limits);
            }
        }
    }

    /// Waits until another connection has committed and is quiet, between two moments.
    fn await_commit(&self, mut mark: Option<raw::ChangeCounter>, earliest: Instant, latest: Instant) {
        const STEP: Duration = Duration::from_micros(50);
        let wal = self.journal_mode() == JournalMode::Wal;
        let mut committed: Option<Instant> = None;
        while Instant::now() < latest && !self.limits.is_exceeded() {
            std::thread::sleep(STEP);
            let now = raw::change_counter(self.connection(), self.journal_mode());
            // The counter in the file moves before a commit in rollback mode has synced it.
            if now != mark || committed.is_some() && !wal && raw::is_reserved(self.connection()) {
                (mark, committed) = (now, Some(Instant::now()));
            }
            if Instant::now() >= earliest && committed.is_some_and(|at| at.elapsed() >= IDLE_AFTER_COMMIT) {
                return;
            }
        }
    }
}

/// The longest sleep of SQLite's busy handler that can be under way when a hold of this length
/// ends.
fn max_busy_sleep(hold: Duration) -> Duration {
    /// When the handler wakes after the first try failed, in milliseconds
    /// (`sqliteDefaultBusyCallback`).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_meets_who_waits() {
        let (one, any) = (Contention::Single, Contention::Many);
        for (waiting, hold_ms, pause_ms) in [
            (one, 1, 1.5),
            (one, 7, 5.5),
            (one, 8, 5.5),
            (one, 9, 10.5),
            (one, 20, 15.5),
            (one, 5_000, 25.5),
            (any, 2, 4.0),
            (any, 7, 14.0),
            (any, 9, 18.0),
            (any, 5_000, 100.0),
        ] {
            let pause = waiting.pause(Duration::from_millis(hold_ms));
            assert_eq!(pause, Duration::from_secs_f64(pause_ms / 1e3), "{waiting:?}, {hold_ms} ms");
        }
    }
}
