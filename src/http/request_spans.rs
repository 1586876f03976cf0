//! Spans of requests: of those that change something, and of those that belong to a trace.
//!
//! A scrape outside of a trace makes no span, and the rate limit keeps clients from filling the
//! span queue.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use axum::extract::Request;
use axum::http::Method;
use tracing::Span;

use crate::span;
use crate::telemetry::RemoteContext;

use super::handler_label::HandlerLabel;

/// The most spans of sampled read requests per second.
const MAX_SPANS_PER_SECOND: u64 = 20;

/// The current second, and in the lower bits the number of spans made in it.
static SPANS_IN_SECOND: AtomicU64 = AtomicU64::new(0);
const COUNT_BITS: u32 = 16;

/// The span of a request; [`Span::none`] for most.
pub(super) fn span_of(label: HandlerLabel, request: &Request) -> Span {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let parent =
        header("traceparent").and_then(|value| RemoteContext::from_headers(value, header("tracestate")));
    let changes_something = label.has_actions() && *request.method() != Method::GET;
    let make = || span::request(request.method().as_str(), label.as_str(), request.uri().path());
    match parent {
        Some(parent) if changes_something || parent.is_sampled() && try_acquire() => parent.child(make),
        None if changes_something => make(),
        Some(_) | None => Span::none(),
    }
}

fn try_acquire() -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let counted = SPANS_IN_SECOND.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |made| {
        let count = if made >> COUNT_BITS == now { made & ((1 << COUNT_BITS) - 1) } else { 0 };
        (count < MAX_SPANS_PER_SECOND).then_some(now << COUNT_BITS | (count + 1))
    });
    counted.is_ok()
}
