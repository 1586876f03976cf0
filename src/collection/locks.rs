//! Tracks which process holds which lock: one list of the kernel per sweep, compared with that of
//! the sweep before.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::collectors::CollectOutcome;
use crate::collectors::Collected;
use crate::collectors::LockTableSnapshot;
use crate::collectors::PreviousCollection;
use crate::database::Database;
use crate::locks::DecodedLocks;
use crate::locks::Hold;
use crate::locks::LockEvent;
use crate::locks::LockTracker;
use crate::os::LockView;
use crate::os::ProcessFacts;
use crate::worker_pool::WorkerPool;
use crate::worker_pool::run_blocking;

use super::monitored_database::MonitoredDatabase;

/// Samples a database; tests pass a function that hangs.
pub type CollectFn = fn(&Database, Option<&PreviousCollection>) -> Collected;

/// `/proc/PID` is read at once, or hangs with the process.
const PROCESS_STUCK_AFTER: Duration = Duration::from_secs(2);

/// Processes by number, as they were when first met; `None` for one that is hidden, or that has not
/// answered yet.
type Processes = HashMap<u32, Option<Arc<ProcessFacts>>>;

/// What is known of lock holders from sweep to sweep.
pub(super) struct LockMonitor {
    pool: WorkerPool,
    processes: Arc<Mutex<Processes>>,
    logged: bool,
}

impl Default for LockMonitor {
    fn default() -> Self {
        Self { pool: WorkerPool::new(1, PROCESS_STUCK_AFTER), processes: Arc::default(), logged: false }
    }
}

/// Samples a database and finds its files in the list of locks. A reader of a WAL can come and go
/// without moving a file that a sample compares, so a database with a reader is read for the
/// reader's mark. Neither does a writer move a file while its commit waits for its fsync: a
/// database with a writer is read now, and once more after it.
pub(super) fn collect_with_locks(
    monitored: &MonitoredDatabase,
    collect: CollectFn,
    list: Option<&LockTableSnapshot>,
) -> Collected {
    let previous = monitored.previous();
    let first = collect(&monitored.database, previous.as_ref());
    let main = first.stamp.and_then(|stamp| stamp.main);
    let files = list.zip(main).and_then(|(list, main)| list.files_of(&monitored.database, main));
    let has_writer = list.zip(files).is_some_and(|(list, files)| list.has_wal_writer(files));
    monitored.set_lock_files(files, has_writer);
    let (Some(list), Some(files), Some(previous)) = (list, files, previous) else { return first };
    let has_frames = previous.facts.wal.is_some_and(|wal| wal.total > 0);
    let moves_unseen = has_writer || has_frames && list.has_wal_reader(files);
    if matches!(first.outcome, CollectOutcome::Unchanged) && moves_unseen {
        return collect(&monitored.database, Some(&PreviousCollection { stamp: None, ..previous }));
    }
    first
}

impl LockMonitor {
    /// Lists all locks; `None` where the system has no list.
    pub(super) async fn list(&mut self) -> Option<Arc<LockTableSnapshot>> {
        let list = run_blocking(LockTableSnapshot::read).await?;
        if !std::mem::replace(&mut self.logged, true) {
            log_lock_visibility(&list);
        }
        list.ok().map(Arc::new)
    }

    /// Compares the list with that of the previous sweep.
    pub(super) async fn follow(
        &mut self,
        set: &Arc<[Arc<MonitoredDatabase>]>,
        list: Option<Arc<LockTableSnapshot>>,
    ) {
        let Some(list) = list else {
            set.iter().for_each(|monitored| monitored.set_locks(None));
            return;
        };
        let (all, at) = (Arc::clone(set), Arc::clone(&list));
        let Some(decoded) = run_blocking(move || decode_all(&all, &at)).await else { return };
        self.resolve_processes(&decoded).await;
        let (all, processes) = (Arc::clone(set), Arc::clone(&self.processes));
        let _ = run_blocking(move || {
            let processes = processes.lock().clone();
            for (monitored, decoded) in all.iter().zip(decoded) {
                update_locks(monitored, decoded, &list, &processes);
            }
        })
        .await;
    }

