//! Every task once, soon after the start: for the demo, whose user is not to wait for 01:00.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::task::TaskKind;
use crate::tasks::task;

use super::queue::Action;
use super::queue::ActionError;
use super::queue::ActionQueue;
use super::queue::Requester;

/// Between two tries to get a place in the queue.
const RETRY: Duration = Duration::from_millis(200);

/// Has every configured task of every database done once, some time after the start, and then waits
/// for the end.
pub async fn run_all_once(
    queue: Arc<ActionQueue>,
    delay: Duration,
    mut targets: watch::Receiver<Option<Arc<[Arc<Database>]>>>,
    stop: CancellationToken,
) {
    let work = async {
        tokio::time::sleep(delay).await;
        let known = targets.wait_for(Option::is_some).await.map(|known| known.clone());
        for database in known.iter().flatten().flat_map(|databases| databases.iter()) {
            for task in checks_first(database) {
                submit(&queue, database, task).await;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => return,
        () = work => {}
    }
    stop.cancelled().await;
}

/// The tasks of a database, those that write last: so a damaged one is found before anything would
/// write to it.
fn checks_first(database: &Database) -> Vec<TaskKind> {
    let mut tasks: Vec<TaskKind> = database.settings.tasks.timings().map(|(task, _)| task).collect();
    tasks.sort_by_key(|kind| task(*kind).writes());
    tasks
}

async fn submit(queue: &ActionQueue, database: &Arc<Database>, task: TaskKind) {
    loop {
        let requester = Requester { user: "demo".to_owned(), address: String::new() };
        match queue.submit(requester, Action::Run(Arc::clone(database), task)).await {
            Ok(_) => return,
            Err(ActionError::QueueFull) => tokio::time::sleep(RETRY).await,
            Err(error @ (ActionError::NotConfigured(_) | ActionError::StateStore(_))) => {
                tracing::warn!(db = database.name.as_str(), %task, ?error, "the first run is left out");
                return;
            }
        }
    }
}
