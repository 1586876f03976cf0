//! Whether a file changed, by what `stat` says of it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

/// Device, inode, size, and the times of content and inode.
type Marks = (u64, u64, u64, i64, i64, i64, i64);

/// A file as it was at one moment.
#[derive(Debug)]
pub(super) struct FileFingerprint {
    path: PathBuf,
    marks: Option<Marks>,
}

impl FileFingerprint {
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), marks: marks(path) }
    }

    pub fn is_current(&self) -> bool {
        marks(&self.path) == self.marks
    }
}

fn marks(path: &Path) -> Option<Marks> {
    let found = std::fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ))
}
