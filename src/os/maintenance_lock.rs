//! A lock between the processes of litekeeper: one of them maintains a database at a time.
//!
//! The database itself cannot carry it, as opening the file would drop SQLite's locks; a file of
//! our own beside the state file does. The system lets go of it when the process ends, however it
//! ends.

use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

/// The right to maintain a database, until it is dropped.
#[derive(Debug)]
pub struct MaintenanceLock {
    path: PathBuf,
    file: File,
}

impl MaintenanceLock {
    /// Takes the lock of a database, known by its device and inode; `None` while another has it.
    ///
    /// # Errors
    /// The directory or the file in it cannot be made.
    pub fn try_acquire(directory: &Path, device: u64, inode: u64) -> io::Result<Option<Self>> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join(format!("{device:x}-{inode:x}.lock"));
        loop {
            #[expect(clippy::disallowed_methods, reason = "a lock file of our own")]
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Who had it before may have removed the name between our open and our lock.
            let ours = file.metadata()?.ino();
            match std::fs::metadata(&path) {
                Ok(named) if named.ino() == ours => return Ok(Some(Self { path, file })),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for MaintenanceLock {
    fn drop(&mut self) {
        // The name goes while the lock is held, so that nobody holds a lock without a name for
        // long.
        let _ = std::fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_no_file_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let first = MaintenanceLock::try_acquire(directory.path(), 1, 2).unwrap().unwrap();
        assert!(MaintenanceLock::try_acquire(directory.path(), 1, 2).unwrap().is_none());
        assert!(MaintenanceLock::try_acquire(directory.path(), 1, 3).unwrap().is_some());
        drop(first);
        assert!(MaintenanceLock::try_acquire(directory.path(), 1, 2).unwrap().is_some());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
