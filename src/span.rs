//! The spans that litekeeper makes: their names and attributes, which are an interface
//! (docs/TRACING.md).
//!
//! Operations on a database follow OpenTelemetry's conventions (`litekeeper_sqlite::span`); all
//! other attributes begin with `litekeeper.`. This module does not know the exporter: while there
//! is none, a span costs one atomic load. Spans stay out of the log.

pub use litekeeper_sqlite::span::Operation;
pub use litekeeper_sqlite::span::TARGET;
pub use litekeeper_sqlite::span::Transactions;
use tracing::Span;
use tracing::field::Empty;

/// The name of the span of a sweep, for the sampler.
pub const SWEEP: &str = "sweep";

/// SQLite, as the conventions call it.
const SYSTEM: &str = "sqlite";

/// The trace that a piece of work is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Whether it is exported.
    pub sampled: bool,
}

/// The root of a run's trace.
#[must_use]
pub fn job(task: &str, trigger: &str, path: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "job",
        otel.name = format!("job {task}"),
        db.system.name = SYSTEM,
        litekeeper.task = task,
        litekeeper.trigger = trigger,
        litekeeper.db.path = path,
    )
}

/// A sweep over all databases.
#[must_use]
pub fn sweep(databases: usize) -> Span {
    tracing::info_span!(
        target: TARGET,
        SWEEP,
        litekeeper.databases = number(databases as u64),
        litekeeper.opened = Empty,
        litekeeper.unchanged = Empty,
        litekeeper.stuck = Empty,
    )
}

/// What a sweep came to.
pub fn swept(span: &Span, databases: usize, unchanged: u64, stuck: u64) {
    let opened = (databases as u64).saturating_sub(unchanged + stuck);
    span.record("litekeeper.opened", number(opened));
    span.record("litekeeper.unchanged", number(unchanged));
    span.record("litekeeper.stuck", number(stuck));
}

/// A request to the web server.
#[must_use]
pub fn request(method: &str, route: &str, path: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        url.path = path,
        http.response.status_code = Empty,
    )
}

/// The status of an answer; one that is the server's fault is an error.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "error");
    }
}

/// OpenTelemetry's integers are signed.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
