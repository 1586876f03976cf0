//! What locked bytes mean to SQLite (`os_unix.c`, `os.h`, `wal.c`;
//! <https://www.sqlite.org/fileformat2.html#wal_lock>).

use std::fmt;

use crate::os::FileLock;
use crate::sqlite::JournalMode;

use super::LockKind;

/// The bytes of the main file that stand for locks, from 2^30 on; no content is ever there.
const PENDING: u64 = 1 << 30;
const RESERVED: u64 = PENDING + 1;
const SHARED_FIRST: u64 = PENDING + 2;
const SHARED_LAST: u64 = SHARED_FIRST + 509;

/// The bytes of the -shm file.
const WAL_WRITE: u64 = 120;
const WAL_CHECKPOINT: u64 = 121;
const WAL_RECOVER: u64 = 122;
const WAL_READ_FIRST: u64 = 123;
const WAL_READ_LOCKS: u8 = 5;
/// The dead man's switch (SQLite's term): every process that has the WAL open holds it shared.
const WAL_OPEN: u64 = 128;

/// A lock of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lock {
    /// Main file: the process intends to write, and others may read.
    Reserved,
    /// Main file: the process waits for readers to finish, and no new ones may start.
    Pending,
    /// Main file: the process reads.
    Shared,
    /// Main file: the process writes pages, or is configured to exclude others
    /// (`locking_mode=EXCLUSIVE`).
    Exclusive,
    /// The process appends to the WAL.
    WalWrite,
    /// The process copies the WAL into the main file.
    WalCheckpoint,
    /// The process rebuilds the WAL's index after a crash.
    WalRecover,
    /// The process reads the WAL up to the mark of this read lock.
    WalRead(u8),
}

impl Lock {
    /// What the lock lets its holder do.
    #[must_use]
    pub fn kind(self) -> LockKind {
        match self {
            Self::Reserved | Self::Pending | Self::WalWrite => LockKind::Writer,
            Self::Shared | Self::WalRead(_) => LockKind::Reader,
            Self::WalCheckpoint => LockKind::Checkpointer,
            Self::Exclusive | Self::WalRecover => LockKind::Exclusive,
        }
    }

    /// The number of the WAL read lock, if it is one.
    #[must_use]
    pub fn read_lock(self) -> Option<u8> {
        match self {
            Self::WalRead(number) => Some(number),
            Self::Reserved
            | Self::Pending
            | Self::Shared
            | Self::Exclusive
            | Self::WalWrite
            | Self::WalCheckpoint
            | Self::WalRecover => None,
        }
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Reserved => "RESERVED",
            Self::Pending => "PENDING",
            Self::Shared => "SHARED",
            Self::Exclusive => "EXCLUSIVE",
            Self::WalWrite => "WAL write",
            Self::WalCheckpoint => "WAL checkpoint",
            Self::WalRecover => "WAL recover",
            Self::WalRead(number) => return write!(formatter, "WAL read {number}"),
        })
    }
}

/// A lock and the process that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldLock {
    /// The lock.
    pub lock: Lock,
    /// The process; `None` where the kernel does not name it.
    pub pid: Option<u32>,
    /// The number of holders: 1, or more where the kernel names no process.
    pub count: u32,
}

/// What the locks on the two files of a database mean.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DecodedLocks {
    /// One entry a process and lock.
    pub held: Vec<HeldLock>,
    /// The processes that have the database open, in WAL mode: pid and count.
    pub connected: Option<Vec<(Option<u32>, u32)>>,
}

impl DecodedLocks {
    /// Reads the locks on main file and -shm file. Where the journal mode is unknown, locks on the
    /// -shm file decide: in WAL mode every process that has the database open holds SHARED on the
    /// main file, and reads only under a read lock.
    #[must_use]
    pub fn of(main: &[FileLock], shm: &[FileLock], mode: Option<JournalMode>) -> Self {
        let wal = mode.map_or(!shm.is_empty(), |mode| mode == JournalMode::Wal);
        let mut held = Vec::new();
        for lock in main {
            let found = main_file_locks(lock, wal);
            held.extend(found.into_iter().flatten().map(|found| HeldLock {
                lock: found,
                pid: lock.pid,
                count: 1,
            }));
        }
        let mut connected = Vec::new();
        for lock in shm {
            held.extend(shm_locks(lock).map(|found| HeldLock { lock: found, pid: lock.pid, count: 1 }));
            if lock.covers(WAL_OPEN, WAL_OPEN) {
                connected.push((lock.pid, 1));
            }
        }
        Self { held: merge_held(held), connected: wal.then(|| merge_owners(connected)) }
    }

