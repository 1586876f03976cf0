//! Confirms SQLITE_CORRUPT with a check before a database counts as damaged.
//!
//! A statement also gets SQLITE_CORRUPT if a full-text index does not match its table, if a trigger
//! cannot read a value, or if the file was replaced. The verdict `corrupt` stops every task that
//! writes and the rotation of backups, so only a check that finds damage may set it.

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

/// Impact limits of the check if no health check is configured: the defaults of a health check.
const DEFAULT_LIMITS: ImpactLimits = ImpactLimits {
    max_writer_wait: Duration::from_millis(100),
    max_wal_growth: 64 * 1024 * 1024,
    owner_busy_timeout: None,
};

/// Confirms a failed run: its database counts as damaged only if a check finds damage or cannot be
/// made.
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
    context.progress.message("SQLite reports that the database is malformed; checking it");
    let found = health_report::report(&request(context), &ReportProgress(Arc::clone(&context.progress)));
    if found.has(FindingCategory::Damage) {
        return stop;
    }
    // Content that only the application can check is not damage. A check that could not be made
    // proves nothing.
    if found.status == Status::Unknown && (found.error.is_some() || found.checks.is_empty()) {
        let why = found.error.as_deref().unwrap_or("the check gave no result");
        let message = format!("{}; it could not be checked whether the file is damaged: {why}", stop.message);
        return Stop { message, ..stop };
    }
    other(format!(
        "{}; a full check finds no damage in the file. The error occurs in a trigger if a full-text index does not match its \
         table (check it with INSERT INTO i(i) VALUES('integrity-check') and rebuild it with 'rebuild'), or if the file was replaced \
         during the run",
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
