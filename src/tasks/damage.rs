//! Damage that is known of a database from earlier runs, for which every task that writes is
//! skipped.

use std::fmt;

/// Known damage: who found it, and the first problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownDamage {
    /// An integrity check failed, and no full one has passed since.
    Check(String),
    /// A scrub found bytes on the disk that nobody wrote. No check of SQLite clears that: the pages
    /// may be well formed.
    Scrub(String),
}

impl fmt::Display for KnownDamage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(problem) => write!(
                formatter,
                "an integrity check failed ({problem}); nothing is written until a full one passes"
            ),
            Self::Scrub(problem) => write!(
                formatter,
                "a scrub found damage ({problem}); nothing is written and no backup is removed until a scrub \
                 finds the good pages again: restore them from a backup that has them, then run `litekeeper run scrub`; \
                 or accept the pages as they are with `litekeeper scrub --accept FILE`"
            ),
        }
    }
}
