//! The loop that scans periodically and publishes the list of databases.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::database::Database;
use crate::database::DatabaseName;
use crate::metrics::AgentMetrics;
use crate::worker_pool::WorkerPool;
use crate::worker_pool::run_blocking;

use super::assemble::FoundFiles;
use super::assemble::ScanTarget;
use super::assemble::assemble;
use super::assemble::scan_targets;
use super::names::GivenNames;
use super::names::NameStore;
use super::scan::ScanError;
use super::scan::scan;

/// Scans at the same time.
const THREADS: usize = 2;
/// A scan of ten thousand files takes 50 ms; one that takes this long is in the hands of the file
/// system.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// A change of this many databases is logged one by one, a larger one as a number.
const MAX_NAMED: usize = 20;

/// The list of databases, or `None` before the first scan.
pub type Targets = Option<Arc<[Arc<Database>]>>;

/// What discovery works on.
pub struct Discovery {
    /// The configuration, which a reload replaces.
    pub config: watch::Receiver<Arc<Config>>,
    /// Where the list goes.
    pub targets: watch::Sender<Targets>,
    /// Counters of the agent's own work.
    pub metrics: Arc<AgentMetrics>,
    /// Keeps the names of databases.
    pub names: Arc<dyn NameStore>,
}

/// A scan target and its last scan, which stays while a newer one hangs.
#[derive(Debug)]
struct Scanned {
    target: ScanTarget,
    busy: AtomicBool,
    last: Mutex<Option<Scan>>,
}

#[derive(Debug, Clone, Default)]
struct Scan {
    found: Vec<(usize, FoundFiles)>,
    errors: Vec<ScanError>,
}

impl Discovery {
    /// Scans until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let pool = WorkerPool::new(THREADS, STUCK_AFTER);
        let mut logged = LoggedState::default();
        let mut given_names = self.load_names().await;
        loop {
            let config = Arc::clone(&self.config.borrow_and_update());
            let scanned: Arc<[Scanned]> = scan_targets(&config).into_iter().map(Scanned::new).collect();
            let mut ticks = tokio::time::interval(config.discovery_interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = self.config.changed() => {
                        if changed.is_err() { return }
                        break;
                    }
                    _ = ticks.tick() => {}
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = pool.run(Arc::clone(&scanned), Scanned::scan, || {}) => {}
                }
                self.publish(&config, &scanned, &mut logged, &mut given_names).await;
            }
        }
    }

    async fn load_names(&self) -> GivenNames {
        let store = Arc::clone(&self.names);
        run_blocking(move || store.load_names()).await.unwrap_or_default()
    }

    /// Adds the names of this scan to those that are kept, and stores what is new.
    async fn keep_names(&self, found: GivenNames, kept: &mut GivenNames) {
        let new: Vec<_> =
            found.0.into_iter().filter(|(path, given)| kept.0.get(path) != Some(given)).collect();
        if new.is_empty() {
            return;
        }
        kept.0.extend(new.iter().cloned());
        let store = Arc::clone(&self.names);
        let new = GivenNames(new.into_iter().collect());
        run_blocking(move || store.store_names(&new)).await;
    }

    async fn publish(
        &self,
        config: &Config,
        scanned: &[Scanned],
        logged: &mut LoggedState,
        given_names: &mut GivenNames,
    ) {
        let mut found: BTreeMap<usize, FoundFiles> = BTreeMap::new();
        let mut problems = BTreeSet::new();
        for target in scanned {
            if target.busy.load(Ordering::SeqCst) {
                problems.insert(format!("{}: the scan hangs in the file system", target.describe()));
            }
            let last = target.last().clone().unwrap_or_default();
            problems.extend(last.errors.iter().map(ToString::to_string));
            found.extend(last.found);
        }
        let found: Vec<FoundFiles> = found.into_values().collect();
        let mut result = assemble(&found, config.max_databases, config.series_limit, given_names);
        if result.left_out > 0 {
            problems.insert(format!("{} files beyond max_databases are not watched", result.left_out));
        }
        self.metrics.discovery_failed(problems.len() as u64);
        let before = self.targets.borrow().clone();
        reuse_unchanged(&mut result.databases, before.as_deref());
        logged.log_new(problems, result.hard_links, result.mounted_alone);
        self.keep_names(result.given_names, given_names).await;
        log_change(before.as_deref(), &result.databases);
        let same = before.as_ref().is_some_and(|before| {
            before.len() == result.databases.len()
                && before.iter().zip(&result.databases).all(|(a, b)| Arc::ptr_eq(a, b))
        });
        if !same {
            self.targets.send_replace(Some(result.databases.into()));
        }
    }
}

