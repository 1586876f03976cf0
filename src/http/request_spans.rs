//! Requests as spans: those that have something done, and those that are part of somebody's trace.
//!
//! A scrape that belongs to no trace makes none, and no client can fill the queue of spans with its requests.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use hyper::Method;
use hyper::Request;
use tracing::Span;

use crate::metrics::Handler;
use crate::span;
use crate::telemetry::RemoteContext;

/// Spans of requests in one second; more are not made.
const MOST_A_SECOND: u64 = 20;

/// The second, and how many spans were made in it, in the lower bits.
static MADE: AtomicU64 = AtomicU64::new(0);
const COUNT_BITS: u32 = 16;

/// The span of a request; none for most.
pub(super) fn span_of(handler: Handler, request: &Request<()>) -> Span {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let parent = header("traceparent").and_then(|value| RemoteContext::named(value, header("tracestate")));
    let acts = match handler {
        Handler::Act | Handler::Api | Handler::Reload => *request.method() != Method::GET,
        Handler::Metrics | Handler::Page | Handler::Healthy | Handler::Ready | Handler::NotFound => false,
    };
    let make = || span::request(request.method().as_str(), handler.label(), request.uri().path());
    match parent {
        Some(parent) if acts || parent.is_sampled() && has_room() => parent.child(make),
        None if acts => make(),
        Some(_) | None => Span::none(),
    }
}

fn has_room() -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let counted = MADE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |made| {
        let count = if made >> COUNT_BITS == now { made & ((1 << COUNT_BITS) - 1) } else { 0 };
        (count < MOST_A_SECOND).then_some(now << COUNT_BITS | (count + 1))
    });
    counted.is_ok()
}
