//! When the parts of interval collectors were last collected, and when they are due again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use crate::os::DatabaseFingerprint;
use crate::sqlite::ChangeCounter;

/// A part that is due this soon is collected now: with the interval of the sweeps it would
/// otherwise miss each one by a hair and wait for the next poll.
const DUE_TOLERANCE: Duration = Duration::from_millis(250);

/// The content that a part was collected from. A commit that waits for its fsync becomes visible
/// without moving a file, so SQLite's own count of commits belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub stamp: DatabaseFingerprint,
    pub change: Option<ChangeCounter>,
}

/// The last collection of a part.
#[derive(Debug)]
pub(super) struct LastRun {
    pub due_at: Instant,
    /// The content that was read; `None` where a change may have been missed.
    pub content: Option<Content>,
    /// The problems that were logged, so that each is logged once.
    pub problems: Vec<String>,
}

/// The last run of every part of one database, by collector and part. A thread that collects a part
/// keeps it locked.
pub(super) type LastRuns = HashMap<(&'static str, usize), Arc<Mutex<Option<LastRun>>>>;

impl LastRun {
    /// Content that has not changed gives the same value again, unless the collector depends on the
    /// time.
    pub(super) fn is_due(&self, now: Instant, content: Content, depends_on_time: bool) -> bool {
        let is_unchanged = !depends_on_time && self.content == Some(content);
        now + DUE_TOLERANCE >= self.due_at && !is_unchanged
    }
}
