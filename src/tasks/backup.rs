//! Backup: a verified copy of the database in a directory, of which the newest stay.
//!
//! Procedure: see that there is room; make a copy under a temporary name and prove it, see `copy`; give it its name;
//! and only then let the oldest go. Price: as much disk as the database has pages for each copy kept, and the read
//! transaction of a copy. Why under another name first: what stands under a backup's name is complete, on the disk and checked,
//! whenever the run was killed. Why no directory is made: one that is missing may be a disk that is not mounted.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use crate::config::Backup;
use crate::health_report;
use crate::health_report::ImpactLimits;
use crate::health_report::Request;
use crate::humanize::bytes;
use crate::os::FileKind;
use crate::os::directory_denied;
use crate::os::stat;
use crate::sqlite::Check;
use crate::sqlite::FindingCategory;
use crate::sqlite::Header;

use super::Inspection;
use super::READ_BUSY_TIMEOUT;
use super::TaskContext;
use super::backup_set;
use super::backup_set::BackupSet;
use super::health_check::ReportProgress;
use super::inspect;
use super::outcome::Details;
use super::outcome::FailureReason;
use super::outcome::Outcome;
use super::outcome::Report;
use super::outcome::SkipReason;
use super::preflight;
use super::vacuum::SpaceRequirement;
use super::verified_copy::Source;
use super::verified_copy::VerifyError;
use super::verified_copy::copy;
use super::verified_copy::file_failed;
use super::verified_copy::pending_path;
use super::verified_copy::verify;

/// What was kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BackupReport {
    /// The new backup.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Tables whose rows are as many in the copy as in the database: counted in both, or copied byte for byte.
    pub tables: u64,
    /// Their rows.
    pub rows: u64,
    /// Tables that were not counted in the database in time, so that only the copy's own check speaks for them.
    pub not_compared: Vec<String>,
    /// What could not be checked in the copy, with the reason: it needs what only the application has.
    #[serde(default)]
    pub not_checked: Vec<String>,
    /// Constraints that rows of the copy break, as those of the database do.
    #[serde(default)]
    pub broken_constraints: Vec<String>,
    /// How often the copy began; of a rollback database, how many times its file was read.
    pub attempts: u32,
    /// How long the database was read.
    pub copy_seconds: f64,
    /// How long the check of the copy took.
    pub verify_seconds: f64,
    /// When it was proved, in seconds since 1970.
    pub verified_at: f64,
    /// Backups of the database in the directory.
    pub files: u64,
    /// Backups in the directory that have its name and are of another database, or not known to be of this one; they stay.
    #[serde(default)]
    pub files_of_others: u64,
    /// Those that went.
    pub removed: Vec<PathBuf>,
}

/// Why nothing can be kept in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryError {
    /// There is none.
    Missing,
    /// Something else has its name.
    NoDirectory(FileKind),
    /// Its file system is mounted read-only.
    ReadOnly,
    /// This process may not make, list or remove files in it; the system's words.
    Denied(String),
    /// The system does not tell; its words.
    Unknown(String),
}

impl std::fmt::Display for DirectoryError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => formatter.write_str(
                "there is no such directory; make it, or mount what belongs there (litekeeper makes none, as it would fill \
                 the wrong disk)",
            ),
            Self::NoDirectory(kind) => write!(formatter, "it is {}, no directory", kind.describe()),
            Self::ReadOnly => formatter.write_str("its file system is mounted read-only"),
            Self::Denied(error) => write!(formatter, "litekeeper may not keep files there: {error}"),
            Self::Unknown(error) => formatter.write_str(error),
        }
    }
}

