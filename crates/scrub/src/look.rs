//! A look at the files of a database: what proves later whether somebody has written them.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rustix::fs::AtFlags;
use rustix::fs::StatxFlags;
use rustix::process::Flock;
use rustix::process::FlockType;
use serde::Deserialize;
use serde::Serialize;

use crate::direct_file::AlignedBuffer;
use crate::direct_file::DirectFile;
use crate::direct_file::read_fully;
use crate::error::Error;
use crate::hash::hash_page;
use crate::header::HEADER_BYTES;
use crate::header::Header;
use crate::wal::INDEX_BYTES;
use crate::wal::INDEX_OPEN_LOCK;
use crate::wal::WalIndex;

/// Times of files advance by ticks of up to 10 ms: a second write within one leaves no trace.
const TICK: Duration = Duration::from_millis(100);
/// The same where times are whole seconds.
const COARSE_TICK: Duration = Duration::from_secs(3);
const NANOSECONDS: i128 = 1_000_000_000;

/// File systems of this machine alone, whose times change with each write: ext2 to ext4, XFS,
/// Btrfs, ZFS, F2FS, bcachefs, tmpfs, overlay. From statfs(2).
const LOCAL_FILESYSTEMS: [u64; 8] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x2FC1_2FC1, 0xF2F5_2010, 0xCA45_1A4E, 0x0102_1994, 0x794C_7630];

/// The files of a database.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub main: PathBuf,
    pub wal: PathBuf,
    pub index: PathBuf,
    pub journal: PathBuf,
}

impl Files {
    /// SQLite puts the other files beside the file to which a symbolic link leads.
    pub(crate) fn of(database: &Path) -> Result<Self, Error> {
        let main = std::fs::canonicalize(database).map_err(|error| Error::open(database, &error))?;
        let with = |suffix: &str| {
            let mut name = OsString::from(&main);
            name.push(suffix);
            PathBuf::from(name)
        };
        Ok(Self { wal: with("-wal"), index: with("-shm"), journal: with("-journal"), main })
    }
}

/// What a write to a file changes, and what distinguishes the file from another one at its path.
/// The device is left out: it changes when a file system is mounted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub inode: u64,
    pub born: i64,
    pub size: u64,
    pub modified: i64,
    pub changed: i64,
}

impl Stamp {
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.inode, self.born) == (other.inode, other.born)
    }

    /// How long to wait until a write would change the stamp; `None` if its time is in the future,
    /// which says that the clock was set back.
    fn unsettled_for(&self, now: i64) -> Option<Duration> {
        let second = NANOSECONDS as i64;
        let is_coarse = self.changed % second == 0 && self.modified % second == 0;
        let age = Duration::from_nanos(u64::try_from(now.checked_sub(self.changed)?).ok()?);
        Some((if is_coarse { COARSE_TICK } else { TICK }).saturating_sub(age))
    }
}

/// The state of the files of a database at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Look {
    /// Nanoseconds since 1970.
    pub taken_at: i64,
    pub main: Stamp,
    /// Whether each later write changes the stamp of the main file.
    pub is_settled: bool,
    /// Whether the file system is a known local one.
    pub is_local: bool,
    /// The start of the machine and the mount: after a power failure, times of a file can be older
    /// than its content.
    pub mount: (u64, u64),
    /// Read by [`Look::read_header`] where the judgement needs it.
    pub header: Option<Header>,
    pub has_journal: bool,
    pub has_wal: bool,
    /// Whether a process holds the exclusive lock. It need not change the header for each commit.
    pub is_exclusive: bool,
}

impl Look {
    /// Looks at the files. With `wait`, up to a few seconds until the times of the main file are
    /// settled.
    pub(crate) fn take(files: &Files, file: &DirectFile, wait: bool) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::open(&files.main, &error);
        let mut main = stamp(file.file(), &files.main)?;
        let mut is_settled = false;
        for _ in 0..2 {
            match main.unsettled_for(now()) {
                None => break,
                Some(Duration::ZERO) => {
                    is_settled = true;
                    break;
                }
                Some(_) if !wait => break,
                Some(wait) => std::thread::sleep(wait),
            }
            let later = stamp(file.file(), &files.main)?;
            is_settled = later == main && later.unsettled_for(now()) == Some(Duration::ZERO);
            main = later;
        }
        let kind = rustix::fs::fstatfs(file.file()).map_err(io::Error::from).map_err(failed)?;
        Ok(Self {
            taken_at: now(),
            main,
            is_settled,
            is_local: LOCAL_FILESYSTEMS.contains(&(kind.f_type as u64 & 0xffff_ffff)),
            mount: (*BOOT, mount_id(file.file())),
            header: None,
            has_journal: exists(&files.journal),
            has_wal: std::fs::metadata(&files.wal).is_ok_and(|metadata| metadata.len() > 0),
            is_exclusive: is_exclusive(file.file()),
        })
    }

    /// Reads the header of the main file from the disk.
    pub(crate) fn read_header(&mut self, files: &Files, file: &mut DirectFile) -> Result<(), Error> {
        let mut buffer = AlignedBuffer::new();
        let bytes = file.read_range(&files.main, 0, HEADER_BYTES, &mut buffer);
        let bytes = bytes.map_err(|error| Error::read(&files.main, 0, &error))?;
        self.header = Header::parse(bytes);
        Ok(())
    }

    /// Whether the machine ran and the file system was mounted since `earlier`.
    pub(crate) fn is_same_mount(&self, earlier: &Self) -> bool {
        self.mount == earlier.mount
    }
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

