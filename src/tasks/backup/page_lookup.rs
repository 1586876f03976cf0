//! Finds the kept backups that hold the good content of damaged pages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use litekeeper_scrub::PageHash;
use litekeeper_scrub::hash_page;
use litekeeper_scrub::manifest::Manifest;

use crate::os::DiskReader;

use crate::tasks::backup::backup_set::BackupSet;
use crate::tasks::backup::manifest_check::open_manifest;
use crate::tasks::context::TaskContext;

/// For each page the newest backup of the database that holds it with this hash. The page is read
/// from the backup, because a backup may have been damaged since its last verification. Page 1 is
/// not found: a copy has another change counter.
///
/// Backups without a manifest and those of another directory than the configured one are left out.
pub(in crate::tasks) fn backups_with_pages(
    wanted: &BTreeMap<u32, PageHash>,
    context: &TaskContext<'_>,
) -> BTreeMap<u32, PathBuf> {
    let mut found = BTreeMap::new();
    let database = context.database;
    let (Some(task), Some(identity)) = (&database.settings.tasks.backup, &context.history.backup_identity)
    else {
        return found;
    };
    // A directory that cannot be read has no backup that could help.
    let backups = BackupSet::new(&task.to, &database.name, identity).backups().unwrap_or_default();
    for backup in backups.own.iter().rev() {
        if found.len() == wanted.len() || context.limits.is_exceeded() {
            break;
        }
        let (Ok(Some(manifest)), Ok(reader)) = (open_manifest(backup), DiskReader::open(backup)) else {
            continue;
        };
        for (page, hash) in wanted {
            if !found.contains_key(page) && holds(&reader, &manifest, *page, *hash) {
                found.insert(*page, backup.clone());
            }
        }
    }
    found
}

/// Whether a backup holds a page with this hash, by its manifest and by its content.
fn holds(backup: &DiskReader, manifest: &Manifest, page: u32, hash: PageHash) -> bool {
    if !matches!(manifest.hash_of(page), Ok(Some(listed)) if listed == hash) {
        return false;
    }
    let page_size = manifest.header().page_size;
    let mut content = vec![0; page_size as usize];
    let read = backup.read_again(&mut content, u64::from(page - 1) * u64::from(page_size));
    matches!(read, Ok(bytes) if bytes == content.len()) && hash_page(&content) == hash
}
