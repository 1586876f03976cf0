//! Reads of the state file with a time limit, so that a page responds while its disk hangs.

use std::time::Duration;

use crate::state_store::StateStoreError;
use crate::worker_pool::run_blocking;

/// How long the state file may take, and an on-demand sample, whose own limit is 2 s.
pub(super) const STATE_STORE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why nothing from the state file can be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateReadError {
    #[error(transparent)]
    StateStore(#[from] StateStoreError),
    #[error("internal error; see the log")]
    Panicked,
    #[error("the state file does not respond; its disk may hang")]
    Timeout,
}

/// Reads the state file, which may wait for a disk, within a time limit.
pub(super) async fn with_timeout<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateStoreError> + Send + 'static,
) -> Result<T, StateReadError> {
    match tokio::time::timeout(STATE_STORE_TIMEOUT, run_blocking(work)).await {
        Ok(Some(done)) => Ok(done?),
        Ok(None) => Err(StateReadError::Panicked),
        Err(_) => Err(StateReadError::Timeout),
    }
}
