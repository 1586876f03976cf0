//! One run from the lock to the record: the same for the schedule and for `litekeeper run`.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

use crate::config::Maintenance;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::metrics::JobMetrics;
use crate::os::ClockReading;
use crate::os::DatabaseFingerprint;
use crate::os::MaintenanceLock;
use crate::os::first_unsearchable_directory;
use crate::record::record;
use crate::sealed::sealed_directory;
use crate::sealed::sealed_statuses;
use crate::sqlite::temporary_directory;
use crate::state_store::StateStore;
use crate::state_store::StateStoreError;
use crate::task::TaskKind;
use crate::tasks;
use crate::tasks::DryRun;
use crate::tasks::FailureReason;
use crate::tasks::Progress;
use crate::tasks::ReaderPool;
use crate::tasks::Report;
use crate::tasks::Run;
use crate::tasks::ScrubResources;
use crate::tasks::SkipReason;
use crate::tasks::Stop;
use crate::tasks::TaskContext;
use crate::tasks::TaskHistory;
use crate::tasks::Trigger;
use crate::tasks::is_damage_gone;
use crate::tasks::ledger_directory;
use crate::telemetry;

/// What every run needs.
#[derive(Debug, Clone)]
pub struct TaskExecutor {
    /// The state file.
    pub state_store: Arc<StateStore>,
    /// The metrics.
    pub metrics: Arc<JobMetrics>,
    /// While this file is there, nothing runs.
    pub pause_file: Option<PathBuf>,
    /// The processes that read databases for scrubs.
    pub readers: Arc<ReaderPool>,
}

/// A run to be done.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The database.
    pub database: Arc<Database>,
    /// The task.
    pub task: TaskKind,
    /// Why it is done.
    pub trigger: Trigger,
    /// When it fell due.
    pub due_at: Option<SystemTime>,
    /// When its window closes.
    pub must_end_by: Option<SystemTime>,
    /// Stops it.
    pub cancel: CancellationToken,
}

/// What came of an order.
#[derive(Debug)]
pub enum RunResult {
    /// It is over and recorded.
    Done(Box<Run>),
    /// Another process of litekeeper maintains the database.
    LockedElsewhere,
}

impl TaskExecutor {
    /// Takes the pause file from the configuration.
    #[must_use]
    pub fn new(state_store: Arc<StateStore>, metrics: Arc<JobMetrics>, maintenance: &Maintenance) -> Self {
        Self { state_store, metrics, pause_file: maintenance.pause_file.clone(), readers: Arc::default() }
    }

    /// Does an order, unless another process has the database.
    #[must_use]
    pub fn execute(&self, request: &RunRequest, progress: Arc<dyn Progress>) -> RunResult {
        let _lock = match self.lock(request) {
            Ok(Some(lock)) => lock,
            Ok(None) => return RunResult::LockedElsewhere,
            Err(error) => {
                let message = not_locked(&request.database.path, &error);
                return self.record_not_started(
                    request,
                    SystemTime::now(),
                    Stop::failed(FailureReason::Io, message),
                );
            }
        };
        let now = SystemTime::now();
        match self.paused(&request.database) {
            Ok(None) => {}
            Ok(Some(how)) => {
                let stop = Stop::skipped(SkipReason::Paused, format!("maintenance is paused; {how}"));
                return self.record_not_started(request, now, stop);
            }
            Err(error) => return self.record_not_started(request, now, state_failed(&error)),
        }
        let _trace = trace_of(request);
        let (begun, metrics) = (Instant::now(), &self.metrics);
        metrics.started(&request.database.name, request.task, now);
        let result = self.run_inner(request, now, progress);
        metrics.ended(&request.database.name, request.task);
        let run = self.run_of(request, now, begun.elapsed(), result);
        record(&run, &self.state_store, metrics);
        self.publish_sealed(&request.database);
        RunResult::Done(Box::new(run))
    }

    /// Says what an order would do.
    ///
    /// # Errors
    /// The outcome of a run that could not even look.
    pub fn dry_run(&self, request: &RunRequest, progress: Arc<dyn Progress>) -> Result<DryRun, Stop> {
        let history = self.history(request).map_err(|error| state_failed(&error))?;
        let limits =
            QueryLimits { deadline: None, busy_timeout: Duration::ZERO, cancel: request.cancel.clone() };
        let clock = ClockReading::read();
        let (now, database) = (SystemTime::now(), &request.database);
        let must_end_by = request.must_end_by;
        tasks::dry_run(
            request.task,
            &TaskContext { database, now, clock, must_end_by, limits: &limits, history: &history, progress },
        )
    }

