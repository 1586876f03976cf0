//! Problems that a configured task will meet on this machine.

use crate::task::TaskKind;

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The cleaning of a table will fail.
    CleaningFails,
    /// Expired rows will stay.
    RowsStay,
    /// The cleaning of a table will be slow, because no index serves it.
    SlowCleaning,
    /// The cleaning of a table will be slow, because no index serves a foreign key.
    SlowReference,
    /// A backup will fail.
    BackupFails,
}

impl ProblemKind {
    /// The effect on the task, as in "vacuum would fail".
    #[must_use]
    pub fn effect(self) -> &'static str {
        match self {
            Self::CleaningFails | Self::BackupFails => "would fail",
            Self::RowsStay => "would leave rows",
            Self::SlowCleaning | Self::SlowReference => "would be slow",
        }
    }
}

/// A problem that a configured task will meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedProblem {
    /// The task.
    pub task: TaskKind,
    /// The kind of problem.
    pub kind: ProblemKind,
    /// The problem, for a person.
    pub message: String,
}
