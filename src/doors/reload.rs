//! The loop that takes over changed files: certificates are renewed and passwords changed without a restart.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::worker_pool::run_blocking;

use super::AccessControl;

/// How often the files are asked for; a `stat` each.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Follows the files until it is told to stop. Each mistake is said once; `took` is told whether a change was taken over.
pub async fn follow(doors: Arc<AccessControl>, took: impl Fn(bool), stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if doors.file().is_none() {
            stop.cancelled().await;
            return;
        }
        let looked = Arc::clone(&doors);
        // A file system that hangs holds up this loop, and the doors stay as they are.
        match run_blocking(move || looked.renew()).await.flatten() {
            None => {}
            Some(Ok(())) => {
                said = None;
                took(true);
                tracing::info!("web configuration reloaded");
            }
            Some(Err(error)) => {
                if said.as_ref() != Some(&error) {
                    tracing::error!(%error, "web configuration not reloaded; the one in force stays");
                }
                said = Some(error);
                took(false);
            }
        }
    }
}
