//! What maintenance did: counters since the start of the agent, and times and verdicts that outlive
//! it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;
use std::time::SystemTime;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;

use crate::collectors::unix_seconds;
use crate::database::DatabaseName;
use crate::sqlite::Check;
use crate::state_store::CheckStatus;
use crate::task::TaskKind;
use crate::tasks::BackupMeasurement;
use crate::tasks::FailureReason;
use crate::tasks::Measurements;
use crate::tasks::Run;
use crate::tasks::RunStatus;
use crate::tasks::SkipReason;

use super::kept_backups::KeptBackups;
use super::scrubs::Scrubs;

/// A task of a database that is configured.
#[derive(Debug, Clone)]
pub struct JobTarget {
    /// The database.
    pub database: DatabaseName,
    /// The task.
    pub task: TaskKind,
    /// How often it runs.
    pub expected_interval: Duration,
    /// How long it may take.
    pub timeout: Duration,
    /// Tables of a log cleaning with their retention, where they have one by age.
    pub retentions: Vec<(String, Option<Duration>)>,
    /// Checks of a health check.
    pub checks: Vec<Check>,
    /// After which time a kept backup is read again.
    pub verify_interval: Option<Duration>,
}

/// One table of a log cleaning.
#[derive(Debug, Default)]
pub(super) struct TableCounts {
    pub deleted_rows: u64,
    pub batches: u64,
    pub complete: Option<bool>,
    pub kept_rows: Option<u64>,
    pub other_rows: u64,
    pub window: Option<Duration>,
}

/// One task of one database.
#[derive(Debug, Default)]
pub(super) struct Job {
    pub runs: u64,
    pub failures: [u64; FailureReason::ALL.len()],
    pub skips: [u64; SkipReason::ALL.len()],
    pub missed: u64,
    pub running: u32,
    pub progress: f64,
    pub last_start: Option<f64>,
    pub last_completion: Option<f64>,
    pub last_success: Option<f64>,
    pub succeeded: Option<bool>,
    pub last_duration: Option<f64>,
    pub next_runs: BTreeMap<TaskKind, f64>,
    pub expected_interval: Duration,
    pub timeout: Duration,
    pub max_write_hold: Option<f64>,
    pub reclaimed_bytes: u64,
    /// The size of the database before and after the last run, in bytes.
    pub sizes: Option<(u64, u64)>,
    pub tables: BTreeMap<String, TableCounts>,
    /// The last verified backup.
    pub backup: Option<BackupMeasurement>,
    pub kept_backups: Option<KeptBackups>,
    pub verify_interval: Option<Duration>,
}

/// The integrity of one database.
#[derive(Debug, Default)]
pub(super) struct Integrity {
    pub check_statuses: BTreeMap<Check, CheckStatus>,
    pub intervals: BTreeMap<Check, Duration>,
}

/// Everything, behind one lock that is held for no longer than a scrape takes to format it.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub jobs: BTreeMap<(DatabaseName, &'static str), Job>,
    pub integrity: BTreeMap<DatabaseName, Integrity>,
    /// Databases with the task `scrub`.
    pub scrubs: BTreeMap<DatabaseName, Scrubs>,
    pub everything_paused: bool,
    pub paused: BTreeSet<String>,
}