impl Scanned {
    fn new(target: ScanTarget) -> Self {
        Self { target, busy: AtomicBool::new(false), last: Mutex::new(None) }
    }

    fn last(&self) -> parking_lot::MutexGuard<'_, Option<Scan>> {
        self.last.lock()
    }

    fn describe(&self) -> String {
        use crate::config::SourceLocation;
        let Some((_, source)) = self.target.sources.first() else { return String::new() };
        match &source.location {
            SourceLocation::File { path, .. } | SourceLocation::Directory { path, .. } => {
                path.display().to_string()
            }
            SourceLocation::Glob { pattern, .. } => pattern.clone(),
        }
    }

    /// One scan, on a thread of the pool; nothing while an earlier one hangs.
    fn scan(&self) {
        if self.busy.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut result = Scan::default();
        for (index, source) in &self.target.sources {
            let (files, errors) = scan(source);
            result.found.push((*index, FoundFiles { settings: Arc::clone(&source.settings), files }));
            result.errors.extend(errors);
        }
        *self.last() = Some(result);
        self.busy.store(false, Ordering::SeqCst);
    }
}

/// A database that is the same as before keeps its object, by which `collection` recognises it.
fn reuse_unchanged(databases: &mut [Arc<Database>], before: Option<&[Arc<Database>]>) {
    let existing: HashMap<&DatabaseName, &Arc<Database>> =
        before.unwrap_or_default().iter().map(|database| (&database.name, database)).collect();
    for database in databases {
        if let Some(same) = existing.get(&database.name).filter(|existing| ***existing == *database) {
            *database = Arc::clone(same);
        }
    }
}

fn log_change(before: Option<&[Arc<Database>]>, now: &[Arc<Database>]) {
    let names = |databases: &[Arc<Database>]| -> BTreeSet<DatabaseName> {
        databases.iter().map(|database| database.name.clone()).collect()
    };
    let Some(before) = before else {
        tracing::info!(databases = now.len(), "first scan for databases is done");
        return;
    };
    let (before, now) = (names(before), names(now));
    for (change, names) in [("appeared", &now - &before), ("vanished", &before - &now)] {
        if names.len() > MAX_NAMED {
            tracing::info!(databases = names.len(), "databases {change}");
        } else {
            names.iter().for_each(|db| tracing::info!(db = db.as_str(), "database {change}"));
        }
    }
}

/// What was logged, so that it is logged once.
#[derive(Default)]
struct LoggedState {
    problems: BTreeSet<String>,
    hard_links: BTreeSet<(PathBuf, PathBuf)>,
    mounted_alone: BTreeSet<PathBuf>,
}

impl LoggedState {
    fn log_new(
        &mut self,
        problems: BTreeSet<String>,
        hard_links: Vec<(PathBuf, PathBuf)>,
        mounted_alone: Vec<PathBuf>,
    ) {
        for problem in problems.difference(&self.problems) {
            tracing::warn!(problem, "the scan for databases is incomplete");
        }
        self.problems = problems;
        for path in mounted_alone {
            if self.mounted_alone.insert(path.clone()) {
                tracing::warn!(
                    path = &*path.to_string_lossy(),
                    "this file is mounted by itself, so its -wal and -journal are not visible here and recent commits can be \
                     missing; mount the directory that holds it"
                );
            }
        }
        for link in hard_links {
            if self.hard_links.insert(link.clone()) {
                tracing::warn!(
                    watched = &*link.0.to_string_lossy(),
                    other = &*link.1.to_string_lossy(),
                    "one database file has two names (hard links); programs that write through both will corrupt it"
                );
            }
        }
    }
}
