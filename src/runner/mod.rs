//! The loop that has maintenance done when it is due.
//!
//! It asks the planner what to start, has each run done on a thread of its own, and tells the
//! planner when it is over. It must never decide itself what runs, nor write down what came of it.

mod execute;
mod lanes;
mod persistence;
mod progress;
mod wal_follower;

pub use execute::RunRequest;
pub use execute::RunResult;
pub use execute::TaskExecutor;
pub use progress::ProgressReporter;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config::Maintenance;
use crate::database::Database;
use crate::database::DatabaseName;
use crate::scheduler::ConcurrencyLimits;
use crate::scheduler::Decision;
use crate::scheduler::ScheduleTarget;
use crate::scheduler::SkipCause;
use crate::scheduler::Start;
use crate::scheduler::TaskKey;
use crate::task::TaskKind;
use crate::tasks;
use crate::tasks::SkipReason;
use crate::tasks::Stop;
use crate::tasks::Trigger;
use crate::worker_pool::run_blocking;

use lanes::Lanes;
use persistence::PersistedTask;

/// How often the state file is asked what others did: runs by hand, pauses.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// How long a run waits for another process that maintains the database, before it asks again.
const LOCKED_RETRY: TimeDelta = TimeDelta::seconds(30);

/// What the runner works on.
pub struct Runner {
    /// The databases, from discovery; `None` until its first word.
    pub targets: watch::Receiver<Option<Arc<[Arc<Database>]>>>,
    /// The configuration in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// How a run is done.
    pub executor: TaskExecutor,
}

/// A run that is under way.
struct ActiveRun {
    database: Arc<Database>,
    cancel: CancellationToken,
}

/// What is known while the loop runs.
struct RunnerState {
    lanes: Lanes,
    executor: TaskExecutor,
    databases: HashMap<DatabaseName, Arc<Database>>,
    persisted: HashMap<(DatabaseName, TaskKind), PersistedTask>,
    active: BTreeMap<TaskKey, ActiveRun>,
    ended: JoinSet<(Start, Option<RunResult>)>,
    /// Background tasks whose runs a pause ended.
    interrupted: BTreeSet<TaskKey>,
    /// Databases whose maintenance was paused when the state file was last read.
    paused: BTreeSet<DatabaseName>,
    last_seen: i64,
    /// Whether the state file could not be read when it was last asked.
    state_unreadable: bool,
}

fn limits(maintenance: &Maintenance) -> ConcurrencyLimits {
    ConcurrencyLimits {
        jobs: maintenance.max_jobs,
        jobs_per_filesystem: maintenance.max_jobs_per_filesystem,
        catch_up_delay: maintenance.catch_up_delay,
    }
}

impl Runner {
    /// Runs due tasks until `stop`, then waits until the active runs end at a safe point.
    pub async fn run(mut self, stop: CancellationToken) {
        let history = Arc::clone(&self.executor.state_store);
        let last_seen = run_blocking(move || history.last_id().unwrap_or(0)).await.unwrap_or(0);
        let maintenance = self.config.borrow().maintenance.clone();
        let follower = wal_follower::follow_wals(self.executor.clone(), self.targets.clone(), stop.clone());
        let follower = tokio::spawn(follower);
        let mut state = RunnerState {
            lanes: Lanes::new(limits(&maintenance)),
            executor: self.executor.clone(),
            databases: HashMap::new(),
            persisted: HashMap::new(),
            active: BTreeMap::new(),
            ended: JoinSet::new(),
            interrupted: BTreeSet::new(),
            paused: BTreeSet::new(),
            last_seen,
            state_unreadable: false,
        };
        state.prune_history(maintenance.history_retention).await;
        loop {
            state.start_due().await;
            let pause = state.until_next();
            let running = !state.ended.is_empty();
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.targets.changed() => {
                    if changed.is_err() { break }
                    let targets = self.targets.borrow_and_update().clone();
                    if let Some(targets) = targets {
                        state.update_targets(&targets).await;
                    }
                }
                changed = self.config.changed() => {
                    if changed.is_err() { break }
                    let maintenance = self.config.borrow_and_update().maintenance.clone();
                    state.lanes.set_limits(limits(&maintenance));
                    state.executor.pause_file = maintenance.pause_file;
                }
                Some(ended) = state.ended.join_next(), if running => state.finish(ended.ok()),
                () = tokio::time::sleep(pause) => state.poll().await,
            }
        }
        state.drain().await;
        follower.abort();
    }
}

impl RunnerState {
    /// How long nothing is to be done; the clock may be set meanwhile, so never for long.
    fn until_next(&self) -> Duration {
        let now = Utc::now();
        let next = self.lanes.next_wakeup(now).map(|at| (at - now).to_std().unwrap_or_default());
        next.map_or(POLL_INTERVAL, |next| next.min(POLL_INTERVAL))
    }

