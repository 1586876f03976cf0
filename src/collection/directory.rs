//! The directories that hold databases, and the file systems under them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::os::FilesystemFacts;
use crate::os::MountTable;
use crate::os::filesystem_facts;

/// A directory that holds databases, and the file system under it.
#[derive(Debug)]
pub(super) struct Directory {
    path: CString,
    busy: AtomicBool,
    facts: Mutex<Option<Arc<FilesystemFacts>>>,
}

/// The directory of a database's main file.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        let path = CString::new(path.as_os_str().as_bytes()).expect("a path of the system holds no NUL byte");
        Self { path, busy: AtomicBool::new(false), facts: Mutex::new(None) }
    }

    /// Asks for the space, unless an earlier call still hangs. Old numbers of a file system that
    /// fails are removed: unknown is absent.
    pub(super) fn measure(&self, mounts: &MountTable) {
        if self.busy.swap(true, Ordering::SeqCst) {
            *self.facts.lock() = None;
            return;
        }
        let facts = filesystem_facts(&self.path, mounts).ok().map(Arc::new);
        *self.facts.lock() = facts;
        self.busy.store(false, Ordering::SeqCst);
    }

    pub(super) fn facts(&self) -> Option<Arc<FilesystemFacts>> {
        self.facts.lock().clone()
    }
}
