//! The one place where a finished run becomes a log line, a row of history, metrics and the
//! attributes of its span.

use crate::metrics::JobMetrics;
use crate::state_store::Recorded;
use crate::state_store::StateStore;
use crate::tasks::Run;
use crate::telemetry;

/// Writes a run down everywhere. That it cannot be kept is said, and does not undo what was done.
pub fn record(run: &Run, history: &StateStore, metrics: &JobMetrics) {
    telemetry::record_outcome(run);
    let (db, task) = (run.database.as_str(), run.task.to_string());
    let kept = history.record(run).unwrap_or_else(|error| {
        tracing::error!(db, task, %error, "the run could not be written to the state file");
        Recorded::Added
    });
    match kept {
        Recorded::Added => log(run),
        // What is not worth a row of history is not worth a line that anybody sees.
        Recorded::Repeated | Recorded::Nothing => {
            let (outcome, reason) = (run.status.outcome(), run.status.reason().unwrap_or_default());
            tracing::debug!(db, task, outcome, reason, "as before");
        }
    }
    metrics.observe(run);
    match history.check_statuses(&run.path) {
        Ok(check_statuses) => metrics.set_standings(&run.database, check_statuses),
        Err(error) => tracing::error!(db, task, %error, "the verdicts could not be read"),
    }
    match history.scrub_status(&run.path) {
        Ok(status) => metrics.set_scrub(&run.database, status),
        Err(error) => tracing::error!(db, task, %error, "the result of the last scrub could not be read"),
    }
}

fn log(run: &Run) {
    let seconds = run.elapsed.as_secs_f64();
    let hold = run.max_hold().as_secs_f64();
    let reason = run.status.reason().unwrap_or_default();
    let message = run.message.as_deref().unwrap_or_default();
    let (db, task, trigger) = (run.database.as_str(), run.task.to_string(), run.trigger.label());
    // What is the reason already is not said twice.
    let notes = run.report.as_ref().and_then(|report| report.details.notes());
    let notes = notes.filter(|notes| notes != message);
    if run.is_success() {
        let result = run.summary();
        tracing::info!(
            db,
            task,
            trigger,
            seconds,
            max_write_hold_seconds = hold,
            result,
            notes,
            "run succeeded"
        );
    } else if run.is_skip() {
        tracing::info!(db, task, trigger, reason, why = message, "run skipped");
    } else if run.is_stopped() {
        tracing::warn!(db, task, trigger, seconds, reason, why = message, notes, "run stopped");
    } else {
        tracing::error!(db, task, trigger, seconds, reason, why = message, notes, "run failed");
    }
}
