//! The labels of what the agent says of itself: closed sets, so that every counter is there from the start.

/// Why a database was not read in a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectSkipReason {
    /// Its files had not moved.
    Unchanged,
    /// The file system does not answer.
    Stuck,
    /// Another process had it locked, or wrote to it for as long as the look tried.
    Busy,
}

impl CollectSkipReason {
    pub(super) const ALL: [Self; 3] = [Self::Unchanged, Self::Stuck, Self::Busy];

    /// The label value.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Stuck => "stuck",
            Self::Busy => "busy",
        }
    }
}

/// Which collector left series out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectorLabel {
    /// `sqlite_table_rows`.
    RowCounts,
    /// `sqlite_custom_*`.
    CustomMetrics,
    /// `sqlite_table_size_bytes` and its like.
    Space,
}

impl CollectorLabel {
    pub(super) const ALL: [Self; 3] = [Self::RowCounts, Self::CustomMetrics, Self::Space];

    /// The label value.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::RowCounts => "row_counts",
            Self::CustomMetrics => "custom_metrics",
            Self::Space => "table_sizes",
        }
    }
}
