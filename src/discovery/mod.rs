//! From configured paths, patterns and directories to the databases that are there.
//!
//! By `readdir` and `stat` alone: discovery must never open a file. Finding (which may hang) and
//! naming (pure) are apart; a scan that hangs keeps its source as it last was.

mod assemble;
mod found;
mod names;
mod scan;
mod watcher;

pub use assemble::discover_once;
pub use names::GivenName;
pub use names::GivenNames;
pub use names::NameStore;
pub use watcher::Discovery;

#[cfg(test)]
mod tests;
