//! What is published of a database's scrubs.

use std::time::Duration;

use crate::sealed::SealedTableStatus;
use crate::state_store::ScrubStatus;

/// The scrubs of one database.
#[derive(Debug, Default)]
pub(super) struct Scrubs {
    /// The longest time between two due times.
    pub interval: Duration,
    /// The last one that completed.
    pub status: Option<ScrubStatus>,
    /// The tables with sealed rows.
    pub sealed: Vec<SealedTableStatus>,
}