    /// Reads the names of new processes, and forgets processes that hold nothing any more.
    async fn resolve_processes(&self, decoded: &[Option<DecodedLocks>]) {
        let of = |decoded: &DecodedLocks| -> Vec<u32> {
            let held = decoded.held.iter().filter_map(|held| held.pid);
            let connected = decoded.connected.iter().flatten().filter_map(|(pid, _)| *pid);
            held.chain(connected).collect()
        };
        let present: HashSet<u32> = decoded.iter().flatten().flat_map(of).collect();
        let new: Arc<[u32]> = {
            let mut processes = self.processes.lock();
            processes.retain(|pid, _| present.contains(pid));
            let new = present.into_iter().filter(|pid| !processes.contains_key(pid)).collect();
            // A process that cannot be read is not tried again.
            processes.extend(Arc::clone(&new).iter().map(|pid| (*pid, None)));
            new
        };
        if new.is_empty() {
            return;
        }
        let processes = Arc::clone(&self.processes);
        let ask = move |pid: &u32| {
            let facts = ProcessFacts::read(*pid).map(Arc::new);
            processes.lock().insert(*pid, facts);
        };
        self.pool.run(new, ask, || {}).await;
    }
}

fn log_lock_visibility(list: &std::io::Result<LockTableSnapshot>) {
    match list {
        Ok(list) => match list.table.view {
            LockView::Whole => {}
            LockView::OwnNamespace => tracing::warn!(
                "litekeeper runs in its own PID namespace, where the kernel hides the locks of all processes outside \
                 it; run it in the PID namespace of the host (pid: host, hostPID: true) or of the application"
            ),
        },
        Err(error) => tracing::info!(%error, "there is no /proc/locks, so lock holders are not reported"),
    }
}

/// The locks on each database. The kernel returns a long list in parts, between which locks change;
/// what was held before and is missing now is searched for once more before it counts as gone.
fn decode_all(set: &[Arc<MonitoredDatabase>], list: &LockTableSnapshot) -> Vec<Option<DecodedLocks>> {
    let mut again: Option<Option<LockTableSnapshot>> = None;
    let decode = |monitored: &Arc<MonitoredDatabase>| {
        let (files, facts) = monitored.lock_files()?;
        let mut decoded = list.decode(files, facts.as_deref());
        if !list.table.is_single_read && monitored.tracker.lock().lacks_any(&decoded) {
            let again = again.get_or_insert_with(|| LockTableSnapshot::read().ok());
            if let Some(again) = again {
                decoded.join(again.decode(files, facts.as_deref()));
            }
        }
        Some(decoded)
    };
    set.iter().map(decode).collect()
}

fn update_locks(
    monitored: &MonitoredDatabase,
    decoded: Option<DecodedLocks>,
    list: &LockTableSnapshot,
    processes: &Processes,
) {
    let mut tracker = monitored.tracker.lock();
    let (Some(decoded), Some((_, facts))) = (decoded, monitored.lock_files()) else {
        *tracker = LockTracker::default();
        monitored.set_locks(None);
        return;
    };
    let lock_sample = list.sample(decoded, facts.as_deref());
    let (locks, events) = tracker.observe(lock_sample, |pid| processes.get(&pid).cloned().flatten());
    events.iter().for_each(|event| log_event(&monitored.database, event));
    // Ten thousand databases at rest need no new object each.
    if monitored.locks().as_deref() != Some(&locks) {
        monitored.set_locks(Some(Arc::new(locks)));
    }
}

fn log_event(database: &Database, event: &LockEvent) {
    let db = database.name.as_str();
    match event {
        LockEvent::HeldLong(hold) => {
            let (lock, pid, process, held_seconds) = hold_fields(hold);
            tracing::warn!(
                db,
                lock,
                pid,
                process,
                held_seconds,
                "a process has held a write lock for a long time; other writers wait or get \"database is locked\""
            );
        }
        LockEvent::PinsWal(hold, frames) => {
            let (lock, pid, process, held_seconds) = hold_fields(hold);
            let pinned_frames = hold.pinned_frames;
            tracing::warn!(
                db,
                lock,
                pid,
                process,
                held_seconds,
                pinned_frames,
                frames,
                "a long read keeps the WAL from being checkpointed; the WAL grows until the read ends"
            );
        }
        LockEvent::Released(hold) => {
            let (lock, pid, process, held_seconds) = hold_fields(hold);
            tracing::info!(
                db,
                lock,
                pid,
                process,
                held_seconds,
                "a lock that was held for a long time is free again"
            );
        }
    }
}

fn hold_fields(hold: &Hold) -> (String, Option<u32>, Option<&str>, u64) {
    let process = hold.owner.process.as_ref().map(|process| process.name.as_str());
    (hold.lock.to_string(), hold.owner.pid, process, hold.held.as_secs())
}
