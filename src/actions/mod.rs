//! What users of the web server have done: runs by hand one after the other, pauses. Each deed is written down with who and
//! when before it is done.
//!
//! A run goes through the same workshop as a scheduled one: same lock, same refusals, same record. The HTTP layer
//! checks who may request one, never this module.

mod run_all_once;

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
use crate::task::TaskKind;
use crate::tasks::DryRun;
use crate::tasks::Progress;
use crate::tasks::Trigger;
use crate::telemetry::RemoteContext;
use crate::telemetry::within;
use crate::worker_pool::run_blocking;

pub use self::run_all_once::run_all_once;

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
    queue: mpsc::Sender<QueuedRun>,
    waiting: Mutex<mpsc::Receiver<QueuedRun>>,
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
    /// A desk that works in a workshop.
    #[must_use]
    pub fn new(executor: TaskExecutor) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_QUEUED);
        Self { executor, queue, waiting: Mutex::new(waiting) }
    }

    /// Says what a run would do.
    ///
    /// # Errors
    /// The task is not configured, or the run could not even look.
    pub async fn plan(&self, database: Arc<Database>, task: TaskKind) -> Result<DryRun, ActionError> {
        ensure_configured(&database, task)?;
        let executor = self.executor.clone();
        let request = request(database, task, CancellationToken::new());
        let forecast = run_blocking(move || {
            let progress = Arc::new(NoProgress);
            executor.dry_run(&request, progress).map_err(|outcome| {
                ActionError::NotConfigured(
                    outcome.message().unwrap_or("the dry run could not look").to_owned(),
                )
            })
        });
        forecast
            .await
            .unwrap_or_else(|| Err(ActionError::StateStore("the dry run panicked; see the log".to_owned())))
    }

    /// Writes a deed down and has it done; gives it back with its number. A run goes on after this returns.
    ///
    /// # Errors
    /// Why it is not done.
    pub async fn ask(&self, asker: Requester, deed: Action) -> Result<ActionRecord, ActionError> {
        if let Action::Run(database, task) = &deed {
            ensure_configured(database, *task)?;
        }
        if let Action::Recheck(database) = &deed {
            ensure_configured(database, TaskKind::HealthCheck)?;
        }
        let permit = self.queue.try_reserve().map_err(|_| ActionError::QueueFull)?;
        let (executor, doing) = (self.executor.clone(), deed.clone());
        let parent = RemoteContext::current();
        let request = parent.clone();
        let done =
            run_blocking(move || within(request.as_ref(), || record_action(&executor, asker, &doing))).await;
        let action = done.unwrap_or_else(|| Err("an internal failure; see the log".to_owned()));
        let action = action.map_err(ActionError::StateStore)?;
        let job = match deed {
            Action::Run(database, task) => Some((database, task)),
            Action::Recheck(database) => Some((database, TaskKind::HealthCheck)),
            Action::Pause(_) | Action::Resume(_) => None,
        };
        if let Some((database, task)) = job {
            permit.send(QueuedRun { id: action.id, database, task, parent });
        }
        Ok(action)
    }

    /// Does runs one after the other until it is told to stop; the one under way then ends at its next safe point.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let history = Arc::clone(&self.executor.state_store);
        let cut = run_blocking(move || history.mark_interrupted("cut off: litekeeper ended"));
        if let Some(Err(error)) = cut.await {
            tracing::warn!(%error, "actions of before could not be closed");
        }
        let mut waiting = self.waiting.lock().await;
        loop {
            let job = tokio::select! {
                () = stop.cancelled() => break,
                job = waiting.recv() => job,
            };
            let Some(job) = job else { break };
            self.work(job, &stop).await;
        }
        while let Ok(job) = waiting.try_recv() {
            self.finish(job.id, "not begun: litekeeper was stopped".to_owned()).await;
        }
    }

    async fn work(&self, job: QueuedRun, stop: &CancellationToken) {
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
            Some(RunResult::Done(run, _)) => {
                let words = run.message.clone().unwrap_or_else(|| run.words());
                if words.is_empty() { run.outcome.clone() } else { format!("{}: {words}", run.outcome) }
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

/// Writes a deed down, and does it where it is a pause.
fn record_action(executor: &TaskExecutor, asker: Requester, deed: &Action) -> Result<ActionRecord, String> {
    let failed = |error: crate::state_store::StateStoreError| error.to_string();
    let (history, now) = (&executor.state_store, SystemTime::now());
    let (kind, database, task) = deed.parts();
    let mut action = ActionRecord {
        id: 0,
        at: now,
        user: asker.user,
        address: asker.address,
        kind: kind.to_owned(),
        database: database.map(str::to_owned),
        task: task.map(|task| task.label().to_owned()),
        result: "waiting".to_owned(),
    };
    action.id = history.record_action(&action).map_err(failed)?;
    let task = action.task.as_deref().unwrap_or_default();
    tracing::info!(
        user = action.user,
        address = action.address,
        kind,
        db = database,
        task,
        "action requested"
    );
    match deed {
        Action::Run(..) | Action::Recheck(_) => return Ok(action),
        Action::Pause(_) => history.pause(database, now).map_err(failed)?,
        Action::Resume(_) => history.resume(database).map(|_| ()).map_err(failed)?,
    }
    "done".clone_into(&mut action.result);
    history.finish_action(action.id, &action.result).map_err(failed)?;
    // The runner would see it within seconds; who asked sees it at once.
    let (everything, databases) = history.pauses().map_err(failed)?;
    let file = executor.pause_file.as_ref().is_some_and(|file| file.exists());
    executor.metrics.set_paused(everything || file, databases);
    Ok(action)
}

fn request(database: Arc<Database>, task: TaskKind, cancel: CancellationToken) -> RunRequest {
    RunRequest { database, task, trigger: Trigger::Manual, due_at: None, must_end_by: None, cancel }
}

/// A dry run's result says everything.
struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _part: &str) {}
    fn update(&self, _share: f64, _detail: &str) {}
    fn message(&self, _text: &str) {}
}
