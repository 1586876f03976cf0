//! Which process holds which lock on a database, and for how long, decoded from the byte ranges in
//! `/proc/locks`.
//!
//! Pure: lines and times come in, values go out. It must never touch a file, a process or a clock.

mod decode;
mod json;
mod tracker;

pub use decode::DecodedLocks;
pub use decode::Lock;
pub use json::LocksJson;
pub use json::LostLocksJson;
pub use tracker::LockEvent;
pub use tracker::LockSample;
pub use tracker::LockTracker;
pub use tracker::MANY_FRAMES;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use crate::os::LockView;
use crate::os::ProcessFacts;

/// What a lock lets its holder do: the label `lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKind {
    /// The right to write: RESERVED or PENDING of a rollback database, the WAL's write lock.
    Writer,
    /// A read transaction: SHARED of a rollback database, one of the WAL's five read locks.
    Reader,
    /// The WAL's checkpoint lock.
    Checkpointer,
    /// Everybody else is kept out: EXCLUSIVE on the main file, or a WAL that is being recovered.
    Exclusive,
}

impl LockKind {
    /// Every kind, in the order of the exposition.
    pub const ALL: [Self; 4] = [Self::Writer, Self::Reader, Self::Checkpointer, Self::Exclusive];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Checkpointer => "checkpointer",
            Self::Exclusive => "exclusive",
        }
    }
}

/// A process that has a database open or holds a lock on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOwner {
    /// The pid; `None` where the kernel does not give it, as for locks of open file descriptions.
    pub pid: Option<u32>,
    /// How many there are: 1, or more of those without a number.
    pub count: u32,
    /// Name, command and user; `None` without a pid or where `/proc` does not show the process.
    pub process: Option<Arc<ProcessFacts>>,
}

impl fmt::Display for LockOwner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.process) {
            (Some(pid), Some(process)) => write!(formatter, "pid {pid} {}", process.name),
            (Some(pid), None) => write!(formatter, "pid {pid} (not in /proc)"),
            (None, _) if self.count > 1 => write!(formatter, "{} unnamed holders", self.count),
            (None, _) => formatter.write_str("unnamed holder"),
        }
    }
}

/// A lock that was held at one sample or at several in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which lock.
    pub lock: Lock,
    /// The process that holds it.
    pub owner: LockOwner,
    /// The time of the sample that first found the lock held as it is now.
    pub first_seen_at: SystemTime,
    /// The time from that sample to the last: the hold is at least this old.
    pub held: Duration,
    /// Frames of the WAL that no checkpoint can copy because of it. `None` where it is no read lock
    /// of a WAL.
    pub pinned_frames: Option<u32>,
}

/// The locks on one database at the last sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locks {
    /// Whether the kernel showed all.
    pub view: LockView,
    /// The holds, oldest first.
    pub holds: Vec<Hold>,
    /// The processes that have the database open in WAL mode; `None` outside WAL mode.
    pub connected: Option<Vec<LockOwner>>,
}

impl Locks {
    /// How many processes hold a kind of lock.
    #[must_use]
    pub fn holders(&self, kind: LockKind) -> u32 {
        let mut pids: Vec<u32> = self.of_kind(kind).filter_map(|hold| hold.owner.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        let unnamed: u32 =
            self.of_kind(kind).filter(|hold| hold.owner.pid.is_none()).map(|hold| hold.owner.count).sum();
        u32::try_from(pids.len()).unwrap_or(u32::MAX).saturating_add(unnamed)
    }

    /// The longest that a kind of lock has been seen held by one process; `None` while nobody holds
    /// it.
    #[must_use]
    pub fn longest(&self, kind: LockKind) -> Option<Duration> {
        self.of_kind(kind).map(|hold| hold.held).max()
    }

    /// How many processes have the database open; `None` outside WAL mode.
    #[must_use]
    pub fn connected_count(&self) -> Option<u32> {
        Some(self.connected.as_ref()?.iter().map(|owner| owner.count).sum())
    }

    /// The read locks that keep frames in the WAL, worst first.
    #[must_use]
    pub fn pins(&self) -> Vec<&Hold> {
        let mut pins: Vec<&Hold> =
            self.holds.iter().filter(|hold| hold.pinned_frames.is_some_and(|frames| frames > 0)).collect();
        pins.sort_by_key(|hold| std::cmp::Reverse((hold.pinned_frames, hold.held)));
        pins
    }

    fn of_kind(&self, kind: LockKind) -> impl Iterator<Item = &Hold> {
        self.holds.iter().filter(move |hold| hold.lock.kind() == kind)
    }
}
