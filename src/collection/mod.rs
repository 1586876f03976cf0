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
use crate::metrics::SkipReason;
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

use due::Lane;
use hung_devices::HungDevices;
use locks::LockMonitor;
use monitored_database::MonitoredDatabase;

/// A look at one database takes microseconds and ends by its budget after 2 s; a thread that is at
/// one for longer is in the hands of the file system.
const LOOK_STUCK_AFTER: Duration = Duration::from_secs(5);
/// `statvfs` answers at once or hangs.
const FILESYSTEM_STUCK_AFTER: Duration = Duration::from_secs(5);
/// While a sweep is under way, what it has seen so far is published this often.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// A way to look at a database; tests pass one that hangs.
pub type CollectFn = fn(&Database, Option<&PreviousCollection>) -> Collected;

/// What the sampler works on.
pub struct Sampler {
    /// The databases to watch, from discovery; `None` until its first word.
    pub targets: watch::Receiver<Option<Arc<[Arc<Database>]>>>,
    /// How often to sweep.
    pub interval: watch::Receiver<Duration>,
    /// Where the result goes.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Counters of the agent's own work.
    pub metrics: Arc<AgentMetrics>,
    /// How a database is looked at.
    pub look: CollectFn,
    /// Threads that look at the same time, at the most.
    pub threads: usize,
}

/// What the two loops tell each other.
#[derive(Debug, Default)]
struct News {
    /// A sweep is over: databases may have moved, or be up for the first time.
    swept: Notify,
    /// Values of tables are there to be published.
    tables_taken: Notify,
}

/// A directory that holds databases, and the file system under it.
#[derive(Debug)]
struct Directory {
    path: CString,
    busy: std::sync::atomic::AtomicBool,
    facts: Mutex<Option<Arc<FilesystemFacts>>>,
}

/// Everything that outlives a sweep.
struct Fleet {
    watched: Arc<[Arc<MonitoredDatabase>]>,
    directories: Arc<[Arc<Directory>]>,
    hung: Arc<HungDevices>,
}

impl Sampler {
    /// Sweeps until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let looks = WorkerPool::new(self.threads, LOOK_STUCK_AFTER);
        let filesystems = WorkerPool::new(1, FILESYSTEM_STUCK_AFTER);
        let mut locks = LockMonitor::default();
        let mut fleet = Fleet { watched: Arc::from([]), directories: Arc::from([]), hung: Arc::default() };
        let (tables_feed, tables_source) = watch::channel(Arc::clone(&fleet.watched));
        let news = Arc::new(News::default());
        let mut slower = vec![tokio::spawn(owners::run(
            tables_source.clone(),
            self.interval.clone(),
            Arc::clone(&news),
            stop.clone(),
        ))];
        slower.extend([Lane::Quick, Lane::Long].map(|lane| {
            let (source, metrics) = (tables_source.clone(), Arc::clone(&self.metrics));
            tokio::spawn(slow_loop::run(lane, source, metrics, Arc::clone(&news), stop.clone()))
        }));
        let mut ticks = self.ticks();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
                () = news.tables_taken.notified() => {
                    self.snapshot.store(Arc::new(fleet.snapshot(true)));
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
            if fleet.follow(&targets) {
                tables_feed.send_replace(Arc::clone(&fleet.watched));
            }
            let started = Instant::now();
            let (span, before) = (span::sweep(fleet.watched.len()), self.skipped());
            let sweep = async {
                let list = locks.list().await;
                let spaces = fleet.measure_filesystems(&filesystems);
                let looks = self.sweep(&looks, &fleet, list.clone());
                tokio::join!(spaces, looks);
                locks.follow(&fleet.watched, list).await;
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sweep => {}
            }
            self.snapshot.store(Arc::new(fleet.snapshot(true)));
            self.metrics.swept(started.elapsed());
            let now = self.skipped();
            span::swept(&span, fleet.watched.len(), now.0 - before.0, now.1 - before.1);
            drop(span);
            news.swept.notify_one();
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
        (of(SkipReason::Unchanged), of(SkipReason::Stuck))
    }

