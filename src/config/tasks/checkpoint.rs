//! The task `checkpoint`.

use crate::config::kinds::Group;
use crate::config::section::section;
use crate::config::tasks::common::Timing;
use crate::config::units::MIB;
use crate::config::units::MINUTE;
use crate::config::values::Bytes;
use crate::config::values::Switch;

section! {
    /// The task `checkpoint`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Checkpoint {
        /// When it runs.
        pub timing: Timing = Timing::new("5m", 10 * MINUTE) => Group,
        /// The size from which on a WAL file is truncated, when no process uses it.
        pub truncate_above: u64 = 64 * MIB => Bytes,
        /// Whether it runs although Litestream or LiteFS replicates the database.
        pub allow_replicated: bool = false => Switch,
        /// Whether a WAL is written on a network or virtual file system too.
        pub allow_network_filesystem: bool = false => Switch,
    }
}
