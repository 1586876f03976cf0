//! The path of a manifest.

use std::path::Path;
use std::path::PathBuf;

use litekeeper_scrub::manifest::SUFFIX;

/// Returns the path of the manifest of a backup.
pub(super) fn manifest_path(backup: &Path) -> PathBuf {
    let mut name = backup.as_os_str().to_owned();
    name.push(SUFFIX);
    PathBuf::from(name)
}