    /// Adds what another list of the same moment shows besides; the kernel can leave locks out of a
    /// long one.
    pub fn join(&mut self, other: Self) {
        let more = other
            .held
            .into_iter()
            .filter(|held| !self.held.iter().any(|known| known.lock == held.lock && known.pid == held.pid));
        let more: Vec<HeldLock> = more.collect();
        self.held.extend(more);
        let (Some(connected), Some(others)) = (&mut self.connected, other.connected) else { return };
        for (pid, count) in others {
            if !connected.iter().any(|(known, _)| *known == pid) {
                connected.push((pid, count));
            }
        }
    }
}

/// The locks on the main file; of RESERVED and PENDING only the higher.
fn main_file_locks(lock: &FileLock, wal: bool) -> [Option<Lock>; 2] {
    let covers = |first, last| lock.covers(first, last);
    if !lock.exclusive {
        // A shared lock on PENDING is the first step of every reader and gone at once.
        return [(covers(SHARED_FIRST, SHARED_LAST) && !wal).then_some(Lock::Shared), None];
    }
    let writer = if covers(PENDING, PENDING) {
        Some(Lock::Pending)
    } else {
        covers(RESERVED, RESERVED).then_some(Lock::Reserved)
    };
    [writer, covers(SHARED_FIRST, SHARED_LAST).then_some(Lock::Exclusive)]
}

fn shm_locks(lock: &FileLock) -> impl Iterator<Item = Lock> {
    let covers = |byte| lock.covers(byte, byte);
    let alone =
        [(WAL_WRITE, Lock::WalWrite), (WAL_CHECKPOINT, Lock::WalCheckpoint), (WAL_RECOVER, Lock::WalRecover)];
    let alone =
        alone.into_iter().filter(move |(byte, _)| lock.exclusive && covers(*byte)).map(|(_, lock)| lock);
    // A read lock that is held exclusively is not a reader's: its mark is being moved, or the WAL
    // begins anew.
    let reads = (0..WAL_READ_LOCKS)
        .filter(move |number| !lock.exclusive && covers(WAL_READ_FIRST + u64::from(*number)));
    alone.chain(reads.map(Lock::WalRead))
}

/// One entry a process and lock. RESERVED goes where the same process holds PENDING too, on two
/// lines.
fn merge_held(mut held: Vec<HeldLock>) -> Vec<HeldLock> {
    held.sort_unstable();
    let mut one: Vec<HeldLock> = Vec::with_capacity(held.len());
    for next in held {
        match one.last_mut() {
            Some(last) if last.lock == next.lock && last.pid == next.pid => {
                last.count += u32::from(next.pid.is_none());
            }
            _ => one.push(next),
        }
    }
    let pending: Vec<Option<u32>> =
        one.iter().filter(|held| held.lock == Lock::Pending).map(|held| held.pid).collect();
    one.retain(|held| held.lock != Lock::Reserved || held.pid.is_none() || !pending.contains(&held.pid));
    one
}

fn merge_owners(mut owners: Vec<(Option<u32>, u32)>) -> Vec<(Option<u32>, u32)> {
    owners.sort_unstable();
    let mut one: Vec<(Option<u32>, u32)> = Vec::with_capacity(owners.len());
    for (pid, count) in owners {
        match one.last_mut() {
            Some(last) if last.0 == pid => last.1 += if pid.is_none() { count } else { 0 },
            _ => one.push((pid, count)),
        }
    }
    one
}

#[cfg(test)]
mod tests {
    use crate::os::LockedFile;

    use super::*;

    /// pid, exclusive, first, last.
    type Line = (i64, bool, u64, u64);
    /// pid and count.
    type Parties = (Option<u32>, u32);

    fn locks(lines: &[Line]) -> Vec<FileLock> {
        let file = LockedFile { device: 1, inode: 1 };
        let lock = |&(pid, exclusive, first, last): &Line| FileLock {
            file,
            pid: u32::try_from(pid).ok(),
            exclusive,
            first,
            last,
        };
        lines.iter().map(lock).collect()
    }

    fn said(main: &[Line], shm: &[Line], mode: Option<JournalMode>) -> (Vec<String>, Option<Vec<Parties>>) {
        let decoded = DecodedLocks::of(&locks(main), &locks(shm), mode);
        let words = |held: &HeldLock| {
            let pid = held.pid.map_or("?".to_owned(), |pid| pid.to_string());
            format!("{} {pid}×{} {}", held.lock, held.count, held.lock.kind().label())
        };
        (decoded.held.iter().map(words).collect(), decoded.connected)
    }