    /// Follows the databases and their tasks.
    async fn update_targets(&mut self, targets: &[Arc<Database>]) {
        let wanted: Vec<Arc<Database>> = targets
            .iter()
            .filter(|database| database.settings.tasks.timings().next().is_some())
            .cloned()
            .collect();
        self.databases =
            wanted.iter().map(|database| (database.name.clone(), Arc::clone(database))).collect();
        self.executor.metrics.set_targets(&persistence::job_targets(&wanted));
        // One that is gone, or another file under its name, is not worked on any longer.
        for (key, run) in &self.active {
            let same = self.databases.get(&key.database).is_some_and(|now| now.path == run.database.path);
            if !same {
                run.cancel.cancel();
            }
        }
        let executor = self.executor.clone();
        let known = std::mem::take(&mut self.persisted);
        let databases = wanted.clone();
        let persisted = run_blocking(move || persistence::load_all(&executor, &databases, known)).await;
        self.persisted = persisted.unwrap_or_default();
        let mut plan = BTreeMap::new();
        for database in &wanted {
            for (task, timing) in database.settings.tasks.timings() {
                let key = TaskKey { database: database.name.clone(), task };
                let Some(persisted) = self.persisted.get(&(database.name.clone(), task)) else { continue };
                let schedule =
                    timing.schedule.clone().spread(timing.spread, database.name.as_str(), task.stored_name());
                let target = ScheduleTarget {
                    schedule,
                    window: timing.window.clone(),
                    start_deadline: timing.start_deadline,
                    filesystem: persisted.filesystem,
                    last_scheduled: persisted.last_scheduled.map(DateTime::from),
                };
                plan.insert(key, target);
            }
        }
        let keys: Vec<TaskKey> = plan.keys().cloned().collect();
        self.lanes.set_targets(plan, Utc::now());
        keys.iter().for_each(|key| self.publish_next_run(key));
        self.poll().await;
    }

    fn publish_next_run(&self, key: &TaskKey) {
        let next = self.lanes.next_run(key).map(SystemTime::from);
        self.executor.metrics.set_next_run(&key.database, key.task, next);
    }

    async fn start_due(&mut self) {
        for decision in self.lanes.start_due(Utc::now()) {
            match decision {
                Decision::Start(start) => self.start(start),
                Decision::Skip { key, due_at, cause } => self.skip(&key, due_at, cause).await,
                Decision::Missed { key, count } => {
                    let (db, task) = (key.database.as_str(), key.task.to_string());
                    // A light task that waited for a long job has missed nothing that its next run
                    // does not do.
                    if tasks::task(key.task).is_light() {
                        tracing::debug!(db, task, count, "due times passed without a run");
                    } else {
                        tracing::warn!(db, task, count, "due times passed without a run");
                    }
                    self.executor.metrics.missed(&key.database, key.task, count);
                    self.publish_next_run(&key);
                }
            }
        }
        if self.lanes.was_rewound() {
            for (name, database) in &self.databases {
                for (task, _) in database.settings.tasks.timings() {
                    self.publish_next_run(&TaskKey { database: name.clone(), task });
                }
            }
        }
    }

    fn start(&mut self, start: Start) {
        let Some(database) = self.databases.get(&start.key.database).cloned() else {
            self.lanes.finish(&start.key);
            return;
        };
        // Nothing is recorded meanwhile: the run is the one that the pause ended.
        if self.interrupted.contains(&start.key) && self.paused.contains(&start.key.database) {
            self.lanes.postpone(&start, Utc::now() + LOCKED_RETRY);
            return;
        }
        self.interrupted.remove(&start.key);
        let cancel = CancellationToken::new();
        let trigger = if start.catch_up { Trigger::CatchUp } else { Trigger::Schedule };
        let request = RunRequest {
            database: Arc::clone(&database),
            task: start.key.task,
            trigger,
            due_at: Some(start.due_at.into()),
            must_end_by: start.must_end_by.map(SystemTime::from),
            cancel: cancel.clone(),
        };
        let before = self.mark_scheduled(&start.key, start.due_at);
        self.active.insert(start.key.clone(), ActiveRun { database, cancel });
        let executor = self.executor.clone();
        let progress = Arc::new(ProgressReporter {
            metrics: Arc::clone(&executor.metrics),
            database: start.key.database.clone(),
            task: start.key.task,
        });
        self.ended.spawn(async move {
            let result =
                run_blocking(move || persistence::execute_once(&executor, &request, before, progress)).await;
            (start, result)
        });
    }

    /// Remembers a due time as handled and gives back what was remembered before.
    fn mark_scheduled(&mut self, key: &TaskKey, due_at: DateTime<Utc>) -> Option<SystemTime> {
        let slot = self.persisted.get_mut(&(key.database.clone(), key.task))?;
        slot.last_scheduled.replace(due_at.into())
    }

