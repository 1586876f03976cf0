//! Processes that use a database without the locks that SQLite relies on, or write to files that
//! have no name any more.
//!
//! A process that opens and closes its own database file, to copy it for example, drops all its
//! POSIX locks on it
//! (<https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).
//! The next process that closes the database takes itself for the last one and unlinks the `-wal`,
//! into which the first goes on writing. No database file is opened here; `/proc` has what is
//! needed.

use std::ffi::CStr;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::Stat;

use crate::database_files::DatabaseFiles;

use super::descriptors::DELETED;
use super::descriptors::scan_descriptors;
use super::filesystem::MountTable;
use super::open_fds::count_write_descriptors;
use super::open_fds::is_writable;
use super::proc_locks::FileLock;
use super::proc_locks::LockTable;
use super::proc_locks::LockView;
use super::proc_locks::LockedFile;

/// The byte of the `-shm` that each connection to a WAL database holds (`UNIX_SHM_DMS` in SQLite's
/// os_unix.c).
const SHM_OPEN: u64 = 128;

/// How long one pass over the descriptors of all processes may take.
const SCAN_LIMIT: Duration = Duration::from_secs(2);

/// What a process has lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Its locks on the main file, while it has the WAL open.
    Locks,
    /// The name of a file that it has open for writing: descriptor and former path.
    Name(u32, PathBuf),
}

/// A process that has lost its locks on a database, or a file of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostLocks {
    /// The process.
    pub pid: u32,
    /// What it has lost.
    pub loss: Loss,
}

impl LostLocks {
    /// What it has lost, as the label of the metric and in JSON.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self.loss {
            Loss::Locks => Self::LABELS[0],
            Loss::Name(..) => Self::LABELS[1],
        }
    }

    /// Every label: `main_lock`, and `deleted_file`.
    pub const LABELS: [&'static str; 2] = ["main_lock", "deleted_file"];

    /// Whether what the process commits is missing from the file that others see.
    #[must_use]
    pub fn writes_to_deleted_file(&self) -> bool {
        matches!(self.loss, Loss::Name(..))
    }
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

/// What was seen of one database; by default, nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnerState {
    /// Processes that have lost locks or files.
    pub lost: Vec<LostLocks>,
    /// Whether every process's locks were seen.
    pub locks_seen: bool,
    /// Whether the files of every process were seen that may write to the database.
    pub files_seen: bool,
}

impl OwnerState {
    /// How many processes have lost what a label names; `None` where none was seen, and one may be
    /// hidden.
    #[must_use]
    pub fn lost_processes(&self, label: &str) -> Option<usize> {
        let mut pids: Vec<u32> =
            self.lost.iter().filter(|lost| lost.label() == label).map(|lost| lost.pid).collect();
        pids.dedup();
        let is_seen = if label == LostLocks::LABELS[0] { self.locks_seen } else { self.files_seen };
        (is_seen || !pids.is_empty()).then_some(pids.len())
    }
}

/// Processes that have lost their locks on a database or the name of its files.
#[must_use]
pub fn lost_locks(files: &DatabaseFiles) -> Vec<LostLocks> {
    owner_states(&[files]).pop().unwrap_or_default().lost
}

/// Looks at the processes of many databases, with one list of locks and one pass over all
/// descriptors. A process that opens or closes a database can look for a moment as if it had lost
/// something; only what several looks show is returned.
#[must_use]
pub fn owner_states(databases: &[&DatabaseFiles]) -> Vec<OwnerState> {
    let table = LockTable::read().ok();
    let mounts = MountTable::read();
    let scan = scan_descriptors(databases, Instant::now() + SCAN_LIMIT);
    let states = databases.iter().enumerate().map(|(index, files)| {
        let locks = table.as_ref().and_then(|table| DatabaseLocks::of(files, table, &mounts));
        let mut suspects: Vec<u32> = locks.iter().flat_map(pids_without_main_lock).collect();
        let is_unlocked = locks.as_ref().is_some_and(DatabaseLocks::is_main_unlocked);
        suspects.extend(scan.suspects(index, is_unlocked));
        suspects.sort_unstable();
        suspects.dedup();
        let lost = if suspects.is_empty() { Vec::new() } else { confirm(files, &suspects) };
        let is_whole = locks.as_ref().is_some_and(|locks| locks.view == LockView::Whole);
        OwnerState { lost, locks_seen: is_whole, files_seen: is_whole && scan.saw_every_writer(files) }
    });
    states.collect()
}

/// What suspects have lost at each of several looks.
fn confirm(files: &DatabaseFiles, suspects: &[u32]) -> Vec<LostLocks> {
    const ROUNDS: u32 = 5;
    const PAUSE: Duration = Duration::from_millis(20);
    let mut lost = inspect(files, suspects);
    for _ in 1..ROUNDS {
        if lost.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
        let again = inspect(files, suspects);
        lost.retain(|one| again.contains(one));
    }
    lost.sort_unstable();
    lost
}

