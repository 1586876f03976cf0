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
    set("litekeeper.outcome", run.status.outcome().into());
    if let Some(reason) = run.status.reason() {
        set("litekeeper.reason", reason.into());
    }
    let message = run.message.clone().unwrap_or_default();
    if !run.is_success() {
        set("litekeeper.message", message.clone().into());
    }
    if let Some(report) = &run.report {
        set("litekeeper.max_write_hold_seconds", report.max_hold.as_secs_f64().into());
        for (name, value) in report.details.span_attributes() {
            set(name, Value::from(i64::try_from(value).unwrap_or(i64::MAX)));
        }
    }
    if let Some(reason) = run.status.reason()
        && !run.is_skip()
        && !run.is_stopped()
    {
        set("error.type", reason.into());
        span.set_status(Status::error(message));
    }
}
