//! Processes that use a database without the locks that SQLite relies on, or write to files that have no name any more.
//!
//! A process that opens and closes its own database file, to copy it for example, drops all its POSIX locks on it
//! (<https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>). The next
//! process that closes the database takes itself for the last one and unlinks the `-wal`, into which the first
//! goes on writing. No database file is opened here; `/proc` has what is needed.

use std::ffi::CStr;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::Stat;

use crate::sidecar::DatabaseFiles;

use super::filesystem::MountTable;
use super::locks::FileLock;
use super::locks::LockTable;
use super::locks::LockView;
use super::locks::LockedFile;
use super::openings::count_write_descriptors;
use super::openings::is_writable;

/// The byte of the `-shm` that each connection to a WAL database holds (`UNIX_SHM_DMS` in SQLite's os_unix.c).
const SHM_OPEN: u64 = 128;

/// What a process has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Its locks on the main file, while it has the WAL open.
    Locks,
    /// The name of a file that it has open for writing: descriptor and former path.
    Name(u32, PathBuf),
}

/// A process that has lost its locks on a database, or a file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostLocks {
    /// The process.
    pub pid: u32,
    /// What it has lost.
    pub loss: Loss,
}

impl fmt::Display for LostLocks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, loss } = self;
        match loss {
            Loss::Locks => {
                write!(formatter, "process {pid} has the database open and holds no lock on its main file")
            }
            Loss::Name(descriptor, path) => write!(
                formatter,
                "process {pid} writes to {}, which is deleted (/proc/{pid}/fd/{descriptor} still has its content)",
                path.display()
            ),
        }
    }
}

/// Processes that have lost their locks on a database or the name of its files. A process that opens or closes the
/// database can look so for a moment; only what several looks show is returned.
#[must_use]
pub fn lost_locks(files: &DatabaseFiles) -> Vec<LostLocks> {
    const LOOKS: u32 = 5;
    const PAUSE: Duration = Duration::from_millis(20);
    let mut lost = look(files);
    for _ in 1..LOOKS {
        if lost.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
        let again = look(files);
        lost.retain(|one| again.contains(one));
    }
    lost
}

/// Whether another process may have a database open: it holds a lock on it, has it open for writing, or could hide that.
#[must_use]
pub fn may_be_open_elsewhere(files: &DatabaseFiles) -> bool {
    const LIMIT: Duration = Duration::from_millis(200);
    let Some(locks) = Locks::read(files) else { return true };
    !locks.main.is_empty() || !locks.shm.is_empty() || count_write_descriptors(&files.main, LIMIT) != Some(0)
}

/// The locks of other processes on a database.
struct Locks {
    main: Vec<FileLock>,
    shm: Vec<FileLock>,
    view: LockView,
}

impl Locks {
    fn read(files: &DatabaseFiles) -> Option<Self> {
        let main = rustix::fs::stat(&files.main).ok()?;
        let shm = rustix::fs::stat(files.shm()).ok();
        let device = MountTable::read().lock_device(&files.main, main.st_dev)?;
        let table = LockTable::read().ok()?;
        let of = |stat: &Stat| table.of(LockedFile { device, inode: stat.st_ino }).to_vec();
        Some(Self { main: of(&main), shm: shm.as_ref().map(of).unwrap_or_default(), view: table.view })
    }
}

fn look(files: &DatabaseFiles) -> Vec<LostLocks> {
    let locks = Locks::read(files);
    let mut lost: Vec<LostLocks> = locks.as_ref().map(without_main_lock).unwrap_or_default();
    // Where nobody holds a lock on the main file, whoever has the -shm open has lost its lock. With a holder, it can be a
    // process forked from it that does not use what it has inherited.
    let nobody = locks.is_some_and(|locks| locks.view == LockView::Whole && locks.main.is_empty());
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        // One that is gone or hidden shows nothing.
        let Ok(open) = Open::of(pid, files) else { continue };
        let listed = lost.iter().any(|one| one.pid == pid);
        if open.shm && nobody && !listed {
            lost.push(LostLocks { pid, loss: Loss::Locks });
        }
        lost.extend(
            open.deleted.into_iter().map(|(number, path)| LostLocks { pid, loss: Loss::Name(number, path) }),
        );
    }
    lost
}

