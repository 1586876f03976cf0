//! What the runner asks of the state file and the file system. Everything here may wait for a disk,
//! so it is sync and runs on threads of its own.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::Utc;

use crate::database::Database;
use crate::database::DatabaseName;
use crate::metrics::JobTarget;
use crate::os::DatabaseFingerprint;
use crate::state_store::StateStoreError;
use crate::task::TaskKind;
use crate::tasks;
use crate::tasks::Progress;
use crate::tasks::Stop;

use super::execute::RunRequest;
use super::execute::RunResult;
use super::execute::TaskExecutor;

/// What is known of a task of a database.
#[derive(Debug, Clone)]
pub(super) struct PersistedTask {
    path: std::path::PathBuf,
    /// The last due time that was handled.
    pub last_scheduled: Option<SystemTime>,
    /// The device that the database is on.
    pub filesystem: u64,
}

/// What happened beside this process.
#[derive(Debug)]
pub(super) struct ExternalChanges {
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
        let settings = &database.settings.tasks;
        for (task, timing) in settings.timings() {
            let known = intervals.iter().find(|(schedule, _)| *schedule == timing.schedule);
            let expected_interval = known.map(|(_, interval)| *interval).unwrap_or_else(|| {
                let interval = timing.schedule.interval(now);
                intervals.push((timing.schedule.clone(), interval));
                interval
            });
            let implementation = tasks::task(task);
            let (retentions, checks) = (implementation.retentions(settings), implementation.checks(settings));
            let verify_interval = implementation.verify_interval(settings);
            let (database, timeout) = (database.name.clone(), timing.timeout);
            targets.push(JobTarget {
                database,
                task,
                expected_interval,
                timeout,
                retentions,
                checks,
                verify_interval,
            });
        }
    }
    targets
}

/// Reads what is known of every task, and tells the metrics of those that are new here.
pub(super) fn load_all(
    executor: &TaskExecutor,
    databases: &[Arc<Database>],
    mut known: HashMap<(DatabaseName, TaskKind), PersistedTask>,
) -> HashMap<(DatabaseName, TaskKind), PersistedTask> {
    let mut persisted = HashMap::new();
    for database in databases {
        for (task, _) in database.settings.tasks.timings() {
            let key = (database.name.clone(), task);
            let stored = known.remove(&key).filter(|old| old.path == database.path);
            let entry = stored.unwrap_or_else(|| match load(executor, database, task) {
                Ok(entry) => entry,
                Err(error) => {
                    tracing::error!(db = database.name.as_str(), task = task.to_string(), %error, "what ran before could not be read");
                    PersistedTask { path: database.path.clone(), last_scheduled: None, filesystem: 0 }
                }
            });
            persisted.insert(key, entry);
        }
    }
    persisted
}

fn load(
    executor: &TaskExecutor,
    database: &Database,
    task: TaskKind,
) -> Result<PersistedTask, StateStoreError> {
    let (history, metrics) = (&executor.state_store, &executor.metrics);
    let (last, success) = history.last_runs(&database.path, task)?;
    metrics.restore(
        &database.name,
        task,
        last.as_ref().map(|past| &past.run),
        success.as_ref().map(|past| &past.run),
    );
    metrics.set_standings(&database.name, history.check_statuses(&database.path)?);
    metrics.set_scrub(&database.name, history.scrub_status(&database.path)?);
    if task == TaskKind::Scrub {
        executor.publish_sealed(database);
    }
    let main = DatabaseFingerprint::read(&database.files).ok().and_then(|stamp| stamp.main);
    Ok(PersistedTask {
        path: database.path.clone(),
        last_scheduled: history.last_scheduled(&database.path, task)?,
        filesystem: main.map_or(0, |main| main.device),
    })
}

/// Does an order that fell due. Its due time counts as handled from the start, so that a run that
/// ends the agent is not begun again and again; only one that a stop of the agent cut short is made
/// up for.
pub(super) fn execute_once(
    executor: &TaskExecutor,
    request: &RunRequest,
    scheduled_before: Option<SystemTime>,
    progress: Arc<dyn Progress>,
) -> RunResult {
    mark_scheduled(executor, request, request.due_at);
    let result = executor.execute(request, progress);
    let cut_short = match &result {
        RunResult::LockedElsewhere => true,
        RunResult::Done(run) => request.cancel.is_cancelled() && run.is_stopped(),
    };
    if cut_short {
        // Without an earlier one, the moment before this one stands for it.
        let before = request.due_at.and_then(|due_at| due_at.checked_sub(std::time::Duration::from_secs(1)));
        mark_scheduled(executor, request, scheduled_before.or(before));
    }
    result
}

/// Writes down a run that never began.
pub(super) fn skip(executor: &TaskExecutor, request: &RunRequest, stop: Stop) {
    mark_scheduled(executor, request, request.due_at);
    let _ = executor.record_not_started(request, SystemTime::now(), stop);
}

fn mark_scheduled(executor: &TaskExecutor, request: &RunRequest, due_at: Option<SystemTime>) {
    // The next run of a light task is minutes away, so a missed one is not made up for.
    let Some(due_at) = due_at.filter(|_| !tasks::task(request.task).is_light()) else { return };
    if let Err(error) = executor.state_store.mark_scheduled(&request.database.path, request.task, due_at) {
        tracing::error!(db = request.database.name.as_str(), task = request.task.to_string(), %error, "the due time could not be written to the state file");
    }
}

/// Counts the runs of other processes and tells the metrics what is paused.
///
/// # Errors
/// The state file cannot be read.
pub(super) fn poll_external_changes(
    executor: &TaskExecutor,
    last_seen: i64,
    running: &[Arc<Database>],
    sealed: &[Arc<Database>],
) -> Result<ExternalChanges, StateStoreError> {
    let others = executor.state_store.by_other_processes_since(last_seen)?;
    let (everything, databases) = executor.state_store.pauses()?;
    let mut last_seen = last_seen;
    for past in others {
        last_seen = last_seen.max(past.id);
        executor.metrics.observe(&past.run);
        if let Ok(standings) = executor.state_store.check_statuses(&past.run.path) {
            executor.metrics.set_standings(&past.run.database, standings);
        }
        if let Ok(status) = executor.state_store.scrub_status(&past.run.path) {
            executor.metrics.set_scrub(&past.run.database, status);
        }
    }
    // `litekeeper sealed` is no run.
    sealed.iter().for_each(|database| executor.publish_sealed(database));
    let file = executor.pause_file.as_ref().is_some_and(|file| file.exists());
    executor.metrics.set_paused(everything || file, databases);
    let paused = running.iter().filter(|database| executor.paused(database).ok().flatten().is_some());
    Ok(ExternalChanges { last_seen, paused: paused.map(|database| database.name.clone()).collect() })
}
