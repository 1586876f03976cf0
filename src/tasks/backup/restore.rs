//! Restore: a verified copy of a backup under a name that nothing has yet.
//!
//! It puts nothing in an application's place: a database that is replaced while it is open is the
//! surest way to damage it, so that last step is the operator's.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::database_files::DatabaseFiles;
use crate::limits::QueryLimits;
use crate::os::stat;

use crate::tasks::backup::backup_set::BackupOwner;
use crate::tasks::backup::backup_set::owner_of;
use crate::tasks::backup::copy::Source;
use crate::tasks::backup::copy::VerifyError;
use crate::tasks::backup::copy::file_failed;
use crate::tasks::backup::copy::pending_path;
use crate::tasks::backup::verified_copy::copy;
use crate::tasks::backup::verified_copy::verify;
use crate::tasks::progress::Progress;
use crate::tasks::reason::FailureReason;
use crate::tasks::stop::Stop;

/// What was restored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreReport {
    /// From where.
    pub backup: PathBuf,
    /// Whose it is, where its file says so.
    pub backup_of: Option<BackupOwner>,
    /// To where.
    pub target: PathBuf,
    /// The size of the file.
    pub size_bytes: u64,
    /// Tables that were counted in both.
    pub tables: u64,
    /// Their rows.
    pub rows: u64,
    /// Tables that could not be counted.
    pub not_compared: Vec<String>,
    /// What could not be checked in the copy, with the reason.
    pub not_checked: Vec<String>,
}

/// Writes a proved copy of a backup.
///
/// # Errors
/// Something stands at the target already; the backup is damaged; a disk fails or is full. Nothing is left then.
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
    let source = Source { path: &resolved, files: &files, impact_limits: None, limits, progress };
    let (pending, copied) = copy(&source, &pending_path(target))?;
    let verification = verify(pending.path(), &copied, limits, progress).map_err(|error| match error {
        VerifyError::Damaged(problem) => {
            Stop::failed(FailureReason::Corrupt, format!("the backup is damaged: {problem}"))
        }
        VerifyError::Differs(words) => {
            Stop::failed(FailureReason::Io, format!("the copy is not what was read: {words}"))
        }
        VerifyError::Unread(error) => Stop::from(error),
    })?;
    pending.rename_noreplace(target).map_err(|error| file_failed(&target.display().to_string(), &error))?;
    Ok(RestoreReport {
        backup: backup.to_owned(),
        backup_of: owner_of(backup),
        target: target.to_owned(),
        size_bytes: verification.size_bytes,
        tables: verification.tables,
        rows: verification.rows,
        not_compared: verification.not_compared,
        not_checked: verification.not_checked,
    })
}

/// Refuses a target with anything at its name, or with a sidecar that SQLite would take for the new
/// file's.
fn check_target_free(target: &Path) -> Result<(), Stop> {
    for suffix in ["", "-wal", "-shm", "-journal", "-tshm"] {
        let mut name = OsString::from(target.as_os_str());
        name.push(suffix);
        let path = PathBuf::from(name);
        // A link that leads nowhere is something, too.
        let taken = path.is_symlink()
            || stat(&crate::tasks::space::c_path(&path))
                .map_err(|error| file_failed(&path.display().to_string(), &error))?
                .is_some();
        if taken {
            let what = match suffix {
                "" => "exists already; nothing is ever overwritten, so give a name that is free",
                _ => "exists, and SQLite would take it for a part of the restored file; move it away",
            };
            return Err(Stop::failed(FailureReason::Config, format!("{}: {what}", path.display())));
        }
    }
    Ok(())
}
