//! The space that a task needs on a file system.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use crate::os::FilesystemFacts;
use crate::os::MountTable;
use crate::os::filesystem_facts;

use crate::tasks::reason::FailureReason;
use crate::tasks::stop::Stop;

/// Space that a task needs in one directory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpaceRequirement {
    /// What the space is for.
    pub purpose: &'static str,
    /// The directory.
    pub directory: String,
    /// The bytes needed, `min_free_space` included.
    pub bytes: u64,
    /// The bytes that are free.
    pub available_bytes: u64,
}

/// A path for system calls.
pub(super) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path of the system holds no NUL byte")
}

/// The directory of a path, for system calls.
pub(super) fn directory_of(path: &Path) -> CString {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    c_path(directory)
}

/// The file system under a directory.
///
/// # Errors
/// A failed run, with what the system said.
pub(super) fn filesystem(directory: &CString) -> Result<FilesystemFacts, Stop> {
    filesystem_facts(directory, &MountTable::read()).map_err(|error| {
        let message =
            format!("{}: the free space cannot be determined: {error}", directory.to_string_lossy());
        Stop::failed(FailureReason::Io, message)
    })
}
