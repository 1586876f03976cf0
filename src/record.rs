//! The one place where a finished run becomes a log line, a row of history and metrics.

use crate::history::History;
use crate::history::Kept;
use crate::job::Run;
use crate::metrics::JobMetrics;

/// Writes a run down everywhere. That it cannot be kept is said, and does not undo what was done.
pub fn record(run: &Run, history: &History, metrics: &JobMetrics) {
    let kept = history.record(run).unwrap_or_else(|error| {
        tracing::error!(%error, database = %run.database, task = %run.task, "the run could not be written to the state file");
        Kept::Added
    });
    match kept {
        Kept::Added => log(run),
        // What is not worth a row of history is not worth a line that anybody sees.
        Kept::Repeated | Kept::Nothing => {
            let (outcome, reason) = (&run.outcome, run.reason.as_deref().unwrap_or_default());
            tracing::debug!(database = %run.database, task = %run.task, outcome, reason, "as before");
        }
    }
    metrics.observe(run);
    match history.standings(&run.path) {
        Ok(standings) => metrics.set_standings(&run.database, standings),
        Err(error) => tracing::error!(%error, database = %run.database, "the verdicts could not be read"),
    }
}

fn log(run: &Run) {
    let summary = run.summary();
    let seconds = run.elapsed.as_secs_f64();
    let hold = summary.max_write_hold_seconds;
    let reason = run.reason.as_deref().unwrap_or_default();
    let message = run.message.as_deref().unwrap_or_default();
    let (database, task, trigger) = (run.database.as_str(), run.task.to_string(), run.trigger.label());
    if run.is_success() {
        let result = run.words();
        tracing::info!(
            database,
            task,
            trigger,
            seconds,
            max_write_hold_seconds = hold,
            result,
            "run succeeded"
        );
    } else if run.is_skip() {
        tracing::info!(database, task, trigger, reason, why = message, "run skipped");
    } else if reason == "canceled" {
        tracing::warn!(database, task, trigger, seconds, reason, why = message, "run stopped");
    } else {
        tracing::error!(database, task, trigger, seconds, reason, why = message, "run failed");
    }
    for table in summary.log_cleaning.iter().flat_map(|report| &report.tables) {
        if let Some(note) = &table.note {
            tracing::warn!(database, table = table.table, note, "log cleaning");
        }
    }
}
