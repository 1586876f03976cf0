//! The names of the pieces of maintenance. What each does stands in `job`.

use std::fmt;

/// A piece of maintenance that can be configured for a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskKind {
    /// Every check of the database, and its statistics.
    HealthCheck,
    /// The quick check alone, more often than the full one. It is the same task to the world, `health_check`.
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
}

impl TaskKind {
    /// Every task, in the order in which `run all` does them: the backup is from before all that changes something,
    /// log cleaning frees the pages that a vacuum gives back, and the health check sees what came of them.
    pub const ALL: [Self; 7] = [
        Self::Backup,
        Self::LogCleaning,
        Self::Vacuum,
        Self::Optimize,
        Self::Checkpoint,
        Self::QuickCheck,
        Self::HealthCheck,
    ];

    /// The tasks as the world knows them, by their label.
    pub const LABELS: [&'static str; 6] =
        ["backup", "checkpoint", "health_check", "log_cleaning", "optimize", "vacuum"];

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
        }
    }

    /// The name where the quick check is told apart from the full one: in the state file, and for the spread of a fleet,
    /// since each has times of its own.
    #[must_use]
    pub fn stored_name(self) -> &'static str {
        match self {
            Self::QuickCheck => "quick_check",
            Self::HealthCheck
            | Self::Vacuum
            | Self::LogCleaning
            | Self::Backup
            | Self::Checkpoint
            | Self::Optimize => self.label(),
        }
    }

    /// Whether it writes: the database, or files of its own. Nothing of that is done to a damaged database.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::HealthCheck | Self::QuickCheck => false,
            Self::Vacuum | Self::LogCleaning | Self::Backup | Self::Checkpoint | Self::Optimize => true,
        }
    }

    /// Whether it runs every few minutes and does next to nothing. A run of it that was missed is not made up for, and
    /// one that came to the same as the last leaves no further trace in log and history.
    #[must_use]
    pub fn is_light(self) -> bool {
        match self {
            Self::Checkpoint => true,
            Self::HealthCheck
            | Self::QuickCheck
            | Self::Vacuum
            | Self::LogCleaning
            | Self::Backup
            | Self::Optimize => false,
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::QuickCheck => "health_check (quick)",
            Self::HealthCheck
            | Self::Vacuum
            | Self::LogCleaning
            | Self::Backup
            | Self::Checkpoint
            | Self::Optimize => self.label(),
        })
    }
}
