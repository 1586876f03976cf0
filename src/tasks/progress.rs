//! Progress of a run: who runs a task implements [`Progress`], and the task calls it.

use std::sync::Arc;

use crate::health_report;

/// Receives the progress of a run.
pub trait Progress: Send + Sync {
    /// A part of the run begins.
    fn begin(&self, part: &str);
    /// The share of the part that is done, from 0 to 1, with a detail to show beside it.
    fn update(&self, share: f64, detail: &str);
    /// A message that a person who waits wants to read at once.
    fn message(&self, text: &str);
}

/// Ignores progress: for a dry run, whose result says everything.
#[derive(Debug)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _part: &str) {}
    fn update(&self, _share: f64, _detail: &str) {}
    fn message(&self, _text: &str) {}
}

/// Passes the progress of a health report on to a run's.
#[derive(Clone)]
pub(super) struct ReportProgress(pub Arc<dyn Progress>);

impl health_report::CheckProgress for ReportProgress {
    fn begin(&self, check: &'static str) {
        self.0.begin(&format!("{} check", check.replace('_', " ")));
    }

    fn done(&self, share: f64) {
        self.0.update(share, "");
    }
}
