//! The loop that looks at every database once an interval and publishes what it saw.
//!
//! It must never wait for one database: a look that hangs costs its thread, not the sweep. Nothing
//! here reads a file itself; `sample` does, on the crew's threads.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::collectors::CollectOutcome;
use crate::collectors::Collected;
use crate::collectors::LockTableSnapshot;
use crate::collectors::PreviousCollection;
use crate::collectors::Snapshot;
use crate::database::Database;
use crate::database::DatabaseName;
use crate::metrics::AgentMetrics;
use crate::metrics::CollectSkipReason;
use crate::os::FilesystemFacts;
use crate::os::MountTable;
use crate::os::filesystem_facts;
use crate::span;
use crate::worker_pool::BatchReport;
use crate::worker_pool::WorkerPool;

mod due;
mod hung_devices;
mod locks;
mod monitored_database;
mod owners;
mod slow_loop;

use due::Pace;
use hung_devices::HungDevices;
use locks::LockMonitor;
use monitored_database::MonitoredDatabase;

/// A look at one database takes microseconds and ends by its budget after 2 s; a thread that is at
/// one for longer is in the hands of the file system.
const SAMPLE_STUCK_AFTER: Duration = Duration::from_secs(5);
/// `statvfs` answers at once or hangs.
const FILESYSTEM_STUCK_AFTER: Duration = Duration::from_secs(5);
/// While a sweep is under way, what it has seen so far is published this often.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// A way to look at a database; tests pass one that hangs.
pub type CollectFn = fn(&Database, Option<&PreviousCollection>) -> Collected;

/// What the sampler works on.
pub struct CollectionLoop {
    /// The databases to watch, from discovery; `None` until its first word.
    pub targets: watch::Receiver<Option<Arc<[Arc<Database>]>>>,
    /// How often to sweep.
    pub interval: watch::Receiver<Duration>,
    /// Where the result goes.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Counters of the agent's own work.
    pub metrics: Arc<AgentMetrics>,
    /// How a database is looked at.
    pub collect: CollectFn,
    /// Threads that look at the same time, at the most.
    pub threads: usize,
}

/// What the two loops tell each other.
#[derive(Debug, Default)]
struct Wakeups {
    /// A sweep is over: databases may have moved, or be up for the first time.
    sweep_ended: Notify,
    /// Values of tables are there to be published.
    values_changed: Notify,
}

/// A directory that holds databases, and the file system under it.
#[derive(Debug)]
struct Directory {
    path: CString,
    busy: std::sync::atomic::AtomicBool,
    facts: Mutex<Option<Arc<FilesystemFacts>>>,
}

/// Everything that outlives a sweep.
struct DatabaseSet {
    monitored: Arc<[Arc<MonitoredDatabase>]>,
    directories: Arc<[Arc<Directory>]>,
    hung: Arc<HungDevices>,
}

