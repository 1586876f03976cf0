//! Finds out what is known of a kept backup without reading it.

use std::path::Path;

use litekeeper_scrub::manifest::Header;

use crate::os::FileStat;
use crate::os::stat;

use crate::tasks::backup::kept_backup::BackupState;
use crate::tasks::backup::kept_backup::KeptBackup;
use crate::tasks::backup::manifest_check::open_manifest;
use crate::tasks::space::c_path;

/// Takes what an earlier run found, as long as the file is the same; otherwise what the manifest
/// says. `None` if there is no such file any more.
pub(super) fn kept_backup(path: &Path, known: &[KeptBackup]) -> Option<KeptBackup> {
    let file = stat(&c_path(path)).ok().flatten()?;
    Some(match known.iter().find(|old| old.path == path) {
        Some(old) if old.size_bytes == file.size && old.changed_at == file.changed => old.clone(),
        // Who changed it is unknown, so it is read again.
        Some(_) => KeptBackup { checked_at: None, ..by_manifest(path, file) },
        None => by_manifest(path, file),
    })
}

/// A backup that was just made and verified.
pub(super) fn new_backup(path: &Path, verified_at: f64) -> Option<KeptBackup> {
    let file = stat(&c_path(path)).ok().flatten()?;
    Some(verified(path, file, verified_at))
}

fn by_manifest(path: &Path, file: FileStat) -> KeptBackup {
    let manifest = open_manifest(path);
    let header = manifest.as_ref().ok().and_then(|manifest| manifest.as_ref()).map(|found| found.header());
    let known = verified(path, file, header.map_or(0.0, |header| header.verified_at));
    let unknown = |problem: String| KeptBackup {
        state: BackupState::Unverified,
        verified_at: None,
        checked_at: None,
        problem: Some(problem),
        ..known.clone()
    };
    match manifest {
        Ok(Some(manifest)) => match mismatch(path, file.size, manifest.header()) {
            None => known,
            Some((BackupState::Damaged, problem)) => {
                KeptBackup { state: BackupState::Damaged, problem: Some(problem), ..known }
            }
            Some((_, problem)) => unknown(problem),
        },
        Ok(None) => unknown("there is no manifest".to_owned()),
        Err(error) => unknown(error.to_string()),
    }
}

/// What the header of the manifest shows without reading the backup.
fn mismatch(path: &Path, size: u64, header: &Header) -> Option<(BackupState, String)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if header.backup != name {
        return Some((BackupState::Unverified, format!("the manifest is of {}", header.backup)));
    }
    let problem = format!("the backup has {size} bytes instead of {}", header.file_size);
    (size != header.file_size).then_some((BackupState::Damaged, problem))
}

fn verified(path: &Path, file: FileStat, verified_at: f64) -> KeptBackup {
    KeptBackup {
        path: path.to_owned(),
        size_bytes: file.size,
        state: BackupState::Verified,
        verified_at: Some(verified_at),
        checked_at: Some(verified_at),
        problem: None,
        changed_at: file.changed,
    }
}
