//! The names of the pieces of maintenance. What each does stands in `job`.

use std::fmt;

/// A piece of maintenance that can be configured for a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Every check of the database, and its statistics.
    HealthCheck,
    /// The quick check alone, more often than the full one. It is the same task to the world, `health_check`.
    QuickCheck,
    /// Gives free pages back to the file system.
    Vacuum,
    /// Deletes rows older than their retention.
    LogCleaning,
}

impl Task {
    /// Every task, in the order in which `run all` does them: log cleaning frees the pages that a
    /// vacuum gives back, and the health check sees the outcome of both.
    pub const ALL: [Self; 4] = [Self::LogCleaning, Self::Vacuum, Self::QuickCheck, Self::HealthCheck];

    /// The label value in metrics, and the name in configuration, history and command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::HealthCheck | Self::QuickCheck => "health_check",
            Self::Vacuum => "vacuum",
            Self::LogCleaning => "log_cleaning",
        }
    }

    /// The name where the quick check is told apart from the full one: in the state file, and for the spread of a fleet,
    /// since each has times of its own.
    #[must_use]
    pub fn slot(self) -> &'static str {
        match self {
            Self::QuickCheck => "quick_check",
            Self::HealthCheck | Self::Vacuum | Self::LogCleaning => self.label(),
        }
    }

    /// Whether it changes the database.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::HealthCheck | Self::QuickCheck => false,
            Self::Vacuum | Self::LogCleaning => true,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::QuickCheck => "health_check (quick)",
            Self::HealthCheck | Self::Vacuum | Self::LogCleaning => self.label(),
        })
    }
}