/// How long runs took; the last one of each bucket names its trace.
type Durations = HistogramWithExemplars<[(&'static str, String); 1]>;

/// Counters and gauges of maintenance.
#[derive(Debug)]
pub struct JobMetrics {
    jobs: Mutex<Jobs>,
    /// By the label of the task.
    pub(super) durations: BTreeMap<&'static str, Durations>,
}

impl Default for JobMetrics {
    fn default() -> Self {
        // From a vacuum of nothing to a check of a terabyte.
        let bounds = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0];
        let durations = TaskKind::labels().into_iter();
        let durations = durations.map(|label| (label, Durations::new(bounds.into_iter()))).collect();
        Self { jobs: Mutex::default(), durations }
    }
}

impl JobMetrics {
    pub(super) fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock()
    }

    fn with(&self, database: &DatabaseName, task: TaskKind, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.lock().jobs.get_mut(&(database.clone(), task.label())) {
            change(job);
        }
    }

    /// The tasks that are configured now. Those that stay keep their counts; a database that goes
    /// takes its own along.
    pub fn set_targets(&self, targets: &[JobTarget]) {
        let mut jobs = self.lock();
        let mut old = std::mem::take(&mut jobs.jobs);
        let mut check_statuses = std::mem::take(&mut jobs.integrity);
        let mut scrubs = std::mem::take(&mut jobs.scrubs);
        for target in targets {
            let key = (target.database.clone(), target.task.label());
            let taken = old.remove(&key);
            let known = jobs.jobs.contains_key(&key);
            let job = jobs.jobs.entry(key).or_insert_with(|| taken.unwrap_or_default());
            // The quick check and the full one are one task: the shorter interval is when something
            // is expected.
            job.expected_interval = if known {
                job.expected_interval.min(target.expected_interval)
            } else {
                target.expected_interval
            };
            job.timeout = if known { job.timeout.max(target.timeout) } else { target.timeout };
            job.verify_interval = target.verify_interval;
            if !known {
                job.next_runs.clear();
            }
            if !target.retentions.is_empty() {
                let mut tables = std::mem::take(&mut job.tables);
                for (table, window) in &target.retentions {
                    let counts = tables.remove(table).unwrap_or_default();
                    job.tables.insert(table.clone(), TableCounts { window: *window, ..counts });
                }
            }
            if target.task == TaskKind::Scrub {
                let old = scrubs.remove(&target.database).unwrap_or_default();
                let scrubs = Scrubs { interval: target.expected_interval, ..old };
                jobs.scrubs.insert(target.database.clone(), scrubs);
            }
            for check in &target.checks {
                let integrity = jobs.integrity.entry(target.database.clone()).or_insert_with(|| Integrity {
                    check_statuses: check_statuses
                        .remove(&target.database)
                        .unwrap_or_default()
                        .check_statuses,
                    intervals: BTreeMap::new(),
                });
                integrity.intervals.insert(*check, target.expected_interval);
            }
        }
    }

    /// What is known from before the start: the last run that was not skipped, and the last that
    /// did its work.
    pub fn restore(
        &self,
        database: &DatabaseName,
        task: TaskKind,
        last: Option<&Run>,
        success: Option<&Run>,
    ) {
        self.with(database, task, |job| {
            if let Some(run) =
                last.filter(|run| job.last_start.is_none_or(|known| known < unix_seconds(run.started_at)))
            {
                job.finished(run);
            }
            // A run that failed after says nothing of the backup before it.
            if let Some(run) = success.filter(|_| job.backup.is_none()) {
                job.keep_backup(run);
            }
            let succeeded = success.map(|run| unix_seconds(run.ended_at()));
            job.last_success = [job.last_success, succeeded].into_iter().flatten().reduce(f64::max);
        });
    }

    /// What the checks of a database came to.
    pub fn set_standings(&self, database: &DatabaseName, check_statuses: BTreeMap<Check, CheckStatus>) {
        if let Some(integrity) = self.lock().integrity.get_mut(database) {
            integrity.check_statuses = check_statuses;
        }
    }

    /// When a task runs next.
    pub fn set_next_run(&self, database: &DatabaseName, task: TaskKind, next: Option<SystemTime>) {
        self.with(database, task, |job| {
            match next {
                Some(next) => job.next_runs.insert(task, unix_seconds(next)),
                None => job.next_runs.remove(&task),
            };
        });
    }

    /// What is paused.
    pub fn set_paused(&self, everything: bool, databases: BTreeSet<String>) {
        let mut jobs = self.lock();
        jobs.everything_paused = everything;
        jobs.paused = databases;
    }

    /// Due times passed without a run.
    pub fn missed(&self, database: &DatabaseName, task: TaskKind, count: u32) {
        self.with(database, task, |job| job.missed += u64::from(count));
    }

    /// A run begins.
    pub fn started(&self, database: &DatabaseName, task: TaskKind, at: SystemTime) {
        self.with(database, task, |job| {
            job.running += 1;
            job.progress = 0.0;
            job.last_start = Some(unix_seconds(at));
        });
    }

    /// A run goes on.
    pub fn progressed(&self, database: &DatabaseName, task: TaskKind, share: f64) {
        self.with(database, task, |job| job.progress = share);
    }

    /// A run that was begun here is over, whatever came of it.
    pub fn ended(&self, database: &DatabaseName, task: TaskKind) {
        self.with(database, task, |job| job.running = job.running.saturating_sub(1));
    }

    /// Counts a run that is over.
    pub fn observe(&self, run: &Run) {
        if let RunStatus::Skipped(reason) = run.status {
            self.with(&run.database, run.task, |job| {
                count(&SkipReason::ALL, &mut job.skips, reason);
                if run.is_done() {
                    job.last_success = Some(unix_seconds(run.ended_at()));
                }
            });
            return;
        }
        if let Some(durations) = self.durations.get(run.task.label()) {
            // Only a trace that is exported can be found.
            let trace = run.trace.as_ref().filter(|trace| trace.sampled);
            let exemplar = trace.map(|trace| [("trace_id", trace.id.clone())]);
            durations.observe(run.elapsed.as_secs_f64(), exemplar, Some(run.ended_at()));
        }
        self.with(&run.database, run.task, |job| {
            job.runs += 1;
            if let RunStatus::Failed(reason) = run.status {
                count(&FailureReason::ALL, &mut job.failures, reason);
            }
            job.finished(run);
            job.count(run);
        });
    }
}

