//! What ends a run early.

use std::time::Instant;
use std::time::SystemTime;

use crate::tasks::context::TaskContext;
use crate::tasks::reason::FailureReason;
use crate::tasks::reason::SkipReason;
use crate::tasks::stop::Stop;

/// What ends a run early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Canceled,
    WindowCloses,
    Timeout,
}

/// Whether a run is to end now.
pub(super) fn is_to_end(context: &TaskContext<'_>) -> bool {
    end_of(context).is_some()
}

/// A run that was ended early, with what became of it.
pub(super) fn ended(context: &TaskContext<'_>, state: &str) -> Stop {
    match end_of(context) {
        Some(End::WindowCloses) => {
            Stop::skipped(SkipReason::OutsideWindow, format!("the window has closed: {state}"))
        }
        Some(End::Timeout) => Stop::failed(FailureReason::Timeout, format!("the timeout has ended: {state}")),
        Some(End::Canceled) | None => Stop::failed(FailureReason::Canceled, format!("stopped: {state}")),
    }
}

fn end_of(context: &TaskContext<'_>) -> Option<End> {
    if context.limits.cancel.is_cancelled() {
        return Some(End::Canceled);
    }
    context.limits.deadline.filter(|deadline| Instant::now() >= *deadline)?;
    let closes = context.must_end_by.is_some_and(|end| SystemTime::now() >= end);
    Some(if closes { End::WindowCloses } else { End::Timeout })
}
