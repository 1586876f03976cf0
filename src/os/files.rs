//! `stat` of a database's files, and the evidence that they have not moved.

use std::ffi::CStr;
use std::io;
use std::time::Duration;
use std::time::SystemTime;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::database_files::DatabaseFiles;

/// What kind of thing stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A named pipe; opening one waits for a writer.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
    /// Something else.
    Other,
}

impl FileKind {
    /// The word for it in a message.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Regular => "a file",
            Self::Directory => "a directory",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Other => "a special file",
        }
    }
}

/// What `stat` says of one file. Times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Device of the file system.
    pub device: u64,
    /// Inode on it.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes really used on disk.
    pub allocated: u64,
    /// Last change of the content.
    pub modified: i64,
    /// Last change of content, owner, mode or name.
    pub changed: i64,
    /// When the inode was made, where the file system keeps that. A file that is deleted and made
    /// anew can get the old inode number at once (ext4), but not the old time.
    pub born: Option<i64>,
    /// What it is.
    pub kind: FileKind,
}

/// What makes a file this one and no other, whatever its content: device, inode, and the time it
/// was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    born: Option<i64>,
}

impl FileStat {
    /// The file's identity.
    #[must_use]
    pub fn identity(&self) -> FileIdentity {
        FileIdentity { device: self.device, inode: self.inode, born: self.born }
    }
}

/// Asks for a file; `None` when there is none under that name.
///
/// # Errors
/// What the system says, e.g. that a directory may not be searched.
pub fn stat(path: &CStr) -> io::Result<Option<FileStat>> {
    use rustix::fs::AtFlags;
    use rustix::fs::CWD;
    use rustix::fs::StatxFlags;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = match rustix::fs::statx(CWD, path, AtFlags::empty(), wanted) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let nanoseconds = |time: rustix::fs::StatxTimestamp| nanoseconds(time.tv_sec, time.tv_nsec.into());
    let has_birth_time = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    Ok(Some(FileStat {
        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        size: stat.stx_size,
        // POSIX counts blocks of 512 bytes here, whatever stx_blksize says.
        allocated: stat.stx_blocks * 512,
        modified: nanoseconds(stat.stx_mtime),
        changed: nanoseconds(stat.stx_ctime),
        born: has_birth_time.then(|| nanoseconds(stat.stx_btime)),
        kind: match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::RegularFile => FileKind::Regular,
            FileType::Directory => FileKind::Directory,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::BlockDevice | FileType::CharacterDevice => FileKind::Device,
            FileType::Symlink | FileType::Unknown => FileKind::Other,
        },
    }))
}

/// The words for an empty main file beside a `-wal` with content, which hold what is left of a
/// database: SQLite writes the first page before it begins a WAL.
#[must_use]
pub fn nonempty_wal(files: &DatabaseFiles) -> Option<String> {
    let wal = stat(&files.wal).ok().flatten().filter(|wal| wal.size > 0)?;
    Some(format!(
        "the file is empty and its -wal has {} bytes: it was truncated. Open it with no program, as SQLite would delete the -wal, \
         which may hold the latest pages: copy both files first",
        wal.size
    ))
}

/// Which of a database's files this process may not read, and why. SQLite says of all of them no
/// more than "unable to open database file".
#[must_use]
pub fn read_denied(files: &DatabaseFiles) -> Option<(&'static str, io::Error)> {
    use rustix::fs::Access;
    use rustix::fs::AtFlags;
    use rustix::fs::CWD;
    let shm = files.shm();
    let files = [("main file", &files.main), ("-wal file", &files.wal), ("-shm file", &shm)];
    files.into_iter().find_map(|(name, path)| {
        match rustix::fs::accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS) {
            // A companion file that is not there is not denied.
            Ok(()) | Err(Errno::NOENT) => None,
            Err(error) => Some((name, error.into())),
        }
    })
}

fn nanoseconds(seconds: i64, nanoseconds: u64) -> i64 {
    // A nonsense time from a damaged inode must not end the agent.
    seconds.saturating_mul(1_000_000_000).saturating_add_unsigned(nanoseconds)
}

