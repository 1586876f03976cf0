//! Which trace the code at hand belongs to, and where it came from.

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

/// Whether a trace that comes from elsewhere goes on here: while somebody takes traces, and wants it so.
pub(super) static PROPAGATE: AtomicBool = AtomicBool::new(false);

/// The database of a run, for each of its spans.
#[derive(Debug, Clone)]
pub(super) struct DatabaseNamespace(pub String);

/// The trace that the code at hand is part of; `None` while nobody takes traces.
#[must_use]
pub fn current() -> Option<Trace> {
    Context::map_current(|context| {
        let span = context.span();
        let here = span.span_context();
        here.is_valid().then(|| Trace { id: here.trace_id().to_string(), sampled: here.is_sampled() })
    })
}

/// The root of a run's trace, until it is dropped.
#[must_use]
#[derive(Debug)]
pub struct RunScope {
    // In this order: the span ends before its surroundings.
    _span: EnteredSpan,
    _context: ContextGuard,
}

/// Begins the trace of a run, or goes on with the one at hand.
pub fn begin_run(database: &str, task: &str, trigger: &str, path: &str) -> RunScope {
    let context_guard = Context::current_with_value(DatabaseNamespace(database.to_owned())).attach();
    RunScope { _span: span::job(task, trigger, path).entered(), _context: context_guard }
}

/// A span elsewhere, to which what is done here belongs.
#[derive(Debug, Clone)]
pub struct RemoteContext(Context);

/// The two headers of W3C's trace context (<https://www.w3.org/TR/trace-context/>).
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
    /// The span that two headers, or variables of the environment, name; `None` for nonsense, and while nobody takes traces.
    #[must_use]
    pub fn from_headers(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        if !PROPAGATE.load(Ordering::Relaxed) {
            return None;
        }
        let carrier = HeaderCarrier { traceparent, tracestate };
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        context.span().span_context().is_valid().then_some(Self(context))
    }

    /// The span that the code at hand is part of.
    #[must_use]
    pub fn current() -> Option<Self> {
        let context = Context::current();
        let is_valid = context.span().span_context().is_valid();
        is_valid.then_some(Self(context))
    }

    /// Whether the trace is taken.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.span().span_context().is_sampled()
    }

    /// Makes a span below this one.
    #[must_use]
    pub fn child(&self, make: impl FnOnce() -> Span) -> Span {
        within(Some(self), make)
    }
}

/// Does work as a part of the trace of a parent, if there is one.
pub fn within<T>(parent: Option<&RemoteContext>, work: impl FnOnce() -> T) -> T {
    let _context = parent.map(|parent| parent.0.clone().attach());
    work()
}
