//! The loop that finds processes that lost their locks on a database, or write to deleted files of
//! it.
//!
//! One pass over the descriptors of all processes serves all databases. It comes once an interval,
//! or less often where it takes long, so that it costs at most 0.5 % of one processor.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::os::LostLocks;
use crate::os::OwnerState;
use crate::os::owner_states;
use crate::worker_pool::WorkerPool;

use super::monitored_database::MonitoredDatabase;
use super::wakeups::Wakeups;

/// `/proc` is read at once, or hangs with a process.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// The pause after a pass is at least so many times as long as the pass.
const PAUSE_RATIO: u32 = 200;

type DatabaseSet = Arc<[Arc<MonitoredDatabase>]>;

/// Runs until `stop` is cancelled.
pub(super) async fn run(
    mut set: watch::Receiver<DatabaseSet>,
    interval: watch::Receiver<Duration>,
    wakeups: Arc<Wakeups>,
    stop: CancellationToken,
) {
    let pool = WorkerPool::new(1, STUCK_AFTER);
    loop {
        let monitored = Arc::clone(&set.borrow_and_update());
        if monitored.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = set.changed() => if changed.is_err() { return } else { continue },
            }
        }
        let begun = Instant::now();
        let passes: Arc<[DatabaseSet]> = Arc::from([Arc::clone(&monitored)]);
        let report = tokio::select! {
            () = stop.cancelled() => return,
            report = pool.run(passes, collect, || {}) => report,
        };
        // Unknown is absent, not none.
        if !report.stuck.is_empty() || !report.panicked.is_empty() || report.not_started > 0 {
            monitored.iter().for_each(|one| one.set_owners(Arc::default()));
        }
        wakeups.values_changed.notify_one();
        let pause = (*interval.borrow()).max(begun.elapsed() * PAUSE_RATIO);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One pass over all processes for all databases.
fn collect(set: &DatabaseSet) {
    let files: Vec<_> = set.iter().map(|monitored| &monitored.database.files).collect();
    // Nearly all are like one another, and need no object each.
    let mut shared: Arc<OwnerState> = Arc::default();
    for (monitored, state) in set.iter().zip(owner_states(&files)) {
        log_changes(monitored, &state);
        if *shared != state {
            shared = Arc::new(state);
        }
        monitored.set_owners(Arc::clone(&shared));
    }
}

fn log_changes(monitored: &MonitoredDatabase, now: &OwnerState) {
    let before = monitored.owners();
    let db = monitored.database.name.as_str();
    let is_new = |lost: &&LostLocks| !before.lost.contains(lost);
    for lost in now.lost.iter().filter(is_new) {
        let found = lost.to_string();
        tracing::error!(
            db,
            pid = lost.pid,
            found,
            "commits of this process are lost, or will be; `litekeeper runbook SqliteOwnerLostLocks` says how to keep the data"
        );
    }
    if now.lost.is_empty() && !before.lost.is_empty() {
        tracing::info!(db, "no process lacks its locks on this database any more");
    }
}
