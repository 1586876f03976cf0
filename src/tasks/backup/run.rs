//! Runs a backup: copies, verifies, renames, and removes the oldest backups.

use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Backup;
use crate::health_report;
use crate::health_report::ImpactLimits;
use crate::health_report::Request;
use crate::humanize::bytes;
use crate::sqlite::Check;
use crate::sqlite::FindingCategory;
use crate::sqlite::Header;

use crate::tasks::backup::backup_set;
use crate::tasks::backup::backup_set::BackupSet;
use crate::tasks::context::READ_BUSY_TIMEOUT;
use crate::tasks::context::TaskContext;
use crate::tasks::inspection::Inspection;
use crate::tasks::inspection::inspect;
use crate::tasks::progress::ReportProgress;

use crate::tasks::backup::copy::Source;
use crate::tasks::backup::copy::VerifyError;
use crate::tasks::backup::copy::file_failed;
use crate::tasks::backup::copy::pending_path;
use crate::tasks::backup::directory::directory_error;
use crate::tasks::backup::report::BackupReport;
use crate::tasks::backup::verified_copy::copy;
use crate::tasks::backup::verified_copy::verify;
use crate::tasks::reason::FailureReason;
use crate::tasks::reason::SkipReason;
use crate::tasks::report::Report;
use crate::tasks::space::SpaceRequirement;
use crate::tasks::space::c_path;
use crate::tasks::space::filesystem;
use crate::tasks::stop::Stop;

/// Fails if the directory cannot store backups.
pub(super) fn check_directory(task: &Backup) -> Result<(), Stop> {
    match directory_error(&task.to) {
        None => Ok(()),
        Some(problem) => Err(Stop::failed(FailureReason::Io, format!("{}: {problem}", task.to.display()))),
    }
}

/// Returns the space that a backup needs and what is free.
pub(super) fn required_space(task: &Backup, header: &Header) -> Result<SpaceRequirement, Stop> {
    let directory = c_path(&task.to);
    let facts = filesystem(&directory)?;
    let size = u64::from(header.pages) * u64::from(header.page_size);
    let directory = directory.to_string_lossy().into_owned();
    let (bytes, available_bytes) = (size.saturating_add(task.min_free_space), facts.available_bytes);
    Ok(SpaceRequirement { purpose: "backup", directory, bytes, available_bytes })
}

pub(super) fn run(task: &Backup, context: &TaskContext<'_>) -> Result<Report, Stop> {
    let Inspection { header, .. } = inspect(context)?;
    check_directory(task)?;
    let failed = |error: std::io::Error| file_failed(&task.to.display().to_string(), &error);
    let Some(identity) = context.history.backup_identity.as_ref() else {
        let message = "no backup is made, because the state file contains no identity for the backups of this database: without one, \
                       rotation could remove backups of another database; check that the state file can be written (`litekeeper doctor`)";
        return Err(Stop::failed(FailureReason::Io, message));
    };
    let set = BackupSet::new(&task.to, &context.database.name, identity);
    set.remove_incomplete().map_err(failed)?;
    let required_space = required_space(task, &header)?;
    if required_space.available_bytes < required_space.bytes {
        let detail = format!(
            "{}: the backup needs {} including min_free_space, but {} are free; older backups are removed only after a new one \
             is verified, so free some space or lower `keep`",
            required_space.directory,
            bytes(required_space.bytes),
            bytes(required_space.available_bytes)
        );
        return Err(Stop::skipped(SkipReason::NoSpace, detail));
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
    let report = Report::new(copied.max_hold, backup);
    rotated.map(|_| report.clone()).map_err(|error| {
        let message = format!(
            "the backup is complete and verified, but older backups could not be removed: {error}; check the permissions of the directory"
        );
        Stop::failed(FailureReason::Io, message).with_report(report)
    })
}

/// Attributes a failed verification: to the database if that is damaged too, otherwise to the disk
/// of the copy.
fn verify_failure(error: VerifyError, impact_limits: ImpactLimits, context: &TaskContext<'_>) -> Stop {
    let kept = "the copy is deleted, and earlier backups are kept";
    match error {
        VerifyError::Unread(error) => Stop::from(error),
        VerifyError::Differs(detail) => Stop::failed(
            FailureReason::Io,
            format!(
                "the copy differs from the database as read: {detail}; {kept}; check the disk of the backups"
            ),
        ),
        VerifyError::Damaged(problem) => {
            context.progress.message("the copy is damaged; checking the database");
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
            // A database whose copy is damaged counts as damaged unless a check passes. Violated
            // constraints, and content that only the application can check, are not damage.
            let unchecked = report.error.is_some() || report.checks.is_empty();
            match report.has(FindingCategory::Damage) || unchecked {
                false => {
                    let cause = "although the database is sound; check the disk of the backups";
                    Stop::failed(
                        FailureReason::Io,
                        format!("the copy is damaged ({problem}) {cause}; {kept}"),
                    )
                }
                true => {
                    Stop::failed(FailureReason::Corrupt, format!("the copy is damaged: {problem}; {kept}"))
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
    use crate::tasks::progress::NoProgress;
    use crate::tasks::stop::StopReason;
    use crate::tasks::tests::owner_runs;

    /// A damaged copy of a sound database indicates a failing disk, not a damaged database.
    #[test]
    fn a_damaged_copy_is_attributed_to_the_disk_or_the_database() {
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
                progress: Arc::new(NoProgress),
            };
            let impact_limits =
                ImpactLimits { max_writer_wait: MINUTE, max_wal_growth: 0, owner_busy_timeout: None };
            match verify_failure(VerifyError::Damaged("a page".to_owned()), impact_limits, &context) {
                Stop { reason: StopReason::Failed(reason), .. } => reason,
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
