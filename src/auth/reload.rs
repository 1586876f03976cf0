//! Watches the web configuration file and its certificates, and applies changes without a restart.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::worker_pool::run_blocking;

use super::access_control::AccessControl;

/// Each poll is one `stat` per file.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Polls the files until `stop`. Each distinct error is logged once; `on_reload` receives the
/// success of each reload.
pub async fn watch_files(auth: Arc<AccessControl>, on_reload: impl Fn(bool), stop: CancellationToken) {
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut logged = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if auth.file().is_none() {
            stop.cancelled().await;
            return;
        }
        let polled = Arc::clone(&auth);
        // A hanging file system delays this loop only; the rules in force stay.
        match run_blocking(move || polled.reload()).await.flatten() {
            None => {}
            Some(Ok(())) => {
                logged = None;
                on_reload(true);
                tracing::info!("web configuration reloaded");
            }
            Some(Err(error)) => {
                let error = error.to_string();
                if logged.as_ref() != Some(&error) {
                    tracing::error!(error, "web configuration not reloaded; the previous one stays in force");
                }
                logged = Some(error);
                on_reload(false);
            }
        }
    }
}
