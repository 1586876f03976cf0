//! Runs actions requested over HTTP (manual runs, checks, pauses), one at a time. Each is recorded
//! with user and time before it starts.
//!
//! A run goes through the same executor as a scheduled one: same lock, same conditions, same
//! record. The HTTP layer checks who may request an action, never this module.

mod queue;
mod run_all_once;

pub use self::queue::Action;
pub use self::queue::ActionError;
pub use self::queue::ActionQueue;
pub use self::queue::Requester;
pub use self::run_all_once::run_all_once;
