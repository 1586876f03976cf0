//! Runs a backup: copies, verifies, renames, and removes the oldest backups.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use litekeeper_scrub::manifest::manifest_bytes;

use crate::config::Backup;
use crate::health_report;
use crate::health_report::ImpactLimits;
use crate::health_report::Request;
use crate::humanize::bytes;
use crate::humanize::counted;
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
use crate::tasks::backup::kept::new_backup;
use crate::tasks::backup::kept_backup::KeptBackup;
use crate::tasks::backup::manifest_file::manifest_path;
use crate::tasks::backup::new_manifest::NewManifest;
use crate::tasks::backup::recheck::recheck_and_rotate;
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
    let size = u64::from(header.pages) * u64::from(header.page_size) + manifest_bytes(header.pages);
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
    ensure_space(&required_space(task, &header)?, context)?;
    let made = make(&set, task, context)?;
    let mut backup = made.report;
    let rotated = recheck_and_rotate(&set, &made.kept, task, context).map_err(failed)?;
    backup.rechecked = rotated.rechecked;
    backup.not_rechecked = rotated.not_rechecked;
    backup.files = rotated.kept.iter().filter(|kept| !kept.is_damaged()).count() as u64;
    backup.files_of_others = set.backups().map_err(failed)?.others.len() as u64;
    backup.kept = rotated.kept;
    if let Ok(removed) = &rotated.removed {
        backup.removed.clone_from(removed);
    }
    let report = Report::new(made.max_hold, backup);
    rotated.removed.map(|_| report.clone()).map_err(|error| {
        let message = format!(
            "the backup is complete and verified, but older backups could not be removed: {error}; check the permissions of the directory"
        );
        Stop::failed(FailureReason::Io, message).with_report(report)
    })
}

/// Skips the run if the file system has too little space.
fn ensure_space(required: &SpaceRequirement, context: &TaskContext<'_>) -> Result<(), Stop> {
    if required.available_bytes >= required.bytes {
        return Ok(());
    }
    let damaged: Vec<&KeptBackup> =
        context.history.kept_backups.iter().filter(|kept| kept.is_damaged()).collect();
    let remove = match damaged.as_slice() {
        [] => String::new(),
        damaged => {
            let size = damaged.iter().map(|kept| kept.size_bytes).sum();
            let (number, size) = (counted(damaged.len() as u64, "damaged backup"), bytes(size));
            format!(" ({number} could be removed, {size})")
        }
    };
    let detail = format!(
        "{}: the backup needs {} including min_free_space, but {} are free; older backups are removed only after a new one \
         is verified, so free some space or lower `keep`{remove}",
        required.directory,
        bytes(required.bytes),
        bytes(required.available_bytes)
    );
    Err(Stop::skipped(SkipReason::NoSpace, detail))
}

/// A backup under its name.
struct Made {
    report: BackupReport,
    kept: KeptBackup,
    max_hold: Duration,
}

/// Copies the database, verifies the copy, and gives it its name.
fn make(set: &BackupSet<'_>, task: &Backup, context: &TaskContext<'_>) -> Result<Made, Stop> {
    let Backup { max_writer_wait, max_wal_growth, .. } = *task;
    let owner_busy_timeout = context.database.settings.owner_busy_timeout;
    let impact_limits = ImpactLimits { max_writer_wait, max_wal_growth, owner_busy_timeout };
    let place = set.new_path(context.now);
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| file_failed(&path, &error)
    };
    let manifest_at = manifest_path(&place);
    let origin = set.origin(context.database);
    let manifest = NewManifest::create(&place, origin.clone(), context.now).map_err(at(&manifest_at))?;
    let source = Source {
        path: &context.database.path,
        files: &context.database.files,
        impact_limits: Some(impact_limits),
        limits: context.limits,
        manifest: Some(manifest.writer()),
        progress: &context.progress,
    };
    let (pending, copied) = copy(&source, &pending_path(&place))?;
    let blocks = |number: u64| Ok(manifest.writer().block(number)?);
    let verification = verify(pending.path(), &copied, Some(&blocks), context.limits, &context.progress)
        .map_err(|error| verify_failure(error, impact_limits, context))?;
    backup_set::describe(&pending, &origin);
    let manifest = manifest.publish(&verification, &context.database.files.main).map_err(at(&manifest_at))?;
    pending.rename_noreplace(&place).map_err(at(&place))?;
    manifest.keep();
    let verified_at = verification.verified_at;
    let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
    let kept = new_backup(&place, verified_at).ok_or_else(|| at(&place)(gone))?;
    let report = BackupReport {
        path: place,
        size_bytes: verification.size_bytes,
        sha256: verification.sha256,
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
    Ok(Made { report, kept, max_hold: copied.max_hold })
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
    use std::time::SystemTime;

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
        const MINUTE: Duration = Duration::from_secs(60);
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
