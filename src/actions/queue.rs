//! The queue of actions: records each, applies pauses at once, and executes runs one at a time.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::database::DatabaseName;
use crate::runner::ProgressReporter;
use crate::runner::RunRequest;
use crate::runner::RunResult;
use crate::runner::TaskExecutor;
use crate::state_store::ActionRecord;
use crate::state_store::StateStoreError;
use crate::task::TaskKind;
use crate::tasks::DryRun;
use crate::tasks::NoProgress;
use crate::tasks::Trigger;
use crate::tasks::task;
use crate::telemetry::RemoteContext;
use crate::telemetry::within;
use crate::worker_pool::run_blocking;

/// Runs that wait for the one under way.
const MAX_QUEUED: usize = 16;

/// What somebody wants to be done.
#[derive(Debug, Clone)]
pub enum Action {
    /// A task of a database.
    Run(Arc<Database>, TaskKind),
    /// The checks of a database.
    Recheck(Arc<Database>),
    /// No maintenance, of one database or at all.
    Pause(Option<DatabaseName>),
    /// The end of a pause; of every pause when no database is named.
    Resume(Option<DatabaseName>),
}

/// Who wants it.
#[derive(Debug, Clone)]
pub struct Requester {
    /// The name that was signed in with.
    pub user: String,
    /// The client's address; empty for a unix socket.
    pub address: String,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionError {
    /// It is not configured for the database.
    NotConfigured(String),
    /// As many runs as may wait do.
    QueueFull,
    /// The state file failed; in words.
    StateStore(String),
}

struct QueuedRun {
    id: i64,
    database: Arc<Database>,
    task: TaskKind,
    parent: Option<RemoteContext>,
}

/// Takes wishes and has them done.
#[derive(Debug)]
pub struct ActionQueue {
    executor: TaskExecutor,
    exclusive: Lane,
    /// Background tasks, whose runs take hours.
    background: Lane,
}

/// Runs that are executed one at a time.
#[derive(Debug)]
struct Lane {
    queue: mpsc::Sender<QueuedRun>,
    waiting: Mutex<mpsc::Receiver<QueuedRun>>,
}

impl Lane {
    fn new() -> Self {
        let (queue, waiting) = mpsc::channel(MAX_QUEUED);
        Self { queue, waiting: Mutex::new(waiting) }
    }
}

impl std::fmt::Debug for QueuedRun {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.database.name, self.task)
    }
}

impl Action {
    fn parts(&self) -> (&'static str, Option<&str>, Option<TaskKind>) {
        match self {
            Self::Run(database, task) => ("run", Some(database.name.as_str()), Some(*task)),
            Self::Recheck(database) => ("recheck", Some(database.name.as_str()), Some(TaskKind::HealthCheck)),
            Self::Pause(name) => ("pause", name.as_ref().map(DatabaseName::as_str), None),
            Self::Resume(name) => ("resume", name.as_ref().map(DatabaseName::as_str), None),
        }
    }
}

/// Whether a task is configured for a database.
fn ensure_configured(database: &Database, task: TaskKind) -> Result<(), ActionError> {
    if database.settings.tasks.timings().any(|(known, _)| known == task) {
        return Ok(());
    }
    Err(ActionError::NotConfigured(format!("{task} is not configured for {}", database.name)))
}

impl ActionQueue {
    /// A queue whose runs `executor` executes.
    #[must_use]
    pub fn new(executor: TaskExecutor) -> Self {
        Self { executor, exclusive: Lane::new(), background: Lane::new() }
    }

    fn lane(&self, action: &Action) -> &Lane {
        match action {
            Action::Run(_, kind) if task(*kind).is_background() => &self.background,
            Action::Run(..) | Action::Recheck(_) | Action::Pause(_) | Action::Resume(_) => &self.exclusive,
        }
    }

    /// Says what a run would do.
    ///
    /// # Errors
    /// The task is not configured, or the run could not even look.
    pub async fn dry_run(&self, database: Arc<Database>, task: TaskKind) -> Result<DryRun, ActionError> {
        ensure_configured(&database, task)?;
        let executor = self.executor.clone();
        let request = request(database, task, CancellationToken::new());
        let dry_run = run_blocking(move || {
            let progress = Arc::new(NoProgress);
            executor.dry_run(&request, progress).map_err(|stop| ActionError::NotConfigured(stop.message))
        });
        dry_run
            .await
            .unwrap_or_else(|| Err(ActionError::StateStore("the dry run panicked; see the log".to_owned())))
    }

