//! Records the outcome of a run on its span.

use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::Value;
use opentelemetry::trace::Status;
use opentelemetry::trace::TraceContextExt as _;

use crate::tasks::Run;

/// Sets the outcome attributes of the current span. A skipped or stopped run is not an error.
pub fn record_outcome(run: &Run) {
    let context = Context::current();
    let span = context.span();
    if !span.is_recording() {
        return;
    }
    let set = |name: &'static str, value: Value| span.set_attribute(KeyValue::new(name, value));
    set("litekeeper.outcome", run.outcome.clone().into());
    if let Some(reason) = &run.reason {
        set("litekeeper.reason", reason.clone().into());
    }
    let message = run.message.clone().unwrap_or_default();
    if !run.is_success() {
        set("litekeeper.message", message.clone().into());
    }
    let summary = run.summary();
    let number = |value: u64| Value::from(i64::try_from(value).unwrap_or(i64::MAX));
    if !run.details.is_null() {
        set("litekeeper.max_write_hold_seconds", summary.max_write_hold_seconds.into());
    }
    if let Some(vacuum) = &summary.vacuum {
        set("litekeeper.size_before_bytes", number(vacuum.size_before_bytes));
        set("litekeeper.size_after_bytes", number(vacuum.size_after_bytes));
        set("litekeeper.saved_bytes", number(vacuum.saved_bytes));
    }
    if let Some(cleaning) = &summary.log_cleaning {
        set("litekeeper.deleted_rows", number(cleaning.deleted_rows));
    }
    if let Some(health) = &summary.health_check {
        set("litekeeper.checked_bytes", number(health.checked_bytes));
        let problems = health.verdicts.iter().map(|verdict| u64::from(verdict.problems)).sum();
        set("litekeeper.problems", number(problems));
    }
    if let Some(reason) = &run.reason
        && !run.is_skip()
        && !run.is_stopped()
    {
        set("error.type", reason.clone().into());
        span.set_status(Status::error(message));
    }
}