/// What keeps backups from being kept in a directory.
#[must_use]
pub fn directory_error(directory: &Path) -> Option<DirectoryError> {
    let path = preflight::c_path(directory);
    match stat(&path) {
        Ok(Some(found)) if found.kind == FileKind::Directory => {
            directory_denied(&path).map(|error| match error.kind() {
                std::io::ErrorKind::ReadOnlyFilesystem => DirectoryError::ReadOnly,
                _ => DirectoryError::Denied(error.to_string()),
            })
        }
        Ok(Some(found)) => Some(DirectoryError::NoDirectory(found.kind)),
        Ok(None) => Some(DirectoryError::Missing),
        Err(error) => Some(DirectoryError::Unknown(error.to_string())),
    }
}

/// Refuses a directory in which nothing can be kept.
pub(super) fn check_directory(task: &Backup) -> Result<(), Outcome> {
    match directory_error(&task.to) {
        None => Ok(()),
        Some(problem) => Err(Outcome::failed(FailureReason::Io, format!("{}: {problem}", task.to.display()))),
    }
}

/// The room that a backup needs.
pub(super) fn required_space(task: &Backup, header: &Header) -> Result<SpaceRequirement, Outcome> {
    let directory = preflight::c_path(&task.to);
    let facts = preflight::filesystem(&directory)?;
    let size = u64::from(header.pages) * u64::from(header.page_size);
    let directory = directory.to_string_lossy().into_owned();
    let (bytes, available_bytes) = (size.saturating_add(task.min_free_space), facts.available_bytes);
    Ok(SpaceRequirement { purpose: "backup", directory, bytes, available_bytes })
}

/// Backs the database up.
pub(super) fn run(task: &Backup, context: &TaskContext<'_>) -> Outcome {
    run_inner(task, context).unwrap_or_else(|outcome| outcome)
}

fn run_inner(task: &Backup, context: &TaskContext<'_>) -> Result<Outcome, Outcome> {
    let Inspection { header, .. } = inspect(context)?;
    check_directory(task)?;
    let failed = |error: std::io::Error| file_failed(&task.to.display().to_string(), &error);
    let Some(identity) = context.history.backup_identity.as_ref() else {
        let message = "the state file keeps no identity for the database's backups, so none is made";
        return Err(Outcome::failed(FailureReason::Io, message));
    };
    let set = BackupSet::new(&task.to, &context.database.name, identity);
    set.remove_incomplete().map_err(failed)?;
    let required_space = required_space(task, &header)?;
    if required_space.available_bytes < required_space.bytes {
        let detail = format!(
            "{}: the backup needs {}, min_free_space included, and {} are free; older ones stay until a new one is proved",
            required_space.directory,
            bytes(required_space.bytes),
            bytes(required_space.available_bytes)
        );
        return Err(Outcome::skipped(SkipReason::NoSpace, detail));
    }
    let Backup { max_writer_wait, max_wal_growth, .. } = *task;
    let owner_busy_timeout = context.database.settings.owner_busy_timeout;
    let impact_limits = ImpactLimits { max_writer_wait, max_wal_growth, owner_busy_timeout };
    let source = Source {
        path: &context.database.path,
        files: &context.database.files,
        impact_limits: Some(impact_limits),
        limits: context.limits,
        progress: &context.progress,
    };
    let place = set.new_path(context.now);
    let (pending, copied) = copy(&source, &pending_path(&place))?;
    let verification = verify(pending.path(), &copied, context.limits, &context.progress)
        .map_err(|error| verify_failure(error, impact_limits, context))?;
    backup_set::describe(&pending, identity, context.database);
    pending.rename_noreplace(&place).map_err(|error| file_failed(&place.display().to_string(), &error))?;
    let verified_at =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut backup = BackupReport {
        path: place.clone(),
        size_bytes: verification.size_bytes,
        tables: verification.tables,
        rows: verification.rows,
        not_compared: verification.not_compared,
        not_checked: verification.not_checked,
        broken_constraints: verification.broken_constraints,
        attempts: copied.attempts,
        copy_seconds: copied.elapsed.as_secs_f64(),
        verify_seconds: verification.elapsed.as_secs_f64(),
        verified_at,
        ..BackupReport::default()
    };
    let rotated = set.prune(&place, task.keep);
    if let Ok(removed) = &rotated {
        backup.removed.clone_from(removed);
    }
    let found = set.backups().map_err(failed)?;
    (backup.files, backup.files_of_others) = (found.own.len() as u64, found.others.len() as u64);
    let report = Report { max_hold: copied.max_hold, details: Details::Backup(Box::new(backup)) };
    Ok(match rotated {
        Ok(_) => Outcome::Success(report),
        Err(error) => {
            let message =
                format!("the backup is made and proved, but older ones could not be removed: {error}");
            Outcome::Failed { reason: FailureReason::Io, message, report: Some(report) }
        }
    })
}

