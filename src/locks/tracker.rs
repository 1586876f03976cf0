//! How long a lock has been held: one sample compared with the samples before.
//!
//! A sample shows an instant, and a process that takes a lock a hundred times a second looks like
//! one that never releases it. So a hold counts as one only while nothing shows that it was broken:
//! a commit ends the hold of a writer, and in rollback mode of everybody, as nobody can commit
//! beside a reader; a reader of a WAL that has moved on ends with its mark.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::os::LockView;
use crate::os::ProcessFacts;
use crate::sqlite::ChangeCounter;
use crate::sqlite::WalFrames;

use super::DecodedLocks;
use super::Hold;
use super::Lock;
use super::LockKind;
use super::LockOwner;
use super::Locks;

/// A write lock that is held longer than this is logged; applications usually wait 5 s for one.
const LONG_HOLD: Duration = Duration::from_secs(30);
/// A reader that is there as long and keeps this many frames in the WAL is logged too; SQLite
/// checkpoints at as many by default.
pub const MANY_FRAMES: u32 = 1_000;

/// The locks of a database at one instant.
#[derive(Debug)]
pub struct LockSample {
    /// When the locks were listed.
    pub at: SystemTime,
    /// The same on a clock that nobody sets.
    pub instant: Instant,
    /// Whether the kernel showed all.
    pub view: LockView,
    /// The locks.
    pub decoded: DecodedLocks,
    /// Moves with every commit; `None` where the database could not be read.
    pub change: Option<ChangeCounter>,
    /// The WAL; `None` outside WAL mode and where it could not be read.
    pub wal: Option<WalFrames>,
}

/// A change that is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockEvent {
    /// A write lock is held for long: other writers meet SQLITE_BUSY.
    HeldLong(Hold),
    /// A reader keeps much of the WAL from being checkpointed: it can only grow.
    PinsWal(Hold, u32),
    /// A hold that was logged has ended.
    Released(Hold),
}

/// The holds on one database over time.
#[derive(Debug, Default)]
pub struct LockTracker {
    tracked: Vec<TrackedHold>,
    connected: Vec<Option<u32>>,
    change: Option<ChangeCounter>,
}

#[derive(Debug)]
struct TrackedHold {
    hold: Hold,
    since: Instant,
    mark: Option<u32>,
    logged: bool,
}

impl TrackedHold {
    /// The same process under the same lock. A writer's way from RESERVED to PENDING is one hold.
    fn is_of(&self, lock: Lock, pid: Option<u32>) -> bool {
        let known = &self.hold;
        known.owner.pid == pid
            && known.lock.kind() == lock.kind()
            && known.lock.read_lock() == lock.read_lock()
    }
}

