//! What becomes of the spans of traces.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use prometheus_client::metrics::MetricType;

use super::agent::AgentFamily;
use super::agent::Value;

/// Why a span was not exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanDrop {
    /// The queue was full.
    QueueFull,
    /// The receiver was unreachable or unavailable at all attempts.
    Failed,
    /// The receiver refused it.
    Rejected,
}

impl SpanDrop {
    const ALL: [Self; 3] = [Self::QueueFull, Self::Failed, Self::Rejected];

    fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// Counters of spans, from the start at 0.
#[derive(Debug, Default)]
pub struct SpanCounts {
    exported: AtomicU64,
    dropped: [AtomicU64; SpanDrop::ALL.len()],
}

impl SpanCounts {
    /// The collector has taken so many.
    pub fn exported(&self, count: u64) {
        self.exported.fetch_add(count, Ordering::Relaxed);
    }

    /// So many are lost.
    pub fn dropped(&self, reason: SpanDrop, count: u64) {
        self.dropped[reason as usize].fetch_add(count, Ordering::Relaxed);
    }
}

pub(super) const EXPORTED: AgentFamily = AgentFamily {
    name: "litekeeper_trace_spans_exported",
    unit: None,
    labels: &[],
    kind: MetricType::Counter,
    help: "Spans that the receiver of traces has accepted",
    value: |agent| Value::Counter(agent.spans.exported.load(Ordering::Relaxed)),
};

pub(super) const DROPPED: AgentFamily = AgentFamily {
    name: "litekeeper_trace_spans_dropped",
    unit: None,
    labels: &["reason"],
    kind: MetricType::Counter,
    help: "Spans that were lost: the queue was full (queue_full), the receiver was unreachable or unavailable (failed), \
           or it refused them (rejected)",
    value: |agent| {
        let count = |reason: SpanDrop| agent.spans.dropped[reason as usize].load(Ordering::Relaxed);
        Value::CounterBy(SpanDrop::ALL.map(|reason| (vec![("reason", reason.label())], count(reason))).into())
    },
};
