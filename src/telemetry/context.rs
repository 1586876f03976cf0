//! The current trace context, and contexts received from elsewhere.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use opentelemetry::Context;
use opentelemetry::ContextGuard;
use opentelemetry::propagation::Extractor;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing::span::EnteredSpan;

use crate::span;
use crate::span::Trace;

/// Whether to continue traces of incoming requests.
pub(super) static PROPAGATE: AtomicBool = AtomicBool::new(false);

/// The database of a run, added to each of its spans.
#[derive(Debug, Clone)]
pub(super) struct DatabaseNamespace(pub String);

/// The current trace; `None` without a collector.
#[must_use]
pub fn current() -> Option<Trace> {
    Context::map_current(|context| {
        let span = context.span();
        let here = span.span_context();
        here.is_valid().then(|| Trace { id: here.trace_id().to_string(), sampled: here.is_sampled() })
    })
}

/// Keeps the root span of a run open until dropped.
#[must_use]
#[derive(Debug)]
pub struct RunScope {
    // Dropped in this order: the span must end before its context.
    _span: EnteredSpan,
    _context: ContextGuard,
}

/// Starts the root span of a run, as a child of the current span if there is one.
pub fn begin_run(database: &str, task: &str, trigger: &str, path: &str) -> RunScope {
    let context_guard = Context::current_with_value(DatabaseNamespace(database.to_owned())).attach();
    RunScope { _span: span::job(task, trigger, path).entered(), _context: context_guard }
}

/// The context of a span of another process or thread, used as parent.
#[derive(Debug, Clone)]
pub struct RemoteContext(Context);

/// The two headers of the W3C trace context (<https://www.w3.org/TR/trace-context/>).
struct HeaderCarrier<'c> {
    traceparent: &'c str,
    tracestate: Option<&'c str>,
}

impl Extractor for HeaderCarrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.traceparent),
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

impl RemoteContext {
    /// Parses the headers, or environment variables, of a trace context; `None` if invalid, and
    /// without a collector.
    #[must_use]
    pub fn from_headers(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        if !PROPAGATE.load(Ordering::Relaxed) {
            return None;
        }
        let carrier = HeaderCarrier { traceparent, tracestate };
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        context.span().span_context().is_valid().then_some(Self(context))
    }

    /// The context of the current span.
    #[must_use]
    pub fn current() -> Option<Self> {
        let context = Context::current();
        let is_valid = context.span().span_context().is_valid();
        is_valid.then_some(Self(context))
    }

    /// Whether the trace is sampled.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.span().span_context().is_sampled()
    }

    /// Creates a child span.
    #[must_use]
    pub fn child(&self, make: impl FnOnce() -> Span) -> Span {
        within(Some(self), make)
    }
}

/// Runs `work` in the context of a parent, if there is one.
pub fn within<T>(parent: Option<&RemoteContext>, work: impl FnOnce() -> T) -> T {
    let _context = parent.map(|parent| parent.0.clone().attach());
    work()
}
