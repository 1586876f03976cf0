//! Restore: copies a backup to a new path and verifies the copy.
//!
//! Restore never replaces a database, because replacing one that an application has open damages
//! it. This last step is the operator's.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use litekeeper_scrub::manifest::Blocks;
use serde::Serialize;

use crate::database_files::DatabaseFiles;
use crate::limits::QueryLimits;
use crate::os::stat;
use crate::sqlite::SqliteError;

use crate::tasks::backup::backup_set::BackupOwner;
use crate::tasks::backup::backup_set::owner_of;
use crate::tasks::backup::compare::CompareError;
use crate::tasks::backup::copy::Source;
use crate::tasks::backup::copy::VerifyError;
use crate::tasks::backup::copy::file_failed;
use crate::tasks::backup::copy::pending_path;
use crate::tasks::backup::manifest_check::ManifestCheck;
use crate::tasks::backup::manifest_check::ManifestStatus;
use crate::tasks::backup::manifest_check::check_manifest;
use crate::tasks::backup::manifest_check::open_manifest;
use crate::tasks::backup::verified_copy::copy;
use crate::tasks::backup::verified_copy::verify;
use crate::tasks::progress::Progress;
use crate::tasks::reason::FailureReason;
use crate::tasks::stop::Stop;

/// A restored backup and how far it is verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreReport {
    /// The file that was read.
    pub backup: PathBuf,
    /// The database of the backup, if the file's attribute or the manifest names it.
    pub backup_of: Option<BackupOwner>,
    /// The comparison of the backup with its manifest.
    pub manifest: ManifestCheck,
    /// The file that was written.
    pub target: PathBuf,
    /// The size of the restored file.
    pub size_bytes: u64,
    /// Tables whose rows were counted in the backup and in the copy.
    pub tables: u64,
    /// Rows of these tables.
    pub rows: u64,
    /// Tables that could not be counted.
    pub not_compared: Vec<String>,
    /// What could not be checked in the copy, with the reason.
    pub not_checked: Vec<String>,
}

/// Copies a backup to `target` and verifies the copy.
///
/// # Errors
/// The target exists, the backup is damaged, or a disk fails or is full. No file is left in these
/// cases.
pub fn restore(
    backup: &Path,
    target: &Path,
    limits: &QueryLimits,
    progress: &Arc<dyn Progress>,
) -> Result<RestoreReport, Stop> {
    check_target_free(target)?;
    let resolved =
        std::fs::canonicalize(backup).map_err(|error| file_failed(&backup.display().to_string(), &error))?;
    let files = DatabaseFiles::of(&resolved);
    let manifest_check = ensure_unchanged(&resolved, limits, progress)?;
    let source =
        Source { path: &resolved, files: &files, impact_limits: None, limits, manifest: None, progress };
    let (pending, copied) = copy(&source, &pending_path(target))?;
    let manifest = match manifest_check.status {
        ManifestStatus::Matches => open_manifest(&resolved).ok().flatten(),
        _ => None,
    };
    let blocks = manifest.as_ref().map(|manifest| |number: u64| manifest.block(number));
    let blocks = blocks.as_ref().map(|blocks| blocks as &Blocks<'_>);
    let verification =
        verify(pending.path(), &copied, blocks, limits, progress).map_err(|error| match error {
            VerifyError::Damaged(problem) => {
                Stop::failed(FailureReason::Corrupt, format!("the backup is damaged: {problem}"))
            }
            VerifyError::Differs(detail) => Stop::failed(
                FailureReason::Io,
                format!("the copy differs from the backup: {detail}; check the disk of the target"),
            ),
            VerifyError::Unread(error) => Stop::from(error),
        })?;
    pending.rename_noreplace(target).map_err(|error| file_failed(&target.display().to_string(), &error))?;
    Ok(RestoreReport {
        backup: backup.to_owned(),
        backup_of: owner_of(backup).or_else(|| manifest_check.origin.clone()),
        manifest: manifest_check,
        target: target.to_owned(),
        size_bytes: verification.size_bytes,
        tables: verification.tables,
        rows: verification.rows,
        not_compared: verification.not_compared,
        not_checked: verification.not_checked,
    })
}

/// Compares the backup with its manifest, and refuses one that has changed since it was made.
fn ensure_unchanged(
    backup: &Path,
    limits: &QueryLimits,
    progress: &Arc<dyn Progress>,
) -> Result<ManifestCheck, Stop> {
    progress.begin("comparison with the manifest");
    let checked = check_manifest(backup, None, limits, |share| progress.update(share, ""));
    let checked = checked.map_err(|error| match error {
        CompareError::Stopped => Stop::from(SqliteError::limit_error("restore the backup", limits)),
        CompareError::Read(error) => file_failed(&backup.display().to_string(), &error),
    })?;
    if checked.is_damaged() {
        let detail = checked.detail.unwrap_or_default();
        let message = format!(
            "the backup is damaged: {detail}; restore another one (`litekeeper restore --verify` says which are sound). If there is none, \
             the backup is a database file by itself: copy it, and expect wrong content in these pages"
        );
        return Err(Stop::failed(FailureReason::Corrupt, message));
    }
    Ok(checked)
}

/// Refuses a target that exists, or that has a `-wal` or journal file beside it, which SQLite would
/// apply to the restored file.
fn check_target_free(target: &Path) -> Result<(), Stop> {
    for suffix in ["", "-wal", "-shm", "-journal", "-tshm"] {
        let mut name = OsString::from(target.as_os_str());
        name.push(suffix);
        let path = PathBuf::from(name);
        // A dangling symbolic link counts as an existing file.
        let taken = path.is_symlink()
            || stat(&crate::tasks::space::c_path(&path))
                .map_err(|error| file_failed(&path.display().to_string(), &error))?
                .is_some();
        if taken {
            let what = match suffix {
                "" => "the file already exists, and restore never overwrites a file; choose another name",
                _ => {
                    "the file exists, and SQLite would apply it to the restored database; move it to another directory"
                }
            };
            return Err(Stop::failed(FailureReason::Config, format!("{}: {what}", path.display())));
        }
    }
    Ok(())
}
