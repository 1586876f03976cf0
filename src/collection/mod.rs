//! The loop that samples every database once an interval and publishes the snapshot.
//!
//! It never waits for one database: a sample that hangs costs its thread, not the sweep. Nothing
//! here reads a database itself; `collectors` does, on the threads of a pool.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::collectors::CollectOutcome;
use crate::collectors::LockTableSnapshot;
use crate::collectors::Pace;
use crate::collectors::Snapshot;
use crate::database::Database;
use crate::metrics::AgentMetrics;
use crate::metrics::CollectSkipReason;
use crate::span;
use crate::worker_pool::BatchReport;
use crate::worker_pool::WorkerPool;

mod database_set;
mod directory;
mod due;
mod hung_devices;
mod interval_loop;
mod locks;
mod monitored_database;
mod owners;
mod wakeups;

use database_set::DatabaseSet;
use hung_devices::HungDevices;
use locks::LockMonitor;
use monitored_database::MonitoredDatabase;
use wakeups::Wakeups;

pub use locks::CollectFn;

/// A sample takes microseconds and ends by its limits after 2 s; a thread that takes longer waits
/// for the file system.
const SAMPLE_STUCK_AFTER: Duration = Duration::from_secs(5);
/// `statvfs` answers at once or hangs.
const FILESYSTEM_STUCK_AFTER: Duration = Duration::from_secs(5);
/// While a sweep is under way, what it has seen so far is published this often.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// The inputs and outputs of the loop.
pub struct CollectionLoop {
    /// The databases to monitor, from discovery; `None` before its first scan.
    pub targets: watch::Receiver<Option<Arc<[Arc<Database>]>>>,
    /// How often to sweep.
    pub interval: watch::Receiver<Duration>,
    /// Where the result goes.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Counters of the agent's own work.
    pub metrics: Arc<AgentMetrics>,
    /// Samples a database.
    pub collect: CollectFn,
    /// The maximum number of threads that sample at the same time.
    pub threads: usize,
}

impl CollectionLoop {
    /// Sweeps until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let samplers = WorkerPool::new(self.threads, SAMPLE_STUCK_AFTER);
        let filesystems = WorkerPool::new(1, FILESYSTEM_STUCK_AFTER);
        let mut locks = LockMonitor::default();
        let mut set =
            DatabaseSet { monitored: Arc::from([]), directories: Arc::from([]), hung: Arc::default() };
        let (tables_feed, tables_source) = watch::channel(Arc::clone(&set.monitored));
        let wakeups = Arc::new(Wakeups::default());
        let mut slower = vec![tokio::spawn(owners::run(
            tables_source.clone(),
            self.interval.clone(),
            Arc::clone(&wakeups),
            stop.clone(),
        ))];
        slower.extend(Pace::ALL.map(|pace| {
            let (source, metrics) = (tables_source.clone(), Arc::clone(&self.metrics));
            tokio::spawn(interval_loop::run(pace, source, metrics, Arc::clone(&wakeups), stop.clone()))
        }));
        let mut ticks = self.ticks();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
                () = wakeups.values_changed.notified() => {
                    self.snapshot.store(Arc::new(set.snapshot(true)));
                    continue;
                }
                changed = self.targets.changed() => if changed.is_err() { break },
                changed = self.interval.changed() => {
                    if changed.is_err() { break }
                    ticks = self.ticks();
                    continue;
                }
            }
            let Some(targets) = self.targets.borrow_and_update().clone() else { continue };
            if set.update_targets(&targets) {
                tables_feed.send_replace(Arc::clone(&set.monitored));
            }
            let started = Instant::now();
            let (span, before) = (span::sweep(set.monitored.len()), self.skipped());
            let sweep = async {
                let list = locks.list().await;
                let spaces = set.measure_filesystems(&filesystems);
                let samples = self.sweep(&samplers, &set, list.clone());
                tokio::join!(spaces, samples);
                locks.follow(&set.monitored, list).await;
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sweep => {}
            }
            self.snapshot.store(Arc::new(set.snapshot(true)));
            self.metrics.swept(started.elapsed());
            let now = self.skipped();
            span::swept(&span, set.monitored.len(), now.0 - before.0, now.1 - before.1);
            drop(span);
            wakeups.sweep_ended.notify_one();
        }
        // The slower loops end by the same token; a hung thread of theirs is left behind.
        for ended in slower {
            let _ = ended.await;
        }
    }

    fn ticks(&self) -> tokio::time::Interval {
        let mut ticks = tokio::time::interval(*self.interval.borrow());
        // A sweep that was late does not make the next ones come in a rush.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Samples skipped so far: databases that were unchanged, and those that hang.
    fn skipped(&self) -> (u64, u64) {
        let of = |reason| self.metrics.samples_skipped(reason);
        (of(CollectSkipReason::Unchanged), of(CollectSkipReason::Stuck))
    }

    async fn sweep(&self, pool: &WorkerPool, set: &DatabaseSet, list: Option<Arc<LockTableSnapshot>>) {
        let (collect, metrics, hung) = (self.collect, Arc::clone(&self.metrics), Arc::clone(&set.hung));
        let work = move |monitored: &Arc<MonitoredDatabase>| {
            collect_one(monitored, collect, &metrics, &hung, list.as_deref())
        };
        let mut published = Instant::now();
        let was_complete = self.snapshot.load().complete;
        let publish = || {
            if published.elapsed() >= PUBLISH_EVERY {
                published = Instant::now();
                self.snapshot.store(Arc::new(set.snapshot(was_complete)));
            }
        };
        let report = pool.run(Arc::clone(&set.monitored), work, publish).await;
        self.report(set, &report);
    }

    fn report(&self, set: &DatabaseSet, report: &BatchReport) {
        for &index in &report.stuck {
            self.metrics.sample_skipped(CollectSkipReason::Stuck);
            set.monitored[index].set_hung(&set.hung);
        }
        for &index in &report.panicked {
            monitored_database::report_panic(&set.monitored[index].database);
        }
        for _ in 0..report.not_started {
            self.metrics.sample_skipped(CollectSkipReason::Stuck);
        }
    }
}

/// One sample, on a thread of the pool.
fn collect_one(
    monitored: &Arc<MonitoredDatabase>,
    collect: CollectFn,
    metrics: &AgentMetrics,
    hung: &Arc<HungDevices>,
    list: Option<&LockTableSnapshot>,
) {
    // Still hung from an earlier sweep, or on a file system where others are.
    let Some(_guard) = monitored.begin(hung) else {
        metrics.sample_skipped(CollectSkipReason::Stuck);
        return;
    };
    let sample = locks::collect_with_locks(monitored, collect, list);
    match sample.outcome {
        CollectOutcome::Unchanged => metrics.sample_skipped(CollectSkipReason::Unchanged),
        CollectOutcome::Busy(_) => {
            metrics.sampled(sample.elapsed);
            metrics.sample_skipped(CollectSkipReason::Busy);
        }
        CollectOutcome::Up(_) | CollectOutcome::Down(_) => metrics.sampled(sample.elapsed),
    }
    monitored.apply(sample);
}
