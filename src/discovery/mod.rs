//! From configured paths, patterns and directories to the databases that are there.
//!
//! By `readdir` and `stat` alone: discovery must never open a file. Finding (which may hang) and
//! naming (pure) are apart; a scan that hangs keeps its source as it last was.

mod assemble;
mod found;
mod names;
mod scan;
mod watcher;

pub use assemble::DiscoveryResult;
pub use assemble::FoundFiles;
pub use assemble::ScanTarget;
pub use assemble::assemble;
pub use assemble::discover_once;
pub use assemble::scan_targets;
pub use found::FoundFile;
pub use names::GivenName;
pub use names::GivenNames;
pub use names::NameStore;
pub use scan::ScanError;
pub use scan::scan;
pub use watcher::Discovery;
pub use watcher::Targets;

#[cfg(test)]
mod tests;
