//! `/proc/locks`: which process holds which bytes of which file, without opening one of them.
//!
//! What the bytes mean to SQLite is said in `locks`; here are lines and numbers. It must never open
//! a database file.

use std::io;

/// A file as the kernel lists it. The device is that of the file system's superblock, which `stat`
/// does not always tell: see [`super::MountTable::lock_device`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockedFile {
    /// Device of the superblock.
    pub device: u64,
    /// Inode on it.
    pub inode: u64,
}

/// A lock that is held: one line of `/proc/locks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLock {
    /// On which file.
    pub file: LockedFile,
    /// Who holds it; `None` for a lock of an open file description (the kernel says -1), of a
    /// process of another machine, and of one that this process may not see.
    pub pid: Option<u32>,
    /// Whether it keeps all others out; a shared one keeps out only those who want it for
    /// themselves.
    pub exclusive: bool,
    /// First byte.
    pub first: u64,
    /// Last byte; `u64::MAX` for a lock up to the end of the file.
    pub last: u64,
}

impl FileLock {
    /// Whether it covers any of these bytes. The kernel joins neighbouring locks of one process to
    /// one line.
    #[must_use]
    pub fn covers(&self, first: u64, last: u64) -> bool {
        self.first <= last && first <= self.last
    }
}

/// How much of the truth `/proc/locks` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockView {
    /// Every lock on this machine.
    Whole,
    /// The locks of this process's own PID namespace, a container's; the kernel leaves out all
    /// others.
    OwnNamespace,
}

/// The locks of all files at one instant.
#[derive(Debug)]
pub struct LockTable {
    /// In the order of their files.
    locks: Vec<FileLock>,
    /// What the kernel leaves out.
    pub view: LockView,
    /// Whether it came in one piece. The kernel lists a page at a time, and a lock that goes
    /// meanwhile can make it skip another, so that one missing in a long list is not surely gone.
    pub is_single_read: bool,
}

/// The kernel gives a page at a time, and less where the next line would not fit.
const PIECE_BYTES: usize = 3_900;

/// The inode of the first PID namespace, a constant of the kernel (`PROC_PID_INIT_INO`).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Whether this process is in the first PID namespace, which holds every process.
pub(super) fn in_first_pid_namespace() -> io::Result<bool> {
    Ok(std::fs::read_link("/proc/self/ns/pid")?.as_os_str() == FIRST_NAMESPACE)
}

impl LockTable {
    /// Reads `/proc/locks` once. Locks of this process are left out.
    ///
    /// # Errors
    /// There is no such file: not Linux, or `/proc` is not mounted.
    pub fn read() -> io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
        let text = std::fs::read("/proc/locks")?;
        // The number that this very /proc gives us, which may belong to another namespace than
        // ours.
        let own = std::fs::read_link("/proc/self")?.to_string_lossy().parse().ok();
        let view = if in_first_pid_namespace()? { LockView::Whole } else { LockView::OwnNamespace };
        Ok(Self::parse(&text, own, view))
    }

    /// Takes the lines apart, as proc_locks(5) describes them: `1: POSIX  ADVISORY  WRITE 4711
    /// fe:00:10102674 1073741824 1073742335`. Lines of other forms (waiters, `flock`, leases, files
    /// without a name) say nothing about SQLite and are left out.
    #[must_use]
    pub fn parse(text: &[u8], own: Option<u32>, view: LockView) -> Self {
        let mut locks: Vec<FileLock> = text
            .split(|byte| *byte == b'\n')
            .filter_map(parse_line)
            .filter(|lock| own.is_none() || lock.pid != own)
            .collect();
        locks.sort_unstable_by_key(|lock| lock.file);
        Self { locks, view, is_single_read: text.len() <= PIECE_BYTES }
    }

    /// The locks on one file.
    #[must_use]
    pub fn locks_on(&self, file: LockedFile) -> &[FileLock] {
        let start = self.locks.partition_point(|lock| lock.file < file);
        let length = self.locks[start..].partition_point(|lock| lock.file == file);
        &self.locks[start..start + length]
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.locks.len()
    }
}

fn parse_line(line: &[u8]) -> Option<FileLock> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let _number = words.next()?;
    // A waiter has `->` here and holds nothing.
    if !matches!(words.next()?, b"POSIX" | b"OFDLCK") {
        return None;
    }
    let _advisory = words.next()?;
    let exclusive = match words.next()? {
        b"WRITE" => true,
        b"READ" => false,
        _ => return None,
    };
    let pid = text(words.next()?)?.parse::<i64>().ok()?;
    let mut file = words.next()?.split(|byte| *byte == b':');
    let (major, minor) = (hexadecimal(file.next()?)?, hexadecimal(file.next()?)?);
    let inode = decimal(file.next()?)?;
    let first = decimal(words.next()?)?;
    let last = match words.next()? {
        b"EOF" => u64::MAX,
        number => decimal(number)?,
    };
    if file.next().is_some() || words.next().is_some() {
        return None;
    }
    let file = LockedFile { device: rustix::fs::makedev(major, minor), inode };
    Some(FileLock { file, pid: u32::try_from(pid).ok().filter(|pid| *pid > 0), exclusive, first, last })
}

fn text(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word).ok()
}

fn decimal(word: &[u8]) -> Option<u64> {
    text(word)?.parse().ok()
}