/// A change within one tick of the file system's clock leaves the same time, so a file that was
/// written this shortly before the look counts as moved. Kernel ticks are 1 to 10 ms; twice that.
const RACY_WINDOW: Duration = Duration::from_millis(20);
/// The same for file systems that keep whole seconds (FAT: two).
const RACY_WINDOW_COARSE: Duration = Duration::from_secs(3);

/// The state of main file and WAL at one instant: equal stamps that are not racy mean equal
/// content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseFingerprint {
    /// The main file.
    pub main: Option<FileStat>,
    /// The WAL.
    pub wal: Option<FileStat>,
}

impl DatabaseFingerprint {
    /// Takes the stamp: two `stat` calls.
    ///
    /// # Errors
    /// What the system says of the first file that it refuses to look at.
    pub fn read(files: &DatabaseFiles) -> io::Result<Self> {
        Ok(Self { main: stat(&files.main)?, wal: stat(&files.wal)? })
    }

    /// Whether a change at or after `taken_at` could have left this same stamp.
    #[must_use]
    pub fn is_racy(&self, taken_at: SystemTime) -> bool {
        let taken_at = taken_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let taken_at = i64::try_from(taken_at.as_nanos()).unwrap_or(i64::MAX);
        [self.main, self.wal].into_iter().flatten().any(|file| {
            let coarse = file.modified % 1_000_000_000 == 0;
            let window = if coarse { RACY_WINDOW_COARSE } else { RACY_WINDOW };
            // Also true for a time in the future: its next change may look the same.
            file.modified.saturating_add(window.as_nanos() as i64) >= taken_at
        })
    }

    /// Whether a commit that was written to the WAL within `fsync` before `taken_at` could have
    /// become visible after it.
    #[must_use]
    pub fn may_hide_a_commit(&self, taken_at: SystemTime, fsync: Duration) -> bool {
        let taken_at = taken_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let taken_at = i64::try_from(taken_at.as_nanos()).unwrap_or(i64::MAX);
        let fsync = i64::try_from(fsync.as_nanos()).unwrap_or(i64::MAX);
        self.wal.is_some_and(|wal| wal.size > 0 && wal.modified.saturating_add(fsync) >= taken_at)
    }

    /// The newest content change of main file and WAL, in seconds since 1970.
    #[must_use]
    pub fn last_write_seconds(&self) -> Option<f64> {
        let newest = [self.main, self.wal].into_iter().flatten().map(|file| file.modified).max()?;
        Some(newest as f64 / 1e9)
    }
}

/// Size of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSize {
    /// Bytes.
    pub size: u64,
    /// Bytes really used on disk.
    pub allocated: u64,
}

impl From<FileStat> for FileSize {
    fn from(stat: FileStat) -> Self {
        Self { size: stat.size, allocated: stat.allocated }
    }
}

/// The sizes of a database's files and the time of its last write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FileFacts {
    /// The main file.
    pub main: FileSize,
    /// The write-ahead log, where there is one.
    pub wal: Option<FileSize>,
    /// Its shared memory, where there is one.
    pub shm: Option<FileSize>,
    /// The rollback journal, where there is one.
    pub journal: Option<FileSize>,
    /// The newest change of main file and WAL, in seconds since 1970.
    pub last_write_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(modified: i64) -> DatabaseFingerprint {
        let file = FileStat {
            device: 1,
            inode: 1,
            size: 1,
            allocated: 1,
            modified,
            changed: modified,
            born: None,
            kind: FileKind::Regular,
        };
        DatabaseFingerprint { main: Some(file), wal: None }
    }

    #[test]
    fn a_fresh_time_counts_as_moved() {
        const SECOND: i64 = 1_000_000_000;
        let at = |nanoseconds: i64| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds as u64);
        let written = 1_000 * SECOND + 1;
        for (taken_at, racy) in [
            (written, true),
            (written + 19_000_000, true),
            (written + 21_000_000, false),
            (written - 5 * SECOND, true),
        ] {
            assert_eq!(stamp(written).is_racy(at(taken_at)), racy, "taken {} ns after", taken_at - written);
        }
        // Whole seconds mean a coarse clock.
        assert!(stamp(1_000 * SECOND).is_racy(at(1_002 * SECOND)));
        assert!(!stamp(1_000 * SECOND).is_racy(at(1_004 * SECOND)));
    }
}