impl Job {
    /// Takes over the gauges of the last run.
    fn finished(&mut self, run: &Run) {
        self.last_start = Some(unix_seconds(run.started_at));
        self.last_completion = Some(unix_seconds(run.ended_at()));
        self.last_duration = Some(run.elapsed.as_secs_f64());
        self.succeeded = Some(run.is_success());
        if run.is_success() {
            self.last_success = self.last_completion;
        }
        self.max_write_hold = Some(run.max_hold().as_secs_f64());
        let measured = measurements(run);
        self.sizes = measured.sizes.or(self.sizes);
        self.backup = measured.backup.or(self.backup);
        let kept = measured.kept_backups.as_deref().map(KeptBackups::of);
        self.kept_backups = kept.or(self.kept_backups);
        for table in measured.tables {
            if let Some(counts) = self.tables.get_mut(&table.table) {
                counts.complete = Some(table.complete);
                counts.kept_rows = Some(table.kept_rows);
            }
        }
    }

    fn keep_backup(&mut self, run: &Run) {
        let measured = measurements(run);
        self.backup = measured.backup.or(self.backup);
        let kept = measured.kept_backups.as_deref().map(KeptBackups::of);
        self.kept_backups = self.kept_backups.or(kept);
    }

    /// Adds to the counters what the run did.
    fn count(&mut self, run: &Run) {
        let measured = measurements(run);
        self.reclaimed_bytes += measured.reclaimed_bytes;
        for table in measured.tables {
            if let Some(counts) = self.tables.get_mut(&table.table) {
                counts.deleted_rows += table.deleted_rows;
                counts.batches += table.batches;
                counts.other_rows += table.other_rows;
            }
        }
    }
}

fn measurements(run: &Run) -> Measurements {
    run.report.as_ref().map(|report| report.details.measurements()).unwrap_or_default()
}

/// Adds one to the count of a reason; the counts are in the order of `all`.
fn count<R: PartialEq>(all: &[R], counts: &mut [u64], reason: R) {
    let known = all.iter().zip(counts).find(|(known, _)| **known == reason);
    if let Some((_, count)) = known {
        *count += 1;
    }
}
