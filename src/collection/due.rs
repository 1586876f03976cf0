//! When the slower pieces of a database were last taken, and when they are to be taken again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use crate::os::DatabaseFingerprint;
use crate::sqlite::ChangeCounter;

/// A piece that falls due this soon is taken now: with the interval of the sweeps it would otherwise
/// miss each by a hair and wait for the next look for work.
const DUE_TOLERANCE: Duration = Duration::from_millis(250);

/// What is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Piece {
    Tables,
    Space,
    Custom(usize),
}

/// What is taken by one loop, one database after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// What takes milliseconds and comes every few seconds or minutes.
    Fast,
    /// What reads whole databases: in a fleet it may be at work for an hour, and must not hold up the other.
    Slow,
}

impl Piece {
    pub(super) fn pace(self) -> Pace {
        match self {
            Self::Tables | Self::Custom(_) => Pace::Fast,
            Self::Space => Pace::Slow,
        }
    }
}

/// The evidence of which content a piece was taken from. A commit that waits for its fsync becomes visible without
/// moving a file, so SQLite's own count of commits belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub stamp: DatabaseFingerprint,
    pub change: Option<ChangeCounter>,
}

/// When a piece is to be taken again, and from which content it was taken.
#[derive(Debug)]
pub(super) struct LastRun {
    pub due_at: Instant,
    pub content: Option<Content>,
    /// What the log was told last.
    pub problems: Vec<String>,
}

/// The past of every piece of one database; a piece that is being taken holds its own.
pub(super) type LastRuns = HashMap<Piece, Arc<Mutex<Option<LastRun>>>>;

impl LastRun {
    /// Content that has not moved gives the same answer again, but for SQL that reads the clock.
    pub(super) fn is_due(&self, now: Instant, content: Content, piece: Piece) -> bool {
        let unmoved = match piece {
            Piece::Tables | Piece::Space => self.content == Some(content),
            Piece::Custom(_) => false,
        };
        now + DUE_TOLERANCE >= self.due_at && !unmoved
    }
}
