//! Why a run ended without having done its work: the error type of every task.

use crate::sqlite::SqliteError;

use crate::tasks::reason::FailureReason;
use crate::tasks::reason::SkipReason;
use crate::tasks::report::Report;

/// The reason for which a run stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// It was not needed or not allowed.
    Skipped(SkipReason),
    /// It could not do its work, or found the database damaged.
    Failed(FailureReason),
}

/// A run that did not do its work.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Stop {
    /// Why, for the metric.
    pub reason: StopReason,
    /// Why, for a person, and what to do.
    pub message: String,
    /// What was found or done before.
    pub report: Option<Report>,
}

impl Stop {
    /// A run that did nothing.
    #[must_use]
    pub fn skipped(reason: SkipReason, message: impl Into<String>) -> Self {
        Self { reason: StopReason::Skipped(reason), message: message.into(), report: None }
    }

    /// A run that failed before it did anything.
    #[must_use]
    pub fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason: StopReason::Failed(reason), message: message.into(), report: None }
    }

    /// Adds what was found or done before.
    #[must_use]
    pub fn with_report(self, report: Report) -> Self {
        Self { report: Some(report), ..self }
    }
}

impl From<SqliteError> for Stop {
    fn from(error: SqliteError) -> Self {
        Self::failed(FailureReason::from_error(&error), error.to_string())
    }
}
