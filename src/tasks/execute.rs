//! Runs a task, and says what a run would do: the conditions that all tasks share.

use std::sync::Arc;
use std::time::SystemTime;

use crate::database::Database;
use crate::limits::QueryLimits;
use crate::os::ClockReading;
use crate::task::TaskKind;

use super::confirmation;
use super::context::TaskContext;
use super::context::TaskHistory;
use super::dry_run::DryRun;
use super::inspection::inspect;
use super::owner_format::check_owner_format;
use super::preflight;
use super::problem::ExpectedProblem;
use super::progress::NoProgress;
use super::reason::SkipReason;
use super::registry::task;
use super::report::Report;
use super::stop::Stop;

/// Runs a task on a database that is locked for maintenance by the caller, unless it is a background
/// task.
///
/// # Errors
/// Why it was not needed, not allowed, or failed.
pub fn run(kind: TaskKind, context: &TaskContext<'_>) -> Result<Report, Stop> {
    let task = task(kind);
    if task.writes()
        && let Some(damage) = &context.history.damage
    {
        return Err(Stop::skipped(SkipReason::Unhealthy, damage.to_string()));
    }
    preflight::check_locks(task.access(), context.database)?;
    task.run(context).map_err(|stop| confirmation::confirm(task, stop, context))
}

/// Says what a run would do now.
///
/// # Errors
/// Why the database could not be read.
pub fn dry_run(kind: TaskKind, context: &TaskContext<'_>) -> Result<DryRun, Stop> {
    let task = task(kind);
    let inspection = inspect(context)?;
    let header = &inspection.header;
    let size = u64::from(header.pages) * u64::from(header.page_size);
    let mut dry_run = DryRun { size_bytes: Some(size), ..DryRun::default() };
    if task.writes()
        && let Some(damage) = &context.history.damage
    {
        dry_run.would_not_run = Some(damage.to_string());
    }
    dry_run.note_stop(preflight::check_locks(task.access(), context.database));
    dry_run.note_stop(check_owner_format(task.access(), inspection.owner_format));
    task.dry_run(context, &inspection, &mut dry_run)?;
    Ok(dry_run)
}

/// Problems that the configured tasks will meet when they run on the database as it is now: a time
/// format that is not known, foreign keys that are not decided, a table or directory that is
/// missing. Their dry runs say the same; here, no row is counted.
///
/// # Errors
/// Why the database could not be read.
pub fn expected_problems(database: &Database, limits: &QueryLimits) -> Result<Vec<ExpectedProblem>, Stop> {
    let configured = database.settings.tasks.timings().map(|(kind, _)| task(kind));
    let tasks: Vec<_> = configured.filter(|task| task.expects_problems()).collect();
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let history = TaskHistory::default();
    let context = TaskContext {
        database,
        now: SystemTime::now(),
        clock: ClockReading::read(),
        must_end_by: None,
        limits,
        history: &history,
        progress: Arc::new(NoProgress),
    };
    let inspection = inspect(&context)?;
    let mut problems = Vec::new();
    for task in tasks {
        problems.extend(task.expected_problems(&context, &inspection)?);
    }
    Ok(problems)
}