/// What a flaw of the copy says: of the database where that is damaged too, else of the disk under the copy.
fn verify_failure(error: VerifyError, impact_limits: ImpactLimits, context: &TaskContext<'_>) -> Outcome {
    let kept = "it is thrown away, and the backups before it stay";
    match error {
        VerifyError::Unread(error) => Outcome::of(&error, None),
        VerifyError::Differs(words) => {
            Outcome::failed(FailureReason::Io, format!("the copy is not what was read: {words}; {kept}"))
        }
        VerifyError::Damaged(problem) => {
            context.progress.message("the copy is damaged; the database is checked");
            let request = Request {
                path: context.database.path.clone(),
                rows: Vec::new(),
                checks: vec![Check::Full],
                by_table: false,
                impact_limits: Some(impact_limits),
                limits: crate::limits::QueryLimits {
                    busy_timeout: READ_BUSY_TIMEOUT,
                    ..context.limits.clone()
                },
            };
            let report = health_report::report(&request, &ReportProgress(Arc::clone(&context.progress)));
            // Until somebody looked, a database whose copy is damaged counts as damaged. Broken constraints, and what only the
            // application can check, are no damage.
            let unchecked = report.error.is_some() || report.checks.is_empty();
            match report.has(FindingCategory::Damage) || unchecked {
                false => {
                    let words = "though the database is sound; look at the disk under the backups";
                    Outcome::failed(
                        FailureReason::Io,
                        format!("the copy is damaged ({problem}) {words}; {kept}"),
                    )
                }
                true => {
                    Outcome::failed(FailureReason::Corrupt, format!("the copy is damaged: {problem}; {kept}"))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::database::DatabaseName;
    use crate::limits::QueryLimits;
    use crate::os::ClockReading;
    use crate::tasks::TaskHistory;
    use crate::tasks::tests::Quiet;
    use crate::tasks::tests::owner_runs;

    /// A damaged copy of a sound database is the disk's fault, and says nothing of the database.
    #[test]
    fn a_damaged_copy_is_blamed_on_the_right_one() {
        const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let database = Database::new(DatabaseName::new("a"), path.clone(), Arc::default(), 1);
        let blame = |sql: &str| {
            owner_runs(&path, sql);
            let (limits, history) = (QueryLimits::with_timeout(MINUTE), TaskHistory::default());
            let context = TaskContext {
                database: &database,
                now: SystemTime::now(),
                clock: ClockReading::read(),
                must_end_by: None,
                limits: &limits,
                history: &history,
                progress: Arc::new(Quiet),
            };
            let impact_limits =
                ImpactLimits { max_writer_wait: MINUTE, max_wal_growth: 0, owner_busy_timeout: None };
            match verify_failure(VerifyError::Damaged("a page".to_owned()), impact_limits, &context) {
                Outcome::Failed { reason, .. } => reason,
                other => panic!("{other:?}"),
            }
        };
        let sound = "CREATE TABLE t (a, b); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1, 2)";
        assert_eq!(blame(sound), FailureReason::Io);
        let damage = "PRAGMA writable_schema = ON;
                      UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t (b)' WHERE name = 'i'";
        assert_eq!(blame(damage), FailureReason::Corrupt);
    }
}
