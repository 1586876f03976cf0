//! SQLite's word that a database is malformed, confirmed by a check before it becomes a verdict.
//!
//! SQLITE_CORRUPT is also what a statement gets from a full-text index that is out of step with its
//! table, from a value that a trigger cannot read, or from a file that was replaced under it. The
//! verdict `corrupt` stops every task that writes and the rotation of backups, so it belongs to a
//! check, which finds out whether the file is damaged.

use std::sync::Arc;
use std::time::Duration;

use crate::health_report;
use crate::health_report::ImpactLimits;
use crate::health_report::Request;
use crate::health_report::Status;
use crate::limits::QueryLimits;
use crate::os::stat;
use crate::sqlite::Check;
use crate::sqlite::FileFormat;
use crate::sqlite::FindingCategory;

use crate::tasks::context::READ_BUSY_TIMEOUT;
use crate::tasks::context::TaskContext;
use crate::tasks::progress::ReportProgress;
use crate::tasks::reason::FailureReason;
use crate::tasks::stop::Stop;
use crate::tasks::stop::StopReason;
use crate::tasks::task::Task;

/// How the owner is spared where no health check is configured: as one does by default.
const DEFAULT_LIMITS: ImpactLimits = ImpactLimits {
    max_writer_wait: Duration::from_millis(100),
    max_wal_growth: 64 * 1024 * 1024,
    owner_busy_timeout: None,
};

/// Confirms a failed run: its database counts as damaged only where a check finds damage, or cannot
/// be made.
pub(super) fn confirm(task: &dyn Task, stop: Stop, context: &TaskContext<'_>) -> Stop {
    let StopReason::Failed(reason) = stop.reason else { return stop };
    // SQLite says of a file that is shorter than a header that it cannot be read.
    let may_be_no_database =
        matches!(reason, FailureReason::Corrupt | FailureReason::Io | FailureReason::Other);
    if task.is_check() || !may_be_no_database {
        return stop;
    }
    let other = |message| Stop { reason: StopReason::Failed(FailureReason::Other), message, ..stop.clone() };
    let path = &context.database.path;
    let size = stat(&context.database.files.main).ok().flatten().map_or(0, |main| main.size);
    if let Some(format) = FileFormat::detect(path, size, context.limits).filter(|format| !format.is_damaged())
    {
        return other(format.to_string());
    }
    if reason != FailureReason::Corrupt {
        return stop;
    }
    context.progress.message("SQLite calls the database malformed; it is checked");
    let found = health_report::report(&request(context), &ReportProgress(Arc::clone(&context.progress)));
    if found.has(FindingCategory::Damage) {
        return stop;
    }
    // What only the application can check is no damage; a check that could not be made says
    // nothing.
    if found.status == Status::Unknown && (found.error.is_some() || found.checks.is_empty()) {
        let why = found.error.as_deref().unwrap_or("it gave no result");
        let message = format!("{}; whether the file is damaged could not be checked: {why}", stop.message);
        return Stop { message, ..stop };
    }
    other(format!(
        "{}; a full check finds no damage, so this is not the file: a full-text index that is out of step with its \
         table gives this error in a trigger (INSERT INTO i(i) VALUES('integrity-check') tells, 'rebuild' makes it anew), as does a \
         file that was replaced meanwhile",
        stop.message
    ))
}

fn request(context: &TaskContext<'_>) -> Request {
    let settings = &context.database.settings;
    let (max_writer_wait, max_wal_growth) = match &settings.tasks.health_check {
        Some(task) => (task.max_writer_wait, task.max_wal_growth),
        None => (DEFAULT_LIMITS.max_writer_wait, DEFAULT_LIMITS.max_wal_growth),
    };
    let impact_limits =
        ImpactLimits { max_writer_wait, max_wal_growth, owner_busy_timeout: settings.owner_busy_timeout };
    Request {
        path: context.database.path.clone(),
        rows: Vec::new(),
        checks: vec![Check::Full],
        by_table: false,
        impact_limits: Some(impact_limits),
        limits: QueryLimits { busy_timeout: READ_BUSY_TIMEOUT, ..context.limits.clone() },
    }
}
