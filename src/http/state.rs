//! The state that all handlers share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::actions::ActionQueue;
use crate::auth::AccessControl;
use crate::collectors::DatabaseSnapshot;
use crate::collectors::Snapshot;
use crate::config::WebSettings;
use crate::metrics::AgentMetrics;
use crate::metrics::JobMetrics;
use crate::state_store::StateStore;
use crate::trends::Trends;

use super::scrapes::Scrapes;

/// A request for a reload, which is answered with the result.
pub type ReloadRequest = oneshot::Sender<Result<(), ReloadError>>;

/// Why the configuration was not reloaded, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReloadError(pub String);

/// The state that all handlers share.
#[derive(Debug)]
pub struct AppState {
    /// Renders the metrics.
    pub scrapes: Scrapes,
    /// What the collectors know of each database.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The agent's own counters.
    pub metrics: Arc<AgentMetrics>,
    /// Telemetry path, external URL and route prefix.
    pub web: WebSettings,
    /// Authentication, rate limiting and TLS.
    pub auth: Arc<AccessControl>,
    /// The state of tasks and their schedule.
    pub jobs: Arc<JobMetrics>,
    /// Sizes and row counts over time.
    pub trends: Arc<Trends>,
    /// Past runs and actions.
    pub state_store: Arc<StateStore>,
    /// Runs actions that users request.
    pub action_queue: Arc<ActionQueue>,
    /// The permit of the one on-demand sample or diagnosis.
    pub on_demand: Arc<Semaphore>,
    /// Receives `POST /-/reload`; `None` if the lifecycle API is disabled.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
}

impl AppState {
    /// The database with this name.
    pub(super) fn find(&self, name: &str) -> Option<DatabaseSnapshot> {
        let snapshot = self.snapshot.load();
        snapshot.databases.iter().find(|observed| observed.database.name.as_str() == name).cloned()
    }
}
