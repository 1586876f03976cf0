//! Follows the WALs of databases with the task `scrub`, so that the next scrub knows which pages
//! were written although a WAL is reset many times until then.
//!
//! A look costs one `stat` of each such database; the reader process of scrubs reads the frames of
//! those that have changed, and nothing waits for it.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::os::DatabaseFingerprint;
use crate::tasks::ledger_directory;
use crate::worker_pool::run_blocking;

use super::execute::TaskExecutor;

/// A writer that checkpoints each second leaves the frames of several generations to be seen.
const PERIOD: Duration = Duration::from_secs(1);

/// What was seen of each database.
#[derive(Debug, Default)]
struct Seen(HashMap<PathBuf, DatabaseFingerprint>);

/// Follows until `stop`. Returns at once where there is no state file, and so no ledger.
pub(super) async fn follow_wals(
    executor: TaskExecutor,
    mut targets: watch::Receiver<Option<Arc<[Arc<Database>]>>>,
    stop: CancellationToken,
) {
    let Some(ledgers) = executor.state_store.file().map(ledger_directory) else { return };
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let databases: Vec<Arc<Database>> = {
            let targets = targets.borrow_and_update();
            let all = targets.iter().flat_map(|databases| databases.iter());
            all.filter(|database| database.settings.tasks.scrub.is_some()).cloned().collect()
        };
        if databases.is_empty() {
            continue;
        }
        let (executor, ledgers) = (executor.clone(), ledgers.clone());
        let work = run_blocking(move || {
            seen.look(&databases, &executor, &ledgers);
            seen
        });
        // A look that panicked begins anew.
        seen = work.await.unwrap_or_default();
    }
}

impl Seen {
    fn look(&mut self, databases: &[Arc<Database>], executor: &TaskExecutor, ledgers: &Path) {
        self.0.retain(|path, _| databases.iter().any(|database| database.path == *path));
        for database in databases {
            if executor.metrics.has_scrub_damage(&database.name)
                && let Err(error) = executor.clear_accepted_damage(database)
            {
                tracing::error!(db = database.name.as_str(), %error, "the result of a scrub could not be updated");
            }
            let Ok(now) = DatabaseFingerprint::read(&database.files) else { continue };
            if self.0.get(&database.path) == Some(&now) {
                continue;
            }
            match executor.readers.follow(&database.path, ledgers) {
                Ok(()) => {}
                // The next scrub finds that commits are missing, and says so.
                Err(error) => {
                    tracing::debug!(db = database.name.as_str(), %error, "the WAL could not be followed")
                }
            }
            self.0.insert(database.path.clone(), now);
        }
    }
}
