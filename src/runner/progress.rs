//! How a run goes on, for metrics and log: the same for the schedule and for users of the web
//! server.

use std::sync::Arc;

use crate::database::DatabaseName;
use crate::metrics::JobMetrics;
use crate::task::TaskKind;
use crate::tasks::Progress;

/// Tells metrics and log how a job goes on.
#[derive(Debug)]
pub struct ProgressReporter {
    /// Where the share done is shown.
    pub metrics: Arc<JobMetrics>,
    /// The database.
    pub database: DatabaseName,
    /// The task.
    pub task: TaskKind,
}

impl Progress for ProgressReporter {
    fn begin(&self, _part: &str) {
        self.metrics.progressed(&self.database, self.task, 0.0);
    }

    fn update(&self, share: f64, _detail: &str) {
        self.metrics.progressed(&self.database, self.task, share);
    }

    fn message(&self, text: &str) {
        tracing::info!(db = self.database.as_str(), task = self.task.to_string(), "{text}");
    }
}
