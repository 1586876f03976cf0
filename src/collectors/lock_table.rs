//! The kernel's list of file locks, and which of its lines belong to a database.

use std::collections::HashMap;
use std::io;
use std::time::Instant;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::database::Database;
use crate::locks::DecodedLocks;
use crate::locks::Lock;
use crate::locks::LockSample;
use crate::os::FileStat;
use crate::os::LockTable;
use crate::os::LockedFile;
use crate::os::MountTable;
use crate::os::stat;

use super::facts::DatabaseFacts;

/// The files of a database as the kernel's list names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockFiles {
    /// The main file.
    pub main: LockedFile,
    /// The shared memory of the WAL. `None` unless the main file is locked, as every process that
    /// has a WAL database open holds a lock on the main file.
    pub shm: Option<LockedFile>,
}

/// The locks of all files at one instant, and the mounts that give the device under which the
/// kernel lists a file.
#[derive(Debug)]
pub struct LockTableSnapshot {
    /// The locks.
    pub table: LockTable,
    at: SystemTime,
    instant: Instant,
    mounts: MountTable,
    /// Devices from `stat` that belong to no mount, and the devices that the kernel lists for them.
    devices: Mutex<HashMap<u64, Option<u64>>>,
}

impl LockTableSnapshot {
    /// Reads `/proc/locks` and the mounts, once each.
    ///
    /// # Errors
    /// There is no `/proc/locks`.
    pub fn read() -> io::Result<Self> {
        let (at, instant) = (SystemTime::now(), Instant::now());
        let table = LockTable::read()?;
        Ok(Self { table, at, instant, mounts: MountTable::read(), devices: Mutex::default() })
    }

    /// The files of a database in the list. Costs a search in memory, and a `stat` of the -shm file
    /// where the main file is locked. `None` where the device under which the kernel lists the file
    /// is unknown.
    #[must_use]
    pub fn files_of(&self, database: &Database, main: FileStat) -> Option<LockFiles> {
        let device = self.device_of(database, main.device)?;
        let main = LockedFile { device, inode: main.inode };
        let is_locked = !self.table.locks_on(main).is_empty();
        let shm = if is_locked { stat(&database.files.shm()).ok().flatten() } else { None };
        Some(LockFiles { main, shm: shm.map(|shm| LockedFile { device, inode: shm.inode }) })
    }

    fn device_of(&self, database: &Database, device: u64) -> Option<u64> {
        let devices = || self.devices.lock();
        if let Some(known) = devices().get(&device) {
            return *known;
        }
        // It may hang with the file system, so nothing is locked meanwhile.
        let found = self.mounts.lock_device(&database.files.main, device);
        devices().insert(device, found);
        found
    }

    /// Decodes the locks on a database's files.
    #[must_use]
    pub fn decode(&self, files: LockFiles, facts: Option<&DatabaseFacts>) -> DecodedLocks {
        let shm = files.shm.map(|shm| self.table.locks_on(shm)).unwrap_or_default();
        DecodedLocks::of(self.table.locks_on(files.main), shm, facts.map(|facts| facts.header.journal_mode))
    }

    /// Whether a process has a read lock of the WAL.
    #[must_use]
    pub fn has_wal_reader(&self, files: LockFiles) -> bool {
        let decoded = self.decode(files, None);
        decoded.held.iter().any(|held| held.lock.read_lock().is_some())
    }

    /// Whether a process has the write lock of the WAL: it may be in the fsync of a commit that is
    /// not visible yet.
    #[must_use]
    pub fn has_wal_writer(&self, files: LockFiles) -> bool {
        self.decode(files, None).held.iter().any(|held| held.lock == Lock::WalWrite)
    }

    /// A sample of a database's locks.
    #[must_use]
    pub fn sample(&self, decoded: DecodedLocks, facts: Option<&DatabaseFacts>) -> LockSample {
        LockSample {
            at: self.at,
            instant: self.instant,
            view: self.table.view,
            decoded,
            change: facts.and_then(|facts| facts.change),
            wal: facts.and_then(|facts| facts.wal),
        }
    }
}