impl CollectionLoop {
    /// Sweeps until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let looks = WorkerPool::new(self.threads, SAMPLE_STUCK_AFTER);
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
        slower.extend([Pace::Fast, Pace::Slow].map(|pace| {
            let (source, metrics) = (tables_source.clone(), Arc::clone(&self.metrics));
            tokio::spawn(slow_loop::run(pace, source, metrics, Arc::clone(&wakeups), stop.clone()))
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
            if set.follow(&targets) {
                tables_feed.send_replace(Arc::clone(&set.monitored));
            }
            let started = Instant::now();
            let (span, before) = (span::sweep(set.monitored.len()), self.skipped());
            let sweep = async {
                let list = locks.list().await;
                let spaces = set.measure_filesystems(&filesystems);
                let looks = self.sweep(&looks, &set, list.clone());
                tokio::join!(spaces, looks);
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

    /// Looks that were left out so far: databases that had not moved, and those that hang.
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

/// One look, on a thread of the crew.
fn collect_one(
    monitored: &Arc<MonitoredDatabase>,
    collect: CollectFn,
    metrics: &AgentMetrics,
    hung: &Arc<HungDevices>,
    list: Option<&LockTableSnapshot>,
) {
    // Still hung from an earlier sweep, or on a file system where others are.
    let Some(_turn) = monitored.begin(hung) else {
        metrics.sample_skipped(CollectSkipReason::Stuck);
        return;
    };
    let collect = locks::collect_with_locks(monitored, collect, list);
    match collect.outcome {
        CollectOutcome::Unchanged => metrics.sample_skipped(CollectSkipReason::Unchanged),
        CollectOutcome::Busy(_) => {
            metrics.sampled(collect.elapsed);
            metrics.sample_skipped(CollectSkipReason::Busy);
        }
        CollectOutcome::Up(_) | CollectOutcome::Down(_) => metrics.sampled(collect.elapsed),
    }
    monitored.apply(collect);
}

impl DatabaseSet {
    /// Follows the databases that discovery gives; a database that stays keeps what is known of it.
    fn follow(&mut self, targets: &[Arc<Database>]) -> bool {
        let same = self.monitored.len() == targets.len()
            && self
                .monitored
                .iter()
                .zip(targets)
                .all(|(monitored, target)| Arc::ptr_eq(&monitored.database, target));
        if same {
            return false;
        }
        let known: HashMap<&DatabaseName, &Arc<MonitoredDatabase>> =
            self.monitored.iter().map(|monitored| (&monitored.database.name, monitored)).collect();
        let directories: HashMap<PathBuf, Arc<Directory>> = self
            .monitored
            .iter()
            .map(|monitored| (directory_of(&monitored.database.path), Arc::clone(&monitored.directory)))
            .collect();
        let mut directories = directories;
        let monitored: Vec<Arc<MonitoredDatabase>> = targets
            .iter()
            .map(|target| {
                let path = directory_of(&target.path);
                let directory =
                    directories.entry(path.clone()).or_insert_with(|| Arc::new(Directory::new(&path)));
                match known.get(&target.name) {
                    Some(monitored) if Arc::ptr_eq(&monitored.database, target) => Arc::clone(monitored),
                    Some(monitored) => {
                        Arc::new(monitored.with_target(Arc::clone(target), Arc::clone(directory)))
                    }
                    None => Arc::new(MonitoredDatabase::new(Arc::clone(target), Arc::clone(directory))),
                }
            })
            .collect();
        let mut unique: Vec<Arc<Directory>> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for monitored in &monitored {
            if seen.insert(Arc::as_ptr(&monitored.directory)) {
                unique.push(Arc::clone(&monitored.directory));
            }
        }
        self.monitored = monitored.into();
        self.directories = unique.into();
        true
    }

    async fn measure_filesystems(&self, pool: &WorkerPool) {
        let mounts = MountTable::read();
        pool.run(Arc::clone(&self.directories), move |directory| directory.measure(&mounts), || {}).await;
    }

    fn snapshot(&self, complete: bool) -> Snapshot {
        Snapshot {
            databases: self.monitored.iter().map(|monitored| monitored.snapshot()).collect(),
            complete,
        }
    }
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

impl Directory {
    fn new(path: &Path) -> Self {
        let path = CString::new(path.as_os_str().as_bytes()).expect("a path of the system holds no NUL byte");
        Self { path, busy: std::sync::atomic::AtomicBool::new(false), facts: Mutex::new(None) }
    }

    /// Asks for the space, unless an earlier question still hangs. Old numbers of a file system that
    /// fails are taken away: unknown is absent.
    fn measure(&self, mounts: &MountTable) {
        use std::sync::atomic::Ordering;
        if self.busy.swap(true, Ordering::SeqCst) {
            *self.facts.lock() = None;
            return;
        }
        let facts = filesystem_facts(&self.path, mounts).ok().map(Arc::new);
        *self.facts.lock() = facts;
        self.busy.store(false, Ordering::SeqCst);
    }

    fn facts(&self) -> Option<Arc<FilesystemFacts>> {
        self.facts.lock().clone()
    }
}