impl LockTracker {
    /// Whether no lock was held at the last sample.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tracked.is_empty()
    }

    /// Whether a sample lacks a lock, or a process that has the database open, that the previous
    /// sample had. The kernel can leave entries out of a long list.
    #[must_use]
    pub fn lacks_any(&self, decoded: &DecodedLocks) -> bool {
        let is_there = |known: &TrackedHold| decoded.held.iter().any(|held| known.is_of(held.lock, held.pid));
        let is_connected =
            |pid: &Option<u32>| decoded.connected.iter().flatten().any(|(known, _)| known == pid);
        !self.tracked.iter().all(is_there) || !self.connected.iter().all(is_connected)
    }

    /// Takes over a sample, and returns the holds with their age and the events to log. `process`
    /// names a process.
    pub fn observe(
        &mut self,
        lock_sample: LockSample,
        mut process: impl FnMut(u32) -> Option<Arc<ProcessFacts>>,
    ) -> (Locks, Vec<LockEvent>) {
        let LockSample { at, instant, view, decoded, change, wal } = lock_sample;
        let committed = change.is_some() && self.change.is_some() && change != self.change;
        self.change = change.or(self.change);
        let mut before = std::mem::take(&mut self.tracked);
        let mut events = Vec::new();
        for held in decoded.held {
            let mark =
                wal.and_then(|wal| wal.read_marks.get(usize::from(held.lock.read_lock()?)).copied()?);
            let known = before.iter().position(|known| known.is_of(held.lock, held.pid));
            let unbroken = known.map(|index| before.swap_remove(index)).and_then(|known| {
                let broken = committed && ends_with_a_commit(held.lock, wal.is_some())
                    || known.mark.zip(mark).is_some_and(|(before, now)| before != now);
                if broken {
                    events.extend(known.logged.then_some(LockEvent::Released(known.hold)));
                    return None;
                }
                Some(known)
            });
            let (first_seen_at, since, logged, mark) = match unbroken {
                // A sample that could not read the WAL leaves the mark as it was.
                Some(known) => (known.hold.first_seen_at, known.since, known.logged, mark.or(known.mark)),
                None => (at, instant, false, mark),
            };
            let owner =
                LockOwner { pid: held.pid, count: held.count, process: held.pid.and_then(&mut process) };
            let pinned_frames = wal.and_then(|wal| wal.pinned_by(held.lock.read_lock()?));
            let held_for = instant.saturating_duration_since(since);
            let hold = Hold { lock: held.lock, owner, first_seen_at, held: held_for, pinned_frames };
            let mut tracked = TrackedHold { hold, since, mark, logged };
            if !logged && let Some(word) = event_for(&tracked.hold, wal) {
                tracked.logged = true;
                events.push(word);
            }
            self.tracked.push(tracked);
        }
        events.extend(
            before.into_iter().filter(|known| known.logged).map(|known| LockEvent::Released(known.hold)),
        );
        let mut holds: Vec<Hold> = self.tracked.iter().map(|tracked| tracked.hold.clone()).collect();
        holds.sort_by_key(|hold| std::cmp::Reverse(hold.held));
        self.connected = decoded.connected.iter().flatten().map(|(pid, _)| *pid).collect();
        let connected = decoded.connected.map(|owners| {
            let owner = |(pid, count): (Option<u32>, u32)| LockOwner {
                pid,
                count,
                process: pid.and_then(&mut process),
            };
            owners.into_iter().map(owner).collect()
        });
        (Locks { view, holds, connected }, events)
    }
}

/// Whether a hold cannot outlive a commit of anybody.
fn ends_with_a_commit(lock: Lock, wal: bool) -> bool {
    match lock {
        Lock::Reserved | Lock::Pending | Lock::WalWrite => true,
        // The holder of an exclusive lock can commit and keep it; no other process could have
        // committed.
        Lock::Exclusive | Lock::WalRecover | Lock::WalCheckpoint | Lock::WalRead(_) => false,
        Lock::Shared => !wal,
    }
}