    /// Writes down a run that never began.
    #[must_use]
    pub fn record_not_started(&self, request: &RunRequest, at: SystemTime, stop: Stop) -> RunResult {
        let _trace = trace_of(request);
        let run = self.run_of(request, at, Duration::ZERO, Err(stop));
        record(&run, &self.state_store, &self.metrics);
        RunResult::Done(Box::new(run))
    }

    fn run_of(
        &self,
        request: &RunRequest,
        at: SystemTime,
        elapsed: Duration,
        result: Result<Report, Stop>,
    ) -> Run {
        let RunRequest { database, task, trigger, due_at, .. } = request;
        let (name, path) = (database.name.clone(), database.path.clone());
        let run = Run::new(name, path, *task, *trigger, *due_at, at, elapsed, result);
        Run { trace: telemetry::current(), ..run }
    }

    /// Whether maintenance of a database is paused, and how.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn paused(&self, database: &Database) -> Result<Option<String>, StateStoreError> {
        if let Some(file) = self.pause_file.as_ref().filter(|file| file.exists()) {
            return Ok(Some(format!("the pause file {} is there", file.display())));
        }
        let (everything, databases) = self.state_store.pauses()?;
        let one = databases.contains(database.name.as_str());
        Ok((everything || one).then(|| "`litekeeper resume` ends the pause".to_owned()))
    }

    /// Locks a database for maintenance; the outer `None` says that another process has it locked,
    /// the inner one that no lock is needed.
    fn lock(&self, request: &RunRequest) -> std::io::Result<Option<Option<MaintenanceLock>>> {
        let database = &request.database;
        if tasks::task(request.task).is_background() {
            return Ok(Some(None));
        }
        // In memory, nothing that writes is configured, and two health checks do no harm.
        let Some(state) = self.state_store.file() else { return Ok(Some(None)) };
        let Some(main) = DatabaseFingerprint::read(&database.files)?.main else { return Ok(Some(None)) };
        let mut directory = state.as_os_str().to_owned();
        directory.push(".locks");
        let lock = MaintenanceLock::try_acquire(&PathBuf::from(directory), main.device, main.inode)?;
        Ok(lock.map(Some))
    }

    fn history(&self, request: &RunRequest) -> Result<TaskHistory, StateStoreError> {
        let path = &request.database.path;
        self.clear_accepted_damage(&request.database)?;
        let (last, success) = self.state_store.last_runs(path, request.task)?;
        // A failed run may know more than the last success, or nothing.
        let kept_backups = [last.as_ref(), success.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|stored| stored.run.report.as_ref()?.details.measurements().kept_backups)
            .unwrap_or_default();
        Ok(TaskHistory {
            damage: self.state_store.known_damage(path)?,
            rate: success.and_then(|stored| stored.run.rate()),
            clock: self.state_store.clock(path)?,
            foreign_writer: Arc::new(self.state_store.foreign_writer(path)?.unwrap_or(0).into()),
            backup_identity: None,
            scrub: self.state_store.file().map(|file| ScrubResources {
                ledgers: ledger_directory(file),
                sealed: sealed_directory(file),
                readers: Arc::clone(&self.readers),
            }),
            kept_backups,
            temporary_directory: temporary_directory(),
        })
    }

    /// Ends the damage that a scrub found, where the ledger says that `litekeeper scrub` has found it
    /// gone or an operator has accepted it.
    ///
    /// # Errors
    /// The state file cannot be read or written.
    pub fn clear_accepted_damage(&self, database: &Database) -> Result<(), StateStoreError> {
        let Some(file) = self.state_store.file() else { return Ok(()) };
        let Some(status) = self.state_store.scrub_status(&database.path)? else { return Ok(()) };
        if status.is_ok() || !is_damage_gone(file, &database.path, status.completed_at) {
            return Ok(());
        }
        self.state_store.clear_scrub_damage(&database.path)?;
        self.metrics.set_scrub(&database.name, self.state_store.scrub_status(&database.path)?);
        tracing::info!(db = database.name.as_str(), "the damage that a scrub found is gone or accepted");
        Ok(())
    }

    /// Publishes what is known of the sealed rows of a database with the task `scrub`.
    pub(super) fn publish_sealed(&self, database: &Database) {
        if let Some(file) = self.state_store.file().filter(|_| database.settings.tasks.scrub.is_some()) {
            let tables = sealed_statuses(database, &sealed_directory(file));
            self.metrics.set_sealed(&database.name, tables);
        }
    }

    /// Remembers who wrote a database last but litekeeper, where that has changed.
    fn remember_writer(&self, database: &Database, version: u32) {
        let known = self.state_store.foreign_writer(&database.path);
        let stored = match known {
            Ok(known) if version == 0 || known == Some(version) => return,
            Ok(_) => self.state_store.set_foreign_writer(&database.path, version),
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            tracing::error!(db = database.name.as_str(), %error, "the writer's version could not be written to the state file");
        }
    }

    fn run_inner(
        &self,
        request: &RunRequest,
        now: SystemTime,
        progress: Arc<dyn Progress>,
    ) -> Result<Report, Stop> {
        let task = tasks::task(request.task);
        let mut history = self.history(request).map_err(|error| state_failed(&error))?;
        if task.needs_backup_identity() {
            let (path, name) = (&request.database.path, &request.database.name);
            let identity = self.state_store.backup_identity(path, name);
            history.backup_identity = Some(identity.map_err(|error| state_failed(&error))?);
        }
        let timeout = timeout(&request.database, request.task);
        let until_close = request.must_end_by.map(|end| end.duration_since(now).unwrap_or_default());
        let limit = until_close.map_or(timeout, |close| timeout.min(close));
        let limits = QueryLimits {
            deadline: Some(Instant::now() + limit),
            busy_timeout: Duration::ZERO,
            cancel: request.cancel.clone(),
        };
        let (clock, must_end_by) = (ClockReading::read(), request.must_end_by);
        let context = TaskContext {
            database: &request.database,
            now,
            clock: clock.clone(),
            must_end_by,
            limits: &limits,
            history: &history,
            progress,
        };
        let result = catch_unwind(AssertUnwindSafe(|| tasks::run(request.task, &context)));
        if task.depends_on_clock()
            && let Err(error) = self.state_store.set_clock(&request.database.path, &clock)
        {
            tracing::error!(db = request.database.name.as_str(), %error, "the clock could not be written to the state file");
        }
        self.remember_writer(&request.database, history.foreign_writer.load(Ordering::Relaxed));
        result.unwrap_or_else(|_| {
            let message = "the job panicked, which is a defect of litekeeper; please report it with the log";
            Err(Stop::failed(FailureReason::Other, message))
        })
    }
}

