//! The task `optimize`.

use crate::config::kinds::Group;
use crate::config::section::section;
use crate::config::tasks::common::Timing;
use crate::config::tasks::common::WriteLimits;
use crate::config::units::HOUR;
use crate::config::values::Between;

section! {
    /// The task `optimize`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Optimize {
        /// When it runs.
        pub timing: Timing = Timing::new("0 5 * * *", HOUR) => Group,
        /// About how many rows of each index are read. Below a hundred the statistics are worth
        /// little; SQLite's own default is 2000.
        pub analysis_limit: u32 = 1000 => Between(100, 1_000_000),
        /// How long it holds the write lock.
        pub write_limits: WriteLimits = WriteLimits::defaults() => Group,
    }
}