fn event_for(hold: &Hold, wal: Option<WalFrames>) -> Option<LockEvent> {
    if hold.held < LONG_HOLD {
        return None;
    }
    match hold.lock.kind() {
        LockKind::Writer | LockKind::Exclusive => Some(LockEvent::HeldLong(hold.clone())),
        LockKind::Reader => {
            let total = wal?.total;
            (hold.pinned_frames? >= MANY_FRAMES).then(|| LockEvent::PinsWal(hold.clone(), total))
        }
        LockKind::Checkpointer => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::decode::HeldLock;

    struct Play {
        tracker: LockTracker,
        start: Instant,
    }

    const WRITER: u32 = 7;
    const READER: u32 = 8;

    impl Play {
        fn new() -> Self {
            Self { tracker: LockTracker::default(), start: Instant::now() }
        }

        /// The ages of the holds after a sample at a second, and the events.
        fn look(
            &mut self,
            second: u64,
            held: &[(Lock, u32)],
            change: Option<ChangeCounter>,
            wal: Option<WalFrames>,
        ) -> (Vec<u64>, Vec<LockEvent>) {
            let held = held.iter().map(|&(lock, pid)| HeldLock { lock, pid: Some(pid), count: 1 }).collect();
            let lock_sample = LockSample {
                at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
                instant: self.start + Duration::from_secs(second),
                view: LockView::Whole,
                decoded: DecodedLocks { held, connected: None },
                change,
                wal,
            };
            let (locks, events) = self.tracker.observe(lock_sample, |_| None);
            (locks.holds.iter().map(|hold| hold.held.as_secs()).collect(), events)
        }
    }

    fn counter(count: u32) -> Option<ChangeCounter> {
        Some(ChangeCounter::Counter(count))
    }

    fn wal(total: u32, marks: [u32; 2]) -> (Option<ChangeCounter>, Option<WalFrames>) {
        let read_marks = [Some(0), Some(marks[0]), Some(marks[1]), None, None];
        (Some(ChangeCounter::Wal(total, total)), Some(WalFrames { total, checkpointed: 5, read_marks }))
    }

    #[test]
    fn a_hold_ages_while_nothing_breaks_it() {
        let mut play = Play::new();
        assert_eq!(play.look(0, &[(Lock::Reserved, WRITER)], counter(1), None).0, [0]);
        // On the way from RESERVED to PENDING it is one hold; while it keeps us out nothing is
        // read.
        assert_eq!(play.look(15, &[(Lock::Pending, WRITER)], None, None).0, [15]);
        assert_eq!(play.look(20, &[(Lock::Pending, READER)], None, None).0, [0]);
        assert!(play.tracker.lacks_any(&DecodedLocks::default()));
        assert_eq!(play.look(30, &[], counter(1), None).0, [0_u64; 0]);
        assert!(play.tracker.is_idle() && !play.tracker.lacks_any(&DecodedLocks::default()));
        assert_eq!(play.look(45, &[(Lock::Reserved, WRITER)], counter(1), None).0, [0]);
    }

    #[test]
    fn a_commit_ends_every_hold_of_a_rollback_database() {
        let mut play = Play::new();
        let both = [(Lock::Reserved, WRITER), (Lock::Shared, READER)];
        play.look(0, &both, counter(1), None);
        assert_eq!(play.look(15, &both, counter(1), None).0, [15, 15]);
        assert_eq!(play.look(30, &both, counter(2), None).0, [0, 0]);
        assert_eq!(play.look(45, &both, counter(2), None).0, [15, 15]);
        // The holder of an exclusive lock may commit as often as it likes.
        play.look(50, &[(Lock::Exclusive, WRITER)], counter(2), None);
        assert_eq!(play.look(60, &[(Lock::Exclusive, WRITER)], counter(9), None).0, [10]);
    }

    #[test]
    fn a_reader_of_a_wal_ends_with_its_mark() {
        let mut play = Play::new();
        let both = [(Lock::WalRead(1), READER), (Lock::WalWrite, WRITER)];
        let (change, frames) = wal(10, [10, 0]);
        play.look(0, &both, change, frames);
        // Others commit: the writer's hold was broken, the reader still sees what it saw.
        let (change, frames) = wal(2_000, [10, 0]);
        assert_eq!(play.look(20, &both, change, frames).0, [20, 0]);
        let (locks, events) = play.look(40, &both[..1], change, frames);
        assert_eq!(locks, [40]);
        assert!(
            matches!(&events[..], [LockEvent::PinsWal(hold, 2_000)] if hold.pinned_frames == Some(1_990)),
            "{events:?}"
        );
        assert_eq!(play.look(50, &both[..1], change, frames).1, []);
        // A sample that could not read the WAL proves nothing.
        assert_eq!(play.look(55, &both[..1], None, None).0, [55]);
        let (change, frames) = wal(2_000, [2_000, 0]);
        let (locks, events) = play.look(60, &both[..1], change, frames);
        assert_eq!(locks, [0]);
        assert!(
            matches!(&events[..], [LockEvent::Released(hold)] if hold.held == Duration::from_secs(55)),
            "{events:?}"
        );
        // Another read lock of the same process is another reader.
        assert_eq!(play.look(70, &[(Lock::WalRead(2), READER)], change, frames).0, [0]);
    }

    #[test]
    fn a_long_hold_is_logged_once_and_its_end_too() {
        let mut play = Play::new();
        let held = [(Lock::Reserved, WRITER)];
        for (second, logged) in [(0, 0), (29, 0), (30, 1), (45, 0), (600, 0)] {
            let (_, events) = play.look(second, &held, counter(1), None);
            assert_eq!(events.len(), logged, "{second}: {events:?}");
        }
        let (_, events) = play.look(610, &[], counter(2), None);
        assert!(
            matches!(&events[..], [LockEvent::Released(hold)] if hold.held == Duration::from_secs(600)),
            "{events:?}"
        );
        assert_eq!(play.look(620, &[], counter(2), None).1, []);
    }

    #[test]
    fn the_pin_of_a_read_lock_is_what_lies_behind_its_mark() {
        let (_, frames) = wal(9_000, [4_800, 9_000]);
        let frames = frames.unwrap();
        for (lock, pinned) in [(0, Some(8_995)), (1, Some(4_200)), (2, Some(0)), (3, None), (5, None)] {
            assert_eq!(frames.pinned_by(lock), pinned, "{lock}");
        }
    }
}
