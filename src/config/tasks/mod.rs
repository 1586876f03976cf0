//! The tasks of a database: what may be done to it, when, and within which bounds. Each task has
//! its file with type, keys, defaults and bounds.
//!
//! Only what the file names is ever done.

mod backup;
mod checkpoint;
mod common;
mod health_check;
mod log_cleaning;
mod optimize;
mod retention;
mod scrub;
mod vacuum;

pub use crate::config::tasks::backup::Backup;
pub use crate::config::tasks::checkpoint::Checkpoint;
pub use crate::config::tasks::common::Timing;
pub use crate::config::tasks::common::WriteLimits;
pub use crate::config::tasks::health_check::HealthCheck;
pub use crate::config::tasks::log_cleaning::LogCleaning;
pub use crate::config::tasks::optimize::Optimize;
pub use crate::config::tasks::retention::Retention;
pub use crate::config::tasks::scrub::Scrub;
pub use crate::config::tasks::vacuum::Vacuum;

pub(super) use crate::config::tasks::common::read_zone;
#[cfg(test)]
pub(super) use crate::config::tasks::vacuum::Reclaimable;

use crate::config::kinds::TaskOrOff;
use crate::config::section::Section;
use crate::config::section::section;
use crate::task::TaskKind;

section! {
    /// The tasks that are configured for a database; a database replaces those of its profile one
    /// by one.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Tasks {
        /// Checks and statistics.
        pub health_check: Option<HealthCheck> = None => TaskOrOff,
        /// Returns free pages to the file system.
        pub vacuum: Option<Vacuum> = None => TaskOrOff,
        /// Deletes old rows.
        pub log_cleaning: Option<LogCleaning> = None => TaskOrOff,
        /// Makes verified copies.
        pub backup: Option<Backup> = None => TaskOrOff,
        /// Copies the WAL into the main file.
        pub checkpoint: Option<Checkpoint> = None => TaskOrOff,
        /// Renews the statistics of the query planner.
        pub optimize: Option<Optimize> = None => TaskOrOff,
        /// Compares each page on the disk with its hash of the last time.
        pub scrub: Option<Scrub> = None => TaskOrOff,
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::defaults()
    }
}

impl Tasks {
    /// The health check alone, with its defaults: what runs on databases that the command line
    /// names.
    pub(super) fn health_check_only() -> Self {
        Self { health_check: Some(HealthCheck::defaults()), ..Self::default() }
    }

    /// The tasks that are configured, each with its timing.
    pub fn timings(&self) -> impl Iterator<Item = (TaskKind, &Timing)> {
        let health = self.health_check.as_ref();
        [
            (TaskKind::Scrub, self.scrub.as_ref().map(|task| &task.timing)),
            (TaskKind::Backup, self.backup.as_ref().map(|task| &task.timing)),
            (TaskKind::LogCleaning, self.log_cleaning.as_ref().map(|task| &task.timing)),
            (TaskKind::Vacuum, self.vacuum.as_ref().map(|task| &task.timing)),
            (TaskKind::Optimize, self.optimize.as_ref().map(|task| &task.timing)),
            (TaskKind::Checkpoint, self.checkpoint.as_ref().map(|task| &task.timing)),
            (TaskKind::QuickCheck, health.and_then(|task| task.quick.as_ref())),
            (TaskKind::HealthCheck, health.map(|task| &task.timing)),
        ]
        .into_iter()
        .filter_map(|(task, timing)| timing.map(|timing| (task, timing)))
    }
}
