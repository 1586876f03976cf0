//! The task `vacuum`.

use std::time::Duration;

use crate::config::kinds::Group;
use crate::config::kinds::Nested;
use crate::config::kinds::Optional;
use crate::config::section::section;
use crate::config::tasks::common::Timing;
use crate::config::tasks::common::WriteLimits;
use crate::config::units::DAY;
use crate::config::units::HOUR;
use crate::config::units::MIB;
use crate::config::units::MILLISECOND;
use crate::config::values::Between;
use crate::config::values::Bytes;
use crate::config::values::Choice;
use crate::config::values::Switch;

section! {
    /// The task `vacuum`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Vacuum {
        /// When it runs.
        pub timing: Timing = Timing::new("0 3 * * SUN", 4 * HOUR) => Group,
        /// The free space from which on a vacuum is worthwhile.
        pub min_reclaimable: Reclaimable = Reclaimable::defaults() => Nested,
        /// Whether a full vacuum sets `auto_vacuum` to incremental.
        pub convert_auto_vacuum: bool = false => Choice(&[("incremental", true), ("off", false)]),
        /// The longest that a full vacuum may hold the write lock, by its estimate; without it the
        /// application's busy timeout where that is configured, else a second.
        pub max_lock_hold: Option<Duration> = None => Optional(Between(MILLISECOND, DAY)),
        /// Bytes that stay free on every file system on which the vacuum needs space.
        pub min_free_space: u64 = 100 * MIB => Bytes,
        /// Whether it runs although Litestream or LiteFS replicates the database.
        pub allow_replicated: bool = false => Switch,
        /// How long it holds the write lock.
        pub write_limits: WriteLimits = WriteLimits::defaults() => Group,
    }
}

section! {
    /// Free space that must be reached in both measures.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Reclaimable {
        /// Bytes.
        pub bytes: u64 = 10 * MIB => Bytes,
        /// A part of the file.
        pub ratio: f64 = 0.1 => Between(0.0, 1.0),
    }
}