    #[test]
    fn bytes_of_a_rollback_database_mean_locks() {
        const SHARED: (u64, u64) = (SHARED_FIRST, SHARED_LAST);
        for (lines, expected) in [
            (&[][..], &[][..]),
            (&[(7, false, SHARED.0, SHARED.1)], &["SHARED 7×1 reader"]),
            (&[(7, false, PENDING, PENDING)], &[]),
            (
                &[(7, true, RESERVED, RESERVED), (7, false, SHARED.0, SHARED.1)],
                &["RESERVED 7×1 writer", "SHARED 7×1 reader"],
            ),
            // The kernel joins PENDING and RESERVED of one process, and with EXCLUSIVE all three.
            (
                &[(7, true, PENDING, RESERVED), (8, false, SHARED.0, SHARED.1)],
                &["PENDING 7×1 writer", "SHARED 8×1 reader"],
            ),
            (&[(7, true, PENDING, SHARED.1)], &["PENDING 7×1 writer", "EXCLUSIVE 7×1 exclusive"]),
            (&[(7, true, PENDING, PENDING), (7, true, RESERVED, RESERVED)], &["PENDING 7×1 writer"]),
            (&[(7, true, SHARED.0, SHARED.1)], &["EXCLUSIVE 7×1 exclusive"]),
            // A program that is not SQLite locks the whole file.
            (&[(7, true, 0, u64::MAX)], &["PENDING 7×1 writer", "EXCLUSIVE 7×1 exclusive"]),
            (&[(7, true, 0, 99)], &[]),
            // Two locks of open file descriptions are two holders.
            (&[(-1, false, SHARED.0, SHARED.1), (-1, false, SHARED.0, SHARED.1)], &["SHARED ?×2 reader"]),
        ] {
            for mode in [Some(JournalMode::Rollback), None] {
                assert_eq!(said(lines, &[], mode).0, expected, "{lines:?}");
                assert_eq!(said(lines, &[], mode).1, None);
            }
        }
    }

    #[test]
    fn bytes_of_a_wal_database_mean_locks() {
        let open = |pid| (pid, false, WAL_OPEN, WAL_OPEN);
        for (lines, expected, connected) in [
            (&[open(7)][..], &[][..], &[(Some(7), 1)][..]),
            (&[open(7), (7, false, 124, 124)], &["WAL read 1 7×1 reader"], &[(Some(7), 1)]),
            // 127 and 128 are adjacent.
            (&[(7, false, 127, 128)], &["WAL read 4 7×1 reader"], &[(Some(7), 1)]),
            (&[(7, false, 123, 124)], &["WAL read 0 7×1 reader", "WAL read 1 7×1 reader"], &[]),
            (&[open(7), (7, true, 124, 124)], &[], &[(Some(7), 1)]),
            (&[open(7), (7, true, 120, 120)], &["WAL write 7×1 writer"], &[(Some(7), 1)]),
            (
                &[open(7), (7, true, 120, 121)],
                &["WAL write 7×1 writer", "WAL checkpoint 7×1 checkpointer"],
                &[(Some(7), 1)],
            ),
            (&[open(7), (7, true, 122, 122)], &["WAL recover 7×1 exclusive"], &[(Some(7), 1)]),
            (&[open(7), open(8), open(8), open(-1), open(-1)], &[], &[(None, 2), (Some(7), 1), (Some(8), 1)]),
        ] {
            // In WAL mode SHARED says only that the database is open.
            let main = &[(7, false, SHARED_FIRST, SHARED_LAST)];
            for mode in [Some(JournalMode::Wal), None] {
                let (held, found) = said(main, lines, mode);
                assert_eq!(held, expected, "{lines:?}");
                assert_eq!(found.unwrap(), connected, "{lines:?}");
            }
        }
        assert_eq!(said(&[], &[], Some(JournalMode::Wal)).1, Some(vec![]));
        let of = |lines: &[Line]| DecodedLocks::of(&[], &locks(lines), Some(JournalMode::Wal));
        let mut joined = of(&[open(7), (7, false, 124, 124)]);
        joined.join(of(&[open(7), open(8), (7, false, 124, 124), (8, true, 120, 120)]));
        let whole = of(&[open(7), open(8), (7, false, 124, 124), (8, true, 120, 120)]);
        joined.held.sort_unstable();
        assert_eq!(joined, whole);
        let exclusive = &[(7, true, PENDING, SHARED_LAST)];
        assert_eq!(
            said(exclusive, &[], Some(JournalMode::Wal)).0,
            ["PENDING 7×1 writer", "EXCLUSIVE 7×1 exclusive"]
        );
    }
}