pub(crate) fn time(nanoseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

/// A hash of the id of this start of the machine.
static BOOT: LazyLock<u64> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    hash_page(&id).stored()
});

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn mount_id(file: &File) -> u64 {
    rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_or(0, |facts| facts.stx_mnt_id)
}

/// The stamp of an open file. The path may lead to another one by now: then nothing that was read
/// counts.
fn stamp(file: &File, path: &Path) -> Result<Stamp, Error> {
    let failed = |error: rustix::io::Errno| Error::open(path, &error.into());
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let facts = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, mask).map_err(failed)?;
    let nanoseconds = |time: rustix::fs::StatxTimestamp| {
        i64::try_from(i128::from(time.tv_sec) * NANOSECONDS + i128::from(time.tv_nsec)).unwrap_or(0)
    };
    Ok(Stamp {
        inode: facts.stx_ino,
        born: nanoseconds(facts.stx_btime),
        size: facts.stx_size,
        modified: nanoseconds(facts.stx_mtime),
        changed: nanoseconds(facts.stx_ctime),
    })
}

/// The stamp of the file that is at a path now.
pub(crate) fn stamp_of(path: &Path) -> Result<Stamp, Error> {
    let file = DirectFile::open_cached(path).map_err(|error| Error::open(path, &error))?;
    stamp(&file, path)
}

/// Whether a process holds the shared range of a main file exclusively. It asks for no lock.
fn is_exclusive(main: &File) -> bool {
    const SHARED_FIRST: u64 = 0x4000_0002;
    const SHARED_SIZE: u64 = 510;
    is_locked(main, FlockType::ReadLock, SHARED_FIRST, SHARED_SIZE)
}

fn is_locked(file: &File, wanted: FlockType, start: u64, length: u64) -> bool {
    let mut lock = Flock::from(wanted);
    lock.start = start;
    lock.length = length;
    matches!(rustix::process::fcntl_getlk(file, &lock), Ok(Some(_)))
}

/// The wal-index as it is in its file, and whether a process has it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexLook {
    pub index: WalIndex,
    /// Inode and birth time of the file: a new one says that the counts began anew.
    pub file: (u64, i64),
    /// Whether a process has it open: it was then made or verified since the machine started.
    pub is_open: bool,
}

impl IndexLook {
    /// Reads the wal-index; `None` where there is none that is valid, or while it changes.
    pub(crate) fn take(files: &Files) -> Option<Self> {
        let file = DirectFile::open_cached(&files.index).ok()?;
        let stamp = stamp(&file, &files.index).ok()?;
        let read = || {
            let mut bytes = [0; INDEX_BYTES];
            let length = read_fully(&file, &mut bytes, 0).ok()?;
            WalIndex::parse(&bytes[..length])
        };
        // The numbers of checkpoints are outside of the checksum: they belong to the generation
        // that is the same before and after them.
        let index = (0..10).find_map(|_| {
            let first = read()?;
            let second = read()?;
            second.is_same_header(&first).then_some(first)
        })?;
        let is_open = is_locked(&file, FlockType::WriteLock, INDEX_OPEN_LOCK, 1);
        Some(Self { index, file: (stamp.inode, stamp.born), is_open })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_settled_when_a_write_would_change_it() {
        let stamp = |changed| Stamp { inode: 1, born: 0, size: 0, modified: changed, changed };
        let second = NANOSECONDS as i64;
        let at = 100 * second;
        assert_eq!(stamp(at - second + 1).unsettled_for(at), Some(Duration::ZERO));
        assert!(stamp(at - 1_000_001).unsettled_for(at) > Some(Duration::ZERO));
        assert_eq!(stamp(at + 1).unsettled_for(at), None, "the clock was set back");
        assert_eq!(stamp(at - second).unsettled_for(at), Some(Duration::from_secs(2)), "whole seconds");
        assert_eq!(stamp(at - 4 * second).unsettled_for(at), Some(Duration::ZERO));
    }
}