    /// Records an action and does it, or queues its run; returns the record with its number.
    ///
    /// # Errors
    /// Why it is not done.
    pub async fn submit(&self, requester: Requester, action: Action) -> Result<ActionRecord, ActionError> {
        if let Action::Run(database, task) = &action {
            ensure_configured(database, *task)?;
        }
        if let Action::Recheck(database) = &action {
            ensure_configured(database, TaskKind::HealthCheck)?;
        }
        let permit = self.lane(&action).queue.try_reserve().map_err(|_| ActionError::QueueFull)?;
        let (executor, recorded) = (self.executor.clone(), action.clone());
        let parent = RemoteContext::current();
        let request = parent.clone();
        let record = move || within(request.as_ref(), || record_action(&executor, requester, &recorded));
        let record = run_blocking(record).await;
        let record =
            record.ok_or_else(|| ActionError::StateStore("an internal failure; see the log".to_owned()))?;
        let record = record.map_err(|error| ActionError::StateStore(error.to_string()))?;
        let run = match action {
            Action::Run(database, task) => Some((database, task)),
            Action::Recheck(database) => Some((database, TaskKind::HealthCheck)),
            Action::Pause(_) | Action::Resume(_) => None,
        };
        if let Some((database, task)) = run {
            permit.send(QueuedRun { id: record.id, database, task, parent });
        }
        Ok(record)
    }

    /// Executes runs until `stop`, one at a time and beside it one of a background task; the active
    /// ones then end at their next safe point.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let history = Arc::clone(&self.executor.state_store);
        let cut = run_blocking(move || history.mark_interrupted("cut off: litekeeper ended"));
        if let Some(Err(error)) = cut.await {
            tracing::warn!(%error, "actions of before could not be closed");
        }
        tokio::join!(self.run_lane(&self.exclusive, &stop), self.run_lane(&self.background, &stop));
    }

    async fn run_lane(&self, lane: &Lane, stop: &CancellationToken) {
        let mut waiting = lane.waiting.lock().await;
        loop {
            let job = tokio::select! {
                () = stop.cancelled() => break,
                job = waiting.recv() => job,
            };
            let Some(job) = job else { break };
            self.run_queued(job, stop).await;
        }
        while let Ok(job) = waiting.try_recv() {
            self.finish(job.id, "not begun: litekeeper was stopped".to_owned()).await;
        }
    }

    async fn run_queued(&self, job: QueuedRun, stop: &CancellationToken) {
        self.finish(job.id, "running".to_owned()).await;
        let cancel = CancellationToken::new();
        let progress = Arc::new(ProgressReporter {
            metrics: Arc::clone(&self.executor.metrics),
            database: job.database.name.clone(),
            task: job.task,
        });
        let (executor, request) = (self.executor.clone(), request(job.database, job.task, cancel.clone()));
        // The run belongs to the request that asked for it, though that may be answered by now.
        let run = move || within(job.parent.as_ref(), || executor.execute(&request, progress));
        let mut work = std::pin::pin!(run_blocking(run));
        let executed = tokio::select! {
            executed = work.as_mut() => executed,
            () = stop.cancelled() => {
                cancel.cancel();
                work.await
            }
        };
        let result = match executed {
            Some(RunResult::Done(run)) => {
                let summary = run.message.clone().unwrap_or_else(|| run.summary());
                let outcome = run.status.outcome();
                if summary.is_empty() { outcome.to_owned() } else { format!("{outcome}: {summary}") }
            }
            Some(RunResult::LockedElsewhere) => {
                "skipped: another run has the database; try again when it is done".to_owned()
            }
            None => "failed: it panicked; see the log".to_owned(),
        };
        self.finish(job.id, result).await;
    }

    async fn finish(&self, id: i64, result: String) {
        let history = Arc::clone(&self.executor.state_store);
        if let Some(Err(error)) = run_blocking(move || history.finish_action(id, &result)).await {
            tracing::error!(%error, "what came of an action could not be written to the state file");
        }
    }
}

/// Records an action, and applies it if it is a pause or its end.
fn record_action(
    executor: &TaskExecutor,
    requester: Requester,
    action: &Action,
) -> Result<ActionRecord, StateStoreError> {
    let (state_store, now) = (&executor.state_store, SystemTime::now());
    let (kind, database, task) = action.parts();
    let mut record = ActionRecord {
        id: 0,
        at: now,
        user: requester.user,
        address: requester.address,
        kind: kind.to_owned(),
        database: database.map(str::to_owned),
        task: task.map(|task| task.label().to_owned()),
        result: "waiting".to_owned(),
    };
    record.id = state_store.record_action(&record)?;
    let task = record.task.as_deref().unwrap_or_default();
    tracing::info!(
        user = record.user,
        address = record.address,
        kind,
        db = database,
        task,
        "action requested"
    );
    match action {
        Action::Run(..) | Action::Recheck(_) => return Ok(record),
        Action::Pause(_) => state_store.pause(database, now)?,
        Action::Resume(_) => state_store.resume(database).map(|_| ())?,
    }
    "done".clone_into(&mut record.result);
    state_store.finish_action(record.id, &record.result)?;
    // The runner would see it within seconds; who asked sees it at once.
    let (everything, databases) = state_store.pauses()?;
    let file = executor.pause_file.as_ref().is_some_and(|file| file.exists());
    executor.metrics.set_paused(everything || file, databases);
    Ok(record)
}

fn request(database: Arc<Database>, task: TaskKind, cancel: CancellationToken) -> RunRequest {
    RunRequest { database, task, trigger: Trigger::Manual, due_at: None, must_end_by: None, cancel }
}
