//! Counters of exported and dropped spans.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

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
    /// Counts spans that the collector accepted.
    pub fn exported(&self, count: u64) {
        self.exported.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts spans that are lost.
    pub fn dropped(&self, reason: SpanDrop, count: u64) {
        self.dropped[reason as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn exported_count(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// The number of lost spans by the label of their reason.
    pub(super) fn dropped_counts(&self) -> [(&'static str, u64); SpanDrop::ALL.len()] {
        SpanDrop::ALL.map(|reason| (reason.label(), self.dropped[reason as usize].load(Ordering::Relaxed)))
    }
}