/// Processes with the open lock of the `-shm` and no lock on the main file. Everybody who has a WAL database open
/// keeps SHARED on the main file, from before that lock until after it.
fn without_main_lock(locks: &Locks) -> Vec<LostLocks> {
    // A lock without a process may be anybody's.
    if locks.main.iter().any(|lock| lock.pid.is_none()) {
        return Vec::new();
    }
    let mut pids: Vec<u32> = locks
        .shm
        .iter()
        .filter(|lock| lock.covers(SHM_OPEN, SHM_OPEN))
        .filter_map(|lock| lock.pid)
        .filter(|pid| !locks.main.iter().any(|lock| lock.pid == Some(*pid)))
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().map(|pid| LostLocks { pid, loss: Loss::Locks }).collect()
}

/// What a process has open of a database.
#[derive(Default)]
struct Open {
    shm: bool,
    /// Descriptors open for writing whose file is deleted, with its former path.
    deleted: Vec<(u32, PathBuf)>,
}

impl Open {
    fn of(pid: u32, files: &DatabaseFiles) -> io::Result<Self> {
        const LIMIT: Duration = Duration::from_secs(1);
        const DELETED: &[u8] = b" (deleted)";
        let deadline = Instant::now() + LIMIT;
        let main = Path::new(OsStr::from_bytes(files.main.as_bytes()));
        let main = std::fs::canonicalize(main).unwrap_or_else(|_| main.to_owned());
        let named = |suffix: &str| {
            let mut path = main.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let (wal, shm) = (named("-wal"), named("-shm"));
        let (mut open, mut elsewhere, mut has_main) = (Self::default(), Vec::new(), false);
        for descriptor in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
            if Instant::now() >= deadline {
                break;
            }
            let descriptor = descriptor?;
            let Ok(link) = std::fs::read_link(descriptor.path()) else { continue };
            let Some(number) = descriptor.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if let Some(former) = link.as_os_str().as_bytes().strip_suffix(DELETED) {
                let former = PathBuf::from(OsStr::from_bytes(former));
                // In another mount namespace the directory may have another name.
                let is_wal = former.file_name() == wal.file_name();
                if (former == main || is_wal) && is_writable(pid, number) {
                    let known = former == main || former == wal;
                    if known { &mut open.deleted } else { &mut elsewhere }.push((number, former));
                }
            } else if link.file_name() == main.file_name() {
                has_main |= is_same(pid, number, &files.main);
            } else if link.file_name() == shm.file_name() {
                open.shm |= is_same(pid, number, &files.shm());
            }
        }
        if has_main {
            open.deleted.append(&mut elsewhere);
        }
        Ok(open)
    }
}

/// Whether a descriptor of a process is the file that a path names.
fn is_same(pid: u32, number: u32, path: &CStr) -> bool {
    let opened = rustix::fs::stat(format!("/proc/{pid}/fd/{number}"));
    let named = rustix::fs::stat(path);
    opened.is_ok_and(|opened| {
        named.is_ok_and(|named| (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_main_lock_is_told_from_a_kept_one() {
        let file = LockedFile { device: 1, inode: 2 };
        let lock = |pid, first| FileLock { file, pid, exclusive: false, first, last: first };
        let main = |pid| lock(pid, 0x4000_0002);
        let open = |pid| lock(Some(pid), SHM_OPEN);
        for (name, main, shm, expected) in [
            ("nobody", vec![], vec![], vec![]),
            ("a healthy owner", vec![main(Some(7))], vec![open(7)], vec![]),
            ("an owner that lost its lock", vec![], vec![open(7), lock(Some(7), 124)], vec![7]),
            ("beside a healthy one", vec![main(Some(8))], vec![open(7), open(8)], vec![7]),
            ("an opener that has no -shm yet", vec![main(Some(7))], vec![], vec![]),
            ("other bytes of the -shm alone", vec![], vec![lock(Some(7), 120)], vec![]),
            ("a lock of an open file description", vec![main(None)], vec![open(7)], vec![]),
        ] {
            let locks = Locks { main, shm, view: LockView::Whole };
            let pids: Vec<u32> = without_main_lock(&locks).iter().map(|lost| lost.pid).collect();
            assert_eq!(pids, expected, "{name}");
        }
    }
}
