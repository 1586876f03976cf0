//! Reads kept backups again, and rotates them.
//!
//! A backup whose last verification is older than `verify_interval` is read again before the
//! rotation, the oldest verification first: what it shows decides which backups go. A run that is
//! stopped meanwhile has its backup already; the next run continues.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::collectors::unix_seconds;
use crate::config::Backup;
use crate::health_report;
use crate::health_report::Request;
use crate::humanize::bytes;
use crate::limits::QueryLimits;
use crate::sqlite::Check;
use crate::sqlite::FindingCategory;

use crate::tasks::backup::backup_set::BackupSet;
use crate::tasks::backup::compare::CompareError;
use crate::tasks::backup::kept::kept_backup;
use crate::tasks::backup::kept_backup::BackupState;
use crate::tasks::backup::kept_backup::KeptBackup;
use crate::tasks::backup::kept_backup::rotate;
use crate::tasks::backup::manifest_check::check_manifest;
use crate::tasks::context::READ_BUSY_TIMEOUT;
use crate::tasks::context::TaskContext;
use crate::tasks::progress::Progress;
use crate::tasks::progress::ReportProgress;

/// The backups after a rotation.
pub(super) struct Rotated {
    /// Those that are kept, the newest first.
    pub kept: Vec<KeptBackup>,
    /// Those that were read again.
    pub rechecked: u64,
    /// Those that were due and not read, because the run was stopped.
    pub not_rechecked: u64,
    /// Those that were removed, or why one could not be.
    pub removed: Result<Vec<PathBuf>, io::Error>,
}

/// Reads the backups that are due, and removes the oldest.
///
/// # Errors
/// The directory cannot be listed.
pub(super) fn recheck_and_rotate(
    set: &BackupSet<'_>,
    new: &KeptBackup,
    task: &Backup,
    context: &TaskContext<'_>,
) -> io::Result<Rotated> {
    let mut older: Vec<KeptBackup> = set
        .backups()?
        .own
        .iter()
        .rev()
        .filter(|path| **path != new.path)
        .filter_map(|path| kept_backup(path, &context.history.kept_backups))
        .collect();
    let now = unix_seconds(SystemTime::now());
    let mut read = vec![false; older.len()];
    let mut not_rechecked = 0;
    // One that is found damaged lets an older one stay, which may be due itself.
    while let Some(interval) = task.verify_interval {
        let (stay, _) = rotate(&older, task.keep);
        let due = stay.into_iter().filter(|index| !read[*index] && older[*index].is_due(now, interval));
        let mut due: Vec<usize> = due.collect();
        let last = |index: &usize| older[*index].checked_at.unwrap_or(0.0);
        due.sort_by(|a, b| last(a).total_cmp(&last(b)));
        let Some(first) = due.first().copied() else { break };
        match recheck(&older[first], task, context.limits, &context.progress) {
            Some(checked) => older[first] = checked,
            None => {
                not_rechecked = due.len() as u64;
                break;
            }
        }
        read[first] = true;
    }
    let (stay, go) = rotate(&older, task.keep);
    // The oldest first, so that a run that is killed leaves no gap.
    let go: Vec<PathBuf> = go.into_iter().rev().map(|index| older[index].path.clone()).collect();
    let removed = set.remove(&go).map(|()| go);
    let rechecked = read.iter().filter(|read| **read).count() as u64;
    let mut kept = vec![new.clone()];
    match &removed {
        Ok(_) => kept.extend(stay.into_iter().map(|index| older[index].clone())),
        Err(_) => kept.extend(older.into_iter().filter(|backup| backup.path.exists())),
    }
    Ok(Rotated { kept, rechecked, not_rechecked, removed })
}

/// Reads a backup from the disk; `None` if the run is stopped.
fn recheck(
    backup: &KeptBackup,
    task: &Backup,
    limits: &QueryLimits,
    progress: &Arc<dyn Progress>,
) -> Option<KeptBackup> {
    let name = backup.path.file_name().unwrap_or_default().to_string_lossy();
    progress.begin(&format!("check of the backup {name}"));
    let rate = (task.verify_rate > 0).then_some(task.verify_rate);
    let checked = check_manifest(&backup.path, rate, limits, |share| progress.update(share, ""));
    let (state, problem) = match checked {
        Err(CompareError::Stopped) => return None,
        Err(error) => (BackupState::Unverified, Some(error.to_string())),
        Ok(check) if check.is_verified() => (BackupState::Verified, check.detail),
        Ok(check) if check.is_damaged() => (BackupState::Damaged, check.detail),
        Ok(check) => match sqlite_damage(&backup.path, limits, progress) {
            _ if limits.is_exceeded() => return None,
            Some(damage) => (BackupState::Damaged, Some(damage)),
            None => (BackupState::Unverified, check.detail),
        },
    };
    let now = unix_seconds(SystemTime::now());
    let verified_at = if state == BackupState::Verified { Some(now) } else { backup.verified_at };
    let checked = KeptBackup { state, problem, verified_at, checked_at: Some(now), ..backup.clone() };
    if let (BackupState::Damaged, Some(problem)) = (state, &checked.problem) {
        let size = bytes(checked.size_bytes);
        progress.message(&format!("the backup {} ({size}) is damaged: {problem}", checked.path.display()));
    }
    Some(checked)
}

/// Damage that SQLite finds in a backup without a manifest.
fn sqlite_damage(backup: &Path, limits: &QueryLimits, progress: &Arc<dyn Progress>) -> Option<String> {
    let request = Request {
        path: backup.to_owned(),
        rows: Vec::new(),
        checks: vec![Check::Full],
        by_table: false,
        impact_limits: None,
        limits: QueryLimits { busy_timeout: READ_BUSY_TIMEOUT, ..limits.clone() },
    };
    let report = health_report::report(&request, &ReportProgress(Arc::clone(progress)));
    if !report.has(FindingCategory::Damage) {
        return None;
    }
    let findings = report.checks.iter().flat_map(|check| &check.findings);
    let first = findings.into_iter().find(|finding| finding.kind == FindingCategory::Damage);
    let first = first.map_or_else(|| report.error.clone().unwrap_or_default(), |first| first.text.clone());
    Some(format!("SQLite's check finds damage: {first}"))
}