/// Why a database could not be locked for maintenance: mostly its own files cannot be reached.
fn not_locked(path: &Path, error: &std::io::Error) -> String {
    match first_unsearchable_directory(path) {
        Some(directory) => format!(
            "{}: litekeeper may not search the directory {} ({error}); give its user or a group of its the right to (chmod g+x, \
             or setfacl -m u:USER:x)",
            path.display(),
            directory.display()
        ),
        None if std::fs::symlink_metadata(path).is_err() => format!("{}: {error}", path.display()),
        None => format!("the lock beside the state file cannot be taken: {error}"),
    }
}

/// Begins the trace of a run, which lasts until the run is written down.
fn trace_of(request: &RunRequest) -> telemetry::RunScope {
    let RunRequest { database, task, trigger, .. } = request;
    telemetry::begin_run(
        database.name.as_str(),
        task.label(),
        trigger.label(),
        &database.path.to_string_lossy(),
    )
}

/// Without the state file nobody knows whether the database is sound, so nothing is done.
fn state_failed(error: &StateStoreError) -> Stop {
    Stop::failed(FailureReason::Io, error.to_string())
}

/// How long a run of a task may take.
fn timeout(database: &Database, task: TaskKind) -> Duration {
    /// For a task that is not configured, which ends at once.
    const SHORT: Duration = Duration::from_secs(60);
    let timing = database.settings.tasks.timings().find(|(of, _)| *of == task);
    timing.map_or(SHORT, |(_, timing)| timing.timeout)
}
