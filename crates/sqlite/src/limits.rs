//! How long a piece of work beside a database may take, and the way to stop it early.
//!
//! The caller sets the limits, and SQLite's progress handler checks them, so that every
//! statement in the crate has an end. It must never outlive the work that it bounds.

use std::time::Duration;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// The limits of one piece of work.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// When the work is to end; `None` for work that a person watches and can stop.
    pub deadline: Option<Instant>,
    /// How long SQLite may wait for a lock. The sampler waits not at all.
    pub busy_timeout: Duration,
    /// Raised to stop the work early.
    pub cancel: CancellationToken,
}

impl QueryLimits {
    /// Limits with a deadline after `limit` that never wait for a lock.
    #[must_use]
    pub fn with_timeout(limit: Duration) -> Self {
        Self {
            deadline: Some(Instant::now() + limit),
            busy_timeout: Duration::ZERO,
            cancel: CancellationToken::new(),
        }
    }

    /// Whether the work is to stop now.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.cancel.is_cancelled() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The same limits with a deadline at most `limit` from now.
    #[must_use]
    pub fn capped(&self, limit: Duration) -> Self {
        let sooner = Instant::now() + limit;
        let deadline = self.deadline.map_or(sooner, |deadline| deadline.min(sooner));
        Self { deadline: Some(deadline), ..self.clone() }
    }
}
