//! The loops that run the collectors with an interval of their own. They know no collector by name.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::collectors::CollectionOutcome;
use crate::collectors::IntervalCollector;
use crate::collectors::Pace;
use crate::collectors::interval_collectors;
use crate::metrics::AgentMetrics;
use crate::worker_pool::WorkerPool;

use super::due::Content;
use super::due::LastRun;
use super::monitored_database;
use super::monitored_database::MonitoredDatabase;
use super::wakeups::Wakeups;

/// How often a loop looks for parts that are due; the shortest interval of a custom metric is 1 s.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Longer than the limits of any collector (30 s), so only a file system gets this far.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// Collections compete with the databases' owners, so each loop runs them one at a time; a second
/// thread joins when one takes longer than a second, so that a file system that hangs delays no
/// other.
const THREADS: usize = 2;
/// A database that was locked is tried again after this long, or its interval if that is shorter.
const BUSY_RETRY: Duration = Duration::from_secs(10);

/// One part of a collector that is due for one database.
struct CollectorRun {
    monitored: Arc<MonitoredDatabase>,
    collector: &'static dyn IntervalCollector,
    part: usize,
    interval: Duration,
    content: Content,
    last_run: Arc<Mutex<Option<LastRun>>>,
}

/// Runs the collectors of one pace until it is stopped.
pub(super) async fn run(
    pace: Pace,
    set: watch::Receiver<Arc<[Arc<MonitoredDatabase>]>>,
    metrics: Arc<AgentMetrics>,
    wakeups: Arc<Wakeups>,
    stop: CancellationToken,
) {
    let pool = WorkerPool::new(THREADS, STUCK_AFTER);
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // A notification wakes one loop; for the slow one a second is soon enough.
            () = wakeups.sweep_ended.notified(), if pace == Pace::Fast => {}
            _ = ticks.tick() => {}
        }
        let monitored = Arc::clone(&set.borrow());
        let runs = due(&monitored, pace);
        if runs.is_empty() {
            continue;
        }
        let metrics = Arc::clone(&metrics);
        let report = tokio::select! {
            () = stop.cancelled() => return,
            report = pool.run(Arc::clone(&runs), move |run: &CollectorRun| run.run(&metrics), || {}) => report,
        };
        wakeups.values_changed.notify_one();
        for index in report.stuck {
            runs[index].monitored.set_is_hung();
        }
        for index in report.panicked {
            monitored_database::report_panic(&runs[index].monitored.database);
        }
    }
}

/// The parts of one pace whose interval has passed and whose database has changed since.
fn due(set: &[Arc<MonitoredDatabase>], pace: Pace) -> Arc<[CollectorRun]> {
    let now = Instant::now();
    let mut runs = Vec::new();
    for monitored in set {
        let settings = &monitored.database.settings;
        for collector in interval_collectors().filter(|collector| collector.pace() == pace) {
            for part in 0..collector.parts(settings) {
                let Some(content) = monitored.up_content() else { continue };
                let key = (collector.name(), part);
                let last_run = Arc::clone(monitored.last_runs.lock().entry(key).or_default());
                // A collection that hangs keeps its last run locked, and is not begun again.
                let Some(last) = last_run.try_lock() else { continue };
                let is_due = |last: &LastRun| last.is_due(now, content, collector.depends_on_time());
                if last.as_ref().is_none_or(is_due) {
                    drop(last);
                    let (monitored, interval) = (Arc::clone(monitored), collector.interval(settings, part));
                    runs.push(CollectorRun { monitored, collector, part, interval, content, last_run });
                }
            }
        }
    }
    runs.into()
}

impl CollectorRun {
    fn run(&self, metrics: &AgentMetrics) {
        let mut last_run = self.last_run.lock();
        let logged = last_run.take().map(|last| last.problems).unwrap_or_default();
        let (started, now) = (SystemTime::now(), Instant::now());
        // Stands when the collection panics, so that a defect does not come again every second.
        *last_run = Some(LastRun { due_at: now + self.interval, content: None, problems: Vec::new() });
        let Some(problems) = self.collect(metrics) else {
            let due_at = now + self.interval.min(BUSY_RETRY);
            *last_run = Some(LastRun { due_at, content: None, problems: logged });
            return;
        };
        for problem in problems.iter().filter(|problem| !logged.contains(problem)) {
            let db = self.monitored.database.name.as_str();
            tracing::warn!(db, problem, "a value of this database could not be collected");
        }
        // A change within the clock's tick before the collection may have come after it.
        let content = (!self.content.stamp.is_racy(started)).then_some(self.content);
        *last_run = Some(LastRun { due_at: now + self.interval, content, problems });
    }

    /// Collects the part and stores its value. Returns what to log, or `None` where the part is to
    /// be tried again soon.
    fn collect(&self, metrics: &AgentMetrics) -> Option<Vec<String>> {
        let (collector, part) = (self.collector, self.part);
        let database = &self.monitored.database;
        let limits = collector.limits(&database.settings, part);
        match collector.collect(database, part, &limits, &self.monitored.readings()) {
            CollectionOutcome::Busy => None,
            CollectionOutcome::Failed(problem) => {
                self.monitored.set_reading(collector.name(), part, None);
                Some(vec![problem])
            }
            CollectionOutcome::Collected(collection) => {
                self.monitored.count_errors(&collection.errors);
                self.monitored.set_reading(collector.name(), part, Some(collection.value));
                metrics.series_dropped(collector.name(), collection.dropped);
                (!collection.is_partial).then_some(collection.problems)
            }
        }
    }
}
