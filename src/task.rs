//! The names of the maintenance tasks. What each does is in `tasks`.

use std::fmt;

/// A maintenance task that can be configured for a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskKind {
    /// Every check of the database, and its statistics.
    HealthCheck,
    /// The quick check alone, more often than the full one. Users see it as `health_check`.
    QuickCheck,
    /// Gives free pages back to the file system.
    Vacuum,
    /// Deletes rows older than their retention.
    LogCleaning,
    /// Keeps verified copies of the database.
    Backup,
    /// Copies the WAL into the main file.
    Checkpoint,
    /// Brings the statistics of the query planner up to date.
    Optimize,
    /// Compares each page on the disk with its hash of the last time.
    Scrub,
}

impl TaskKind {
    /// Every task, in the order in which `run all` runs them; see `TASKS` in `tasks`.
    pub const ALL: [Self; 8] = [
        Self::Scrub,
        Self::Backup,
        Self::LogCleaning,
        Self::Vacuum,
        Self::Optimize,
        Self::Checkpoint,
        Self::QuickCheck,
        Self::HealthCheck,
    ];

    /// The label of every task, in alphabetical order.
    #[must_use]
    pub fn labels() -> Vec<&'static str> {
        let mut labels = Self::ALL.map(Self::label).to_vec();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// The task of a label; the full check for `health_check`.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().filter(|task| *task != Self::QuickCheck).find(|task| task.label() == label)
    }

    /// The label value in metrics, and the name in configuration, history and command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::HealthCheck | Self::QuickCheck => "health_check",
            Self::Vacuum => "vacuum",
            Self::LogCleaning => "log_cleaning",
            Self::Backup => "backup",
            Self::Checkpoint => "checkpoint",
            Self::Optimize => "optimize",
            Self::Scrub => "scrub",
        }
    }

    /// The name in the state file and for the spread of a fleet, where the quick check has one of
    /// its own because its times are its own.
    #[must_use]
    pub fn stored_name(self) -> &'static str {
        if self == Self::QuickCheck { "quick_check" } else { self.label() }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::QuickCheck => "health_check (quick)",
            other => other.label(),
        })
    }
}
