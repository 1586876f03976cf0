//! The notifications between the loops.

use tokio::sync::Notify;

/// What wakes a loop before its next tick.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    /// A sweep ended: databases may have changed, or be up for the first time.
    pub(super) sweep_ended: Notify,
    /// New values are to be published.
    pub(super) values_changed: Notify,
}
