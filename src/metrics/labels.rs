//! Labels of the agent's own metrics: closed sets, so that every counter is there from the start.

/// Why a database was not read in a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectSkipReason {
    /// Its files had not moved.
    Unchanged,
    /// The file system does not answer.
    Stuck,
    /// Another process had it locked, or wrote to it for as long as the sample retried.
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
