//! A file that a scan found.

use std::path::PathBuf;

/// A file that a source led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// The file, symlinks resolved; as configured while it is missing.
    pub path: PathBuf,
    /// Device and inode: two names for one file are one database.
    pub identity: Option<(u64, u64)>,
    /// The path from the source's root, from which the name is made.
    pub relative: PathBuf,
    /// The name that the configuration gives.
    pub name: Option<String>,
}