fn hexadecimal(word: &[u8]) -> Option<u32> {
    u32::from_str_radix(text(word)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(pid: Option<u32>, exclusive: bool, first: u64, last: u64) -> FileLock {
        let file = LockedFile { device: rustix::fs::makedev(0xfe, 0), inode: 77 };
        FileLock { file, pid, exclusive, first, last }
    }

    #[test]
    fn lines_are_locks_or_nothing() {
        for (line, expected) in [
            (
                "1: POSIX  ADVISORY  WRITE 4711 fe:00:77 1073741824 1073742335",
                Some(lock(Some(4711), true, 1 << 30, (1 << 30) + 511)),
            ),
            ("22: POSIX  ADVISORY  READ 9 fe:00:77 128 128", Some(lock(Some(9), false, 128, 128))),
            ("3: POSIX  MANDATORY READ 9 fe:00:77 128 128", Some(lock(Some(9), false, 128, 128))),
            ("3: POSIX  ADVISORY  WRITE 9 fe:00:77 0 EOF", Some(lock(Some(9), true, 0, u64::MAX))),
            ("4: OFDLCK ADVISORY  READ -1 fe:00:77 124 124", Some(lock(None, false, 124, 124))),
            // Of another machine, by way of a file server here; hidden; nobody's.
            ("4: POSIX  ADVISORY  READ -88 fe:00:77 124 124", Some(lock(None, false, 124, 124))),
            ("4: POSIX  ADVISORY  READ 0 fe:00:77 124 124", Some(lock(None, false, 124, 124))),
            ("1: -> POSIX  ADVISORY  WRITE 4712 fe:00:77 1073741824 1073742335", None),
            ("1:  -> POSIX  ADVISORY  WRITE 4712 fe:00:77 1073741824 1073742335", None),
            ("7: FLOCK  ADVISORY  WRITE 17867 fe:00:77 0 EOF", None),
            ("8: LEASE  ACTIVE    READ 1437 fe:00:77 0 EOF", None),
            ("8: DELEG  BREAKING  WRITE 1437 fe:00:77 0 EOF", None),
            ("8: POSIX  ADVISORY  UNLCK 1437 fe:00:77 0 EOF", None),
            ("8: ACCESS ADVISORY  READ 1437 fe:00:77 0 EOF", None),
            ("9: POSIX  *NOINODE* WRITE 5 <none>:0 0 EOF", None),
            ("9: UNKNOWN UNKNOWN  WRITE 5 fe:00:77 0 EOF", None),
            ("9: POSIX  ADVISORY  WRITE 5 fe:00:77", None),
            ("9: POSIX  ADVISORY  WRITE 5 fe:00:77 0 EOF more", None),
            ("9: POSIX  ADVISORY  WRITE 5 fe:00:77:1 0 EOF", None),
            ("9: POSIX  ADVISORY  WRITE five fe:00:77 0 EOF", None),
            ("9: POSIX  ADVISORY  WRITE 5 fe:zz:77 0 EOF", None),
            ("9: POSIX  ADVISORY  WRITE 5 fe:00:99999999999999999999 0 EOF", None),
            ("9: POSIX  ADVISORY  WRITE 5 fe:00:77 -1 EOF", None),
            ("", None),
            ("   ", None),
            ("nonsense", None),
            ("\u{fffd}: \u{fffd}", None),
        ] {
            assert_eq!(parse_line(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(parse_line(b"1: POSIX  ADVISORY  WRITE \xff\xfe fe:00:77 0 EOF"), None);
    }

    #[test]
    fn a_file_finds_its_locks_and_none_of_ours() {
        let text = b"1: POSIX  ADVISORY  WRITE 1 08:01:77 0 0\n\
                     2: POSIX  ADVISORY  READ 2 fe:00:77 128 128\n\
                     3: POSIX  ADVISORY  READ 3 fe:00:78 128 128\n\
                     4: POSIX  ADVISORY  READ 4 fe:00:77 124 124\n\
                     5: POSIX  ADVISORY  READ 5 fe:00:77 124 124\n";
        let table = LockTable::parse(text, Some(5), LockView::Whole);
        assert_eq!(table.count(), 4);
        assert!(table.is_single_read);
        let device = rustix::fs::makedev(0xfe, 0);
        let pids = |inode| {
            let mut pids: Vec<u32> =
                table.locks_on(LockedFile { device, inode }).iter().filter_map(|lock| lock.pid).collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(pids(77), [2, 4]);
        assert_eq!(pids(78), [3]);
        assert_eq!(pids(1), [0_u32; 0]);
        assert_eq!(pids(u64::MAX), [0_u32; 0]);
        // Without a number of our own, nothing is taken for ours, least of all what has no number.
        let ofd = LockTable::parse(b"1: OFDLCK ADVISORY  READ -1 fe:00:77 128 128", None, LockView::Whole);
        assert_eq!(ofd.count(), 1);
    }

    #[test]
    fn a_lock_covers_what_it_touches() {
        let range = lock(Some(1), true, 120, 122);
        for (first, last, covered) in
            [(119, 119, false), (120, 120, true), (122, 127, true), (123, 127, false)]
        {
            assert_eq!(range.covers(first, last), covered, "{first}..={last}");
        }
    }
}