/// Whether another process may have a database open: it holds a lock on it, has it open for
/// writing, or could hide that.
#[must_use]
pub fn may_be_open_elsewhere(files: &DatabaseFiles) -> bool {
    const LIMIT: Duration = Duration::from_millis(200);
    let Some(locks) = DatabaseLocks::read(files) else { return true };
    !locks.main.is_empty() || !locks.shm.is_empty() || count_write_descriptors(&files.main, LIMIT) != Some(0)
}

/// The processes that hold a lock on a database: in WAL mode, all that have it open.
#[must_use]
pub fn lock_holders(files: &DatabaseFiles) -> Vec<u32> {
    let locks = DatabaseLocks::read(files);
    let mut pids: Vec<u32> = locks
        .iter()
        .flat_map(|locks| locks.main.iter().chain(&locks.shm))
        .filter_map(|lock| lock.pid)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// The locks of other processes on a database.
struct DatabaseLocks {
    main: Vec<FileLock>,
    shm: Vec<FileLock>,
    view: LockView,
}

impl DatabaseLocks {
    fn read(files: &DatabaseFiles) -> Option<Self> {
        Self::of(files, &LockTable::read().ok()?, &MountTable::read())
    }

    fn of(files: &DatabaseFiles, table: &LockTable, mounts: &MountTable) -> Option<Self> {
        let main = rustix::fs::stat(&files.main).ok()?;
        let shm = rustix::fs::stat(files.shm()).ok();
        let device = mounts.lock_device(&files.main, main.st_dev)?;
        let of = |stat: &Stat| table.locks_on(LockedFile { device, inode: stat.st_ino }).to_vec();
        Some(Self { main: of(&main), shm: shm.as_ref().map(of).unwrap_or_default(), view: table.view })
    }

    /// Whether it is certain that no process holds a lock on the main file.
    fn is_main_unlocked(&self) -> bool {
        self.view == LockView::Whole && self.main.is_empty()
    }
}

fn inspect(files: &DatabaseFiles, pids: &[u32]) -> Vec<LostLocks> {
    let locks = DatabaseLocks::read(files);
    let mut without_lock: Vec<u32> = locks.iter().flat_map(pids_without_main_lock).collect();
    // If nobody holds a lock on the main file, every process with the -shm open has lost its lock.
    // With a holder, it can be a process forked from it that does not use what it has inherited.
    let is_unlocked = locks.as_ref().is_some_and(DatabaseLocks::is_main_unlocked);
    let mut lost = Vec::new();
    for &pid in pids {
        // One that is gone or hidden shows nothing.
        let Some(open) = OpenFiles::of(pid, files) else { continue };
        if open.shm && is_unlocked && !without_lock.contains(&pid) {
            without_lock.push(pid);
        }
        let named = |(number, path)| LostLocks { pid, loss: Loss::Name(number, path) };
        lost.extend(open.deleted.into_iter().map(named));
    }
    lost.extend(without_lock.into_iter().map(|pid| LostLocks { pid, loss: Loss::Locks }));
    lost
}

/// Processes with the open lock of the `-shm` and no lock on the main file. Everybody who has a WAL
/// database open keeps SHARED on the main file, from before that lock until after it.
fn pids_without_main_lock(locks: &DatabaseLocks) -> Vec<u32> {
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
    pids
}

/// What a process has open of a database.
#[derive(Default)]
struct OpenFiles {
    shm: bool,
    /// Descriptors open for writing whose file is deleted, with its former path.
    deleted: Vec<(u32, PathBuf)>,
}

impl OpenFiles {
    /// `None` where the process is gone or hides its descriptors.
    fn of(pid: u32, files: &DatabaseFiles) -> Option<Self> {
        const LIMIT: Duration = Duration::from_secs(1);
        let deadline = Instant::now() + LIMIT;
        let main = real_path(&files.main);
        let named = |suffix: &str| {
            let mut path = main.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let (wal, shm) = (named("-wal"), named("-shm"));
        let (mut open, mut elsewhere, mut has_main) = (Self::default(), Vec::new(), false);
        for descriptor in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
            if Instant::now() >= deadline {
                break;
            }
            let descriptor = descriptor.ok()?;
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
                // A process that copies the file only reads it.
                open.shm |= is_writable(pid, number) && is_same(pid, number, &files.shm());
            }
        }
        if has_main {
            open.deleted.append(&mut elsewhere);
        }
        Some(open)
    }
}

/// The path of a file as `/proc` has it, without links.
fn real_path(file: &CStr) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(file.to_bytes()));
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
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
    fn a_lost_main_lock_is_distinguished_from_a_kept_one() {
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
            let locks = DatabaseLocks { main, shm, view: LockView::Whole };
            assert_eq!(pids_without_main_lock(&locks), expected, "{name}");
        }
    }
}
