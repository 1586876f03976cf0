//! Bringing a file to the disk while it is still being written.

use std::ffi::CString;
use std::ffi::OsStr;
use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::Advice;

/// A rollback journal, written by SQLite in this process, whose sync at the end is to find little left to do.
///
/// Measured beside an owner at work: a hold of 19 ms in rollback mode spends 2.0 ms in its commit in place of 3.7 ms.
#[derive(Debug)]
pub struct WriteBehind {
    path: CString,
    file: Option<File>,
    written: u64,
}

impl WriteBehind {
    /// Of the file under a name, which need not be there yet.
    #[must_use]
    pub fn of(path: CString) -> Self {
        Self { path, file: None, written: 0 }
    }

    /// Has the system begin to write what was added, and waits for nothing. Where it cannot, the sync does the work.
    pub fn push(&mut self) {
        const PAGE: u64 = 4096;
        if self.file.is_none() {
            #[expect(clippy::disallowed_methods, reason = "SQLite locks no part of a journal")]
            let opened = File::open(OsStr::from_bytes(self.path.as_bytes()));
            self.file = opened.ok();
        }
        let Some(file) = &self.file else { return };
        // The last page is still being added to.
        let end = file.metadata().map_or(0, |file| file.len()) / PAGE * PAGE;
        if let Some(length) = NonZeroU64::new(end.saturating_sub(self.written)) {
            // posix_fadvise(2) asks Linux to drop these pages; those not on the disk yet it begins to write (mm/fadvise.c).
            #[cfg(target_os = "linux")]
            let _ = rustix::fs::fadvise(file, self.written, Some(length), Advice::DontNeed);
            self.written += length.get();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "no database")]
    fn each_part_is_pushed_once_and_stays_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut behind = WriteBehind::of(CString::new(path.as_os_str().as_bytes()).unwrap());
        behind.push();
        assert_eq!(behind.written, 0);
        let mut file = File::create(&path).unwrap();
        for (added, written) in [(10_000, 8_192), (2_000, 8_192), (288, 12_288), (0, 12_288)] {
            file.write_all(&vec![7; added]).unwrap();
            behind.push();
            assert_eq!(behind.written, written);
        }
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 12_288]);
    }
}
