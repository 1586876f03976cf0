//! How a run goes on, for metrics and log: the same for the schedule and for users of the web server.

use std::sync::Arc;

use crate::database::DatabaseName;
use crate::metrics::JobMetrics;
use crate::task::Task;
use crate::tasks::Observer;

/// Tells metrics and log how a job goes on.
#[derive(Debug)]
pub struct Told {
    /// Where the share done is shown.
    pub metrics: Arc<JobMetrics>,
    /// The database.
    pub database: DatabaseName,
    /// The task.
    pub task: Task,
}

impl Observer for Told {
    fn begin(&self, _part: &str) {
        self.metrics.progressed(&self.database, self.task, 0.0);
    }

    fn done(&self, share: f64, _words: &str) {
        self.metrics.progressed(&self.database, self.task, share);
    }

    fn say(&self, words: &str) {
        tracing::info!(db = self.database.as_str(), task = self.task.to_string(), "{words}");
    }
}