    async fn sweep(&self, crew: &WorkerPool, fleet: &Fleet, list: Option<Arc<LockTableSnapshot>>) {
        let (look, metrics, hung) = (self.look, Arc::clone(&self.metrics), Arc::clone(&fleet.hung));
        let work =
            move |watched: &Arc<MonitoredDatabase>| look_at(watched, look, &metrics, &hung, list.as_deref());
        let mut published = Instant::now();
        let was_complete = self.snapshot.load().complete;
        let publish = || {
            if published.elapsed() >= PUBLISH_EVERY {
                published = Instant::now();
                self.snapshot.store(Arc::new(fleet.snapshot(was_complete)));
            }
        };
        let report = crew.run(Arc::clone(&fleet.watched), work, publish).await;
        self.report(fleet, &report);
    }

    fn report(&self, fleet: &Fleet, report: &BatchReport) {
        for &index in &report.stuck {
            self.metrics.sample_skipped(SkipReason::Stuck);
            fleet.watched[index].set_hung(&fleet.hung);
        }
        for &index in &report.panicked {
            monitored_database::report_panic(&fleet.watched[index].database);
        }
        for _ in 0..report.left_out {
            self.metrics.sample_skipped(SkipReason::Stuck);
        }
    }
}

/// One look, on a thread of the crew.
fn look_at(
    watched: &Arc<MonitoredDatabase>,
    look: CollectFn,
    metrics: &AgentMetrics,
    hung: &Arc<HungDevices>,
    list: Option<&LockTableSnapshot>,
) {
    // Still hung from an earlier sweep, or on a file system where others are.
    let Some(_turn) = watched.begin(hung) else {
        metrics.sample_skipped(SkipReason::Stuck);
        return;
    };
    let look = locks::look_with_locks(watched, look, list);
    match look.outcome {
        CollectOutcome::Unchanged => metrics.sample_skipped(SkipReason::Unchanged),
        CollectOutcome::Busy(_) => {
            metrics.sampled(look.elapsed);
            metrics.sample_skipped(SkipReason::Busy);
        }
        CollectOutcome::Up(_) | CollectOutcome::Down(_) => metrics.sampled(look.elapsed),
    }
    watched.apply(look);
}

impl Fleet {
    /// Follows the databases that discovery gives; a database that stays keeps what is known of it.
    fn follow(&mut self, targets: &[Arc<Database>]) -> bool {
        let same = self.watched.len() == targets.len()
            && self
                .watched
                .iter()
                .zip(targets)
                .all(|(watched, target)| Arc::ptr_eq(&watched.database, target));
        if same {
            return false;
        }
        let known: HashMap<&DatabaseName, &Arc<MonitoredDatabase>> =
            self.watched.iter().map(|watched| (&watched.database.name, watched)).collect();
        let directories: HashMap<PathBuf, Arc<Directory>> = self
            .watched
            .iter()
            .map(|watched| (directory_of(&watched.database.path), Arc::clone(&watched.directory)))
            .collect();
        let mut directories = directories;
        let watched: Vec<Arc<MonitoredDatabase>> = targets
            .iter()
            .map(|target| {
                let path = directory_of(&target.path);
                let directory =
                    directories.entry(path.clone()).or_insert_with(|| Arc::new(Directory::new(&path)));
                match known.get(&target.name) {
                    Some(watched) if Arc::ptr_eq(&watched.database, target) => Arc::clone(watched),
                    Some(watched) => Arc::new(watched.moved_to(Arc::clone(target), Arc::clone(directory))),
                    None => Arc::new(MonitoredDatabase::new(Arc::clone(target), Arc::clone(directory))),
                }
            })
            .collect();
        let mut unique: Vec<Arc<Directory>> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for watched in &watched {
            if seen.insert(Arc::as_ptr(&watched.directory)) {
                unique.push(Arc::clone(&watched.directory));
            }
        }
        self.watched = watched.into();
        self.directories = unique.into();
        true
    }

    async fn measure_filesystems(&self, crew: &WorkerPool) {
        let mounts = MountTable::read();
        crew.run(Arc::clone(&self.directories), move |directory| directory.measure(&mounts), || {}).await;
    }

    fn snapshot(&self, complete: bool) -> Snapshot {
        Snapshot { databases: self.watched.iter().map(|watched| watched.observed()).collect(), complete }
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