    async fn skip(&mut self, key: &TaskKey, due_at: DateTime<Utc>, cause: SkipCause) {
        let Some(database) = self.databases.get(&key.database).cloned() else { return };
        let (reason, why) = match cause {
            SkipCause::OutsideWindow => (SkipReason::OutsideWindow, "it fell due outside its window"),
            SkipCause::Overlap if self.interrupted.remove(key) => {
                (SkipReason::Paused, "it was paused until its start deadline")
            }
            SkipCause::Overlap => {
                (SkipReason::Overlap, "other runs had the database or its disk until its start deadline")
            }
        };
        let request = RunRequest {
            database,
            task: key.task,
            trigger: Trigger::Schedule,
            due_at: Some(due_at.into()),
            must_end_by: None,
            cancel: CancellationToken::new(),
        };
        self.mark_scheduled(key, due_at);
        let executor = self.executor.clone();
        let stop = Stop::skipped(reason, why);
        run_blocking(move || persistence::skip(&executor, &request, stop)).await;
        self.publish_next_run(key);
    }

    /// A run is over, or could not begin.
    fn finish(&mut self, ended: Option<(Start, Option<RunResult>)>) {
        let Some((start, result)) = ended else { return };
        self.active.remove(&start.key);
        match result {
            Some(RunResult::LockedElsewhere) => self.lanes.postpone(&start, Utc::now() + LOCKED_RETRY),
            // It goes on where it was when the pause ends.
            Some(RunResult::Done(run))
                if run.is_stopped()
                    && tasks::task(run.task).is_background()
                    && self.paused.contains(&start.key.database) =>
            {
                self.interrupted.insert(start.key.clone());
                self.lanes.postpone(&start, Utc::now() + LOCKED_RETRY);
            }
            Some(RunResult::Done(..)) | None => self.lanes.finish(&start.key),
        }
        self.publish_next_run(&start.key);
    }

    /// Looks what other processes did, and what is paused.
    async fn poll(&mut self) {
        let (executor, last_seen) = (self.executor.clone(), self.last_seen);
        let interrupted = self.interrupted.iter().filter_map(|key| self.databases.get(&key.database));
        let active = self.active.values().map(|run| &run.database);
        let databases: Vec<Arc<Database>> = active.chain(interrupted).map(Arc::clone).collect();
        let sealed = self.databases.values().filter(|database| database.settings.tasks.scrub.is_some());
        let sealed: Vec<Arc<Database>> = sealed.map(Arc::clone).collect();
        let changes = run_blocking(move || {
            persistence::poll_external_changes(&executor, last_seen, &databases, &sealed)
        });
        let changes = changes.await;
        let changes = match changes {
            Some(Ok(changes)) => changes,
            Some(Err(error)) => {
                // Asked every few seconds; what is wrong is said once.
                if !std::mem::replace(&mut self.state_unreadable, true) {
                    tracing::error!(%error, "the state file cannot be read");
                }
                return;
            }
            None => return,
        };
        if std::mem::take(&mut self.state_unreadable) {
            tracing::info!("the state file can be read again");
        }
        self.last_seen = changes.last_seen;
        self.paused = changes.paused;
        for (key, run) in &self.active {
            if self.paused.contains(&key.database) && !run.cancel.is_cancelled() {
                tracing::info!(
                    db = key.database.as_str(),
                    task = key.task.to_string(),
                    "paused; the run ends at its next safe point"
                );
                run.cancel.cancel();
            }
        }
    }

    async fn prune_history(&self, retention: Duration) {
        let history = Arc::clone(&self.executor.state_store);
        let before = SystemTime::now().checked_sub(retention).unwrap_or(SystemTime::UNIX_EPOCH);
        run_blocking(move || {
            let forgotten = history.prune_runs(before).and_then(|_| history.prune_actions(before));
            if let Err(error) = forgotten {
                tracing::warn!(%error, "old runs could not be forgotten");
            }
        })
        .await;
    }

    /// Stops what is under way and waits for it. A full VACUUM that copies its result back cannot
    /// be stopped.
    async fn drain(&mut self) {
        const WARN_AFTER: Duration = Duration::from_secs(1);
        self.active.values().for_each(|run| run.cancel.cancel());
        while !self.ended.is_empty() {
            match tokio::time::timeout(WARN_AFTER, self.ended.join_next()).await {
                Ok(Some(ended)) => self.finish(ended.ok()),
                Ok(None) => break,
                Err(_) => {
                    for key in self.active.keys() {
                        tracing::warn!(
                            db = key.database.as_str(),
                            task = key.task.to_string(),
                            "waiting for the last part of the job, which cannot be stopped; a second signal ends litekeeper at once, \
                             and SQLite rolls the job back when the database is opened next"
                        );
                    }
                }
            }
        }
    }
}
