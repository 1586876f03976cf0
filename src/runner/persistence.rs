//! What the runner asks of the state file and the file system. Everything here may wait for a disk, so it is sync and runs on
//! threads of its own.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::Utc;

use crate::database::Database;
use crate::database::DatabaseName;
use crate::metrics::JobTarget;
use crate::os::Stamp;
use crate::state_store::StateStoreError;
use crate::task::Task;
use crate::tasks::Observer;
use crate::tasks::Outcome;
use crate::tasks::checks;

use super::execute::RunRequest;
use super::execute::RunResult;
use super::execute::TaskExecutor;

/// What is known of a task of a database.
#[derive(Debug, Clone)]
pub(super) struct PersistedTask {
    path: std::path::PathBuf,
    /// The last due time that was handled.
    pub handled_until: Option<SystemTime>,
    /// The device that the database is on.
    pub filesystem: u64,
}

/// What happened beside this process.
#[derive(Debug)]
pub(super) struct News {
    pub last_seen: i64,
    pub paused: BTreeSet<DatabaseName>,
}

/// The tasks of databases as the metrics want them.
pub(super) fn job_targets(databases: &[Arc<Database>]) -> Vec<JobTarget> {
    let now = Utc::now();
    let mut targets = Vec::new();
    // Thousands of databases share a few schedules, and an interval takes milliseconds to work out.
    let mut intervals: Vec<(crate::schedule::Schedule, std::time::Duration)> = Vec::new();
    for database in databases {
        let tasks = &database.settings.tasks;
        for (task, timing) in tasks.timings() {
            let known = intervals.iter().find(|(schedule, _)| *schedule == timing.schedule);
            let expected_interval = known.map(|(_, interval)| *interval).unwrap_or_else(|| {
                let interval = timing.schedule.interval(now);
                intervals.push((timing.schedule.clone(), interval));
                interval
            });
            let retentions = match (task, &tasks.log_cleaning) {
                (Task::LogCleaning, Some(cleaning)) => {
                    cleaning.tables.iter().map(|table| (table.table.clone(), table.retention)).collect()
                }
                _ => Vec::new(),
            };
            let checks = match (task, &tasks.health_check) {
                (Task::HealthCheck | Task::QuickCheck, Some(health_check)) => {
                    checks(health_check, task == Task::QuickCheck)
                }
                _ => Vec::new(),
            };
            let (database, timeout) = (database.name.clone(), timing.timeout);
            targets.push(JobTarget { database, task, expected_interval, timeout, retentions, checks });
        }
    }
    targets
}

/// Reads what is known of every task, and tells the metrics of those that are new here.
pub(super) fn remember(
    workshop: &TaskExecutor,
    databases: &[Arc<Database>],
    mut known: HashMap<(DatabaseName, Task), PersistedTask>,
) -> HashMap<(DatabaseName, Task), PersistedTask> {
    let mut remembered = HashMap::new();
    for database in databases {
        for (task, _) in database.settings.tasks.timings() {
            let key = (database.name.clone(), task);
            let kept = known.remove(&key).filter(|old| old.path == database.path);
            let entry = kept.unwrap_or_else(|| match recall(workshop, database, task) {
                Ok(entry) => entry,
                Err(error) => {
                    tracing::error!(db = database.name.as_str(), task = task.to_string(), %error, "what ran before could not be read");
                    PersistedTask { path: database.path.clone(), handled_until: None, filesystem: 0 }
                }
            });
            remembered.insert(key, entry);
        }
    }
    remembered
}

fn recall(
    workshop: &TaskExecutor,
    database: &Database,
    task: Task,
) -> Result<PersistedTask, StateStoreError> {
    let (history, metrics) = (&workshop.history, &workshop.metrics);
    let (last, success) = history.last_runs(&database.path, task)?;
    metrics.restore(
        &database.name,
        task,
        last.as_ref().map(|past| &past.run),
        success.as_ref().map(|past| &past.run),
    );
    metrics.set_standings(&database.name, history.standings(&database.path)?);
    let main = Stamp::take(&database.files).ok().and_then(|stamp| stamp.main);
    Ok(PersistedTask {
        path: database.path.clone(),
        handled_until: history.handled_until(&database.path, task)?,
        filesystem: main.map_or(0, |main| main.device),
    })
}

/// Does an order that fell due. Its due time counts as handled from the start, so that a run that ends the agent is not begun
/// again and again; only one that a stop of the agent cut short is made up for.
pub(super) fn execute_once(
    workshop: &TaskExecutor,
    order: &RunRequest,
    handled_before: Option<SystemTime>,
    observer: Arc<dyn Observer>,
) -> RunResult {
    handle(workshop, order, order.due_at);
    let executed = workshop.execute(order, observer);
    let cut_short = match &executed {
        RunResult::HeldElsewhere => true,
        RunResult::Done(run, _) => order.cancel.is_cancelled() && run.is_stopped(),
    };
    if cut_short {
        // Without an earlier one, the moment before this one stands for it.
        let before = order.due_at.and_then(|due_at| due_at.checked_sub(std::time::Duration::from_secs(1)));
        handle(workshop, order, handled_before.or(before));
    }
    executed
}

/// Writes down a run that never began.
pub(super) fn skip(workshop: &TaskExecutor, order: &RunRequest, outcome: Outcome) {
    handle(workshop, order, order.due_at);
    let _ = workshop.done(order, SystemTime::now(), outcome);
}

fn handle(workshop: &TaskExecutor, order: &RunRequest, due_at: Option<SystemTime>) {
    // The next run of a light task is minutes away, so a missed one is not made up for.
    let Some(due_at) = due_at.filter(|_| !order.task.is_light()) else { return };
    if let Err(error) = workshop.history.handle(&order.database.path, order.task, due_at) {
        tracing::error!(db = order.database.name.as_str(), task = order.task.to_string(), %error, "the due time could not be written to the state file");
    }
}

/// Counts the runs of other processes and tells the metrics what is paused.
///
/// # Errors
/// The state file cannot be read.
pub(super) fn news(
    workshop: &TaskExecutor,
    last_seen: i64,
    running: &[Arc<Database>],
) -> Result<News, StateStoreError> {
    let others = workshop.history.of_others_since(last_seen)?;
    let (everything, databases) = workshop.history.pauses()?;
    let mut last_seen = last_seen;
    for past in others {
        last_seen = last_seen.max(past.id);
        workshop.metrics.observe(&past.run);
        if let Ok(standings) = workshop.history.standings(&past.run.path) {
            workshop.metrics.set_standings(&past.run.database, standings);
        }
    }
    let file = workshop.pause_file.as_ref().is_some_and(|file| file.exists());
    workshop.metrics.set_paused(everything || file, databases);
    let paused = running.iter().filter(|database| workshop.paused(database).ok().flatten().is_some());
    Ok(News { last_seen, paused: paused.map(|database| database.name.clone()).collect() })
}
