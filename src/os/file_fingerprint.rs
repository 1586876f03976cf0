//! Detects changes of a file by its `stat` fields, without opening it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

/// Device, inode, size, mtime and ctime with their nanoseconds.
type StatFields = (u64, u64, u64, i64, i64, i64, i64);

/// A file, or its absence, at one moment.
#[derive(Debug)]
pub struct FileFingerprint {
    path: PathBuf,
    fields: Option<StatFields>,
}

impl FileFingerprint {
    /// Takes the fingerprint of a file as it is now.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), fields: stat_fields(path) }
    }

    /// Whether the file still has this fingerprint.
    #[must_use]
    pub fn is_current(&self) -> bool {
        stat_fields(&self.path) == self.fields
    }
}

fn stat_fields(path: &Path) -> Option<StatFields> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ))
}
