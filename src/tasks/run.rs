//! A run that is over, as the state file keeps it and the metrics count it.

use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use crate::database::DatabaseName;
use crate::span::Trace;
use crate::task::TaskKind;

use super::reason::FailureReason;
use super::reason::SkipReason;
use super::report::Report;
use super::stop::Stop;
use super::stop::StopReason;

/// Why a run was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Its schedule said so.
    Schedule,
    /// It fell due while the agent was down.
    CatchUp,
    /// Somebody ran it by hand.
    Manual,
}

impl Trigger {
    /// The word for it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::CatchUp => "catch_up",
            Self::Manual => "manual",
        }
    }

    /// The trigger with a word.
    #[must_use]
    pub fn from_label(label: &str) -> Self {
        [Self::Schedule, Self::CatchUp].into_iter().find(|one| one.label() == label).unwrap_or(Self::Manual)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// It did its work.
    Success,
    /// It was not needed or not allowed.
    Skipped(SkipReason),
    /// It could not do its work, or found the database damaged.
    Failed(FailureReason),
}

impl RunStatus {
    /// The outcome as it is stored and shown: `success`, `skipped` or `failed`.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
        }
    }

    /// The reason of a skip or failure, as the metrics name it.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Success => None,
            Self::Skipped(reason) => Some(reason.label()),
            Self::Failed(reason) => Some(reason.label()),
        }
    }

    /// The status that was stored; `None` for one that only a later version knows.
    #[must_use]
    pub fn from_labels(outcome: &str, reason: Option<&str>) -> Option<Self> {
        match (outcome, reason) {
            ("success", None) => Some(Self::Success),
            ("skipped", Some(reason)) => SkipReason::from_label(reason).map(Self::Skipped),
            ("failed", Some(reason)) => FailureReason::from_label(reason).map(Self::Failed),
            _ => None,
        }
    }
}

impl From<StopReason> for RunStatus {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Skipped(reason) => Self::Skipped(reason),
            StopReason::Failed(reason) => Self::Failed(reason),
        }
    }
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Run {
    /// The database.
    pub database: DatabaseName,
    /// Its file.
    pub path: PathBuf,
    /// What was run.
    pub task: TaskKind,
    /// Why.
    pub trigger: Trigger,
    /// When it fell due.
    pub due_at: Option<SystemTime>,
    /// When it began.
    pub started_at: SystemTime,
    /// How long it took.
    pub elapsed: Duration,
    /// How it ended.
    pub status: RunStatus,
    /// The reason of a skip or failure, for a person.
    pub message: Option<String>,
    /// What was done; `None` too where an older version stored it in another form.
    pub report: Option<Report>,
    /// The report as the JSON that is stored and shown; `null` without one.
    pub details: serde_json::Value,
    /// Its trace; `None` while traces go nowhere, and for a run of another process.
    pub trace: Option<Trace>,
}

impl Run {
    /// Puts a run together from its result.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "a record with as many columns")]
    pub fn new(
        database: DatabaseName,
        path: PathBuf,
        task: TaskKind,
        trigger: Trigger,
        due_at: Option<SystemTime>,
        started_at: SystemTime,
        elapsed: Duration,
        result: Result<Report, Stop>,
    ) -> Self {
        let (status, message, report) = match result {
            Ok(report) => (RunStatus::Success, None, Some(report)),
            Err(Stop { reason, message, report }) => (reason.into(), Some(message), report),
        };
        let details = report.as_ref().map(|report| report.to_json(task.label())).unwrap_or_default();
        Self {
            database,
            path,
            task,
            trigger,
            due_at,
            started_at,
            elapsed,
            status,
            message,
            report,
            details,
            trace: None,
        }
    }

    /// Whether it did its work.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status == RunStatus::Success
    }

    /// Whether the task has done what it is for: it succeeded, or there was nothing to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.status, RunStatus::Success | RunStatus::Skipped(SkipReason::BelowThreshold))
    }

    /// Whether it was not needed or not allowed.
    #[must_use]
    pub fn is_skip(&self) -> bool {
        matches!(self.status, RunStatus::Skipped(_))
    }

    /// Whether somebody ended it before it was done, which is no fault.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.status == RunStatus::Failed(FailureReason::Canceled)
    }

    /// The longest time for which it kept other writers from committing at once.
    #[must_use]
    pub fn max_hold(&self) -> Duration {
        self.report.as_ref().map_or(Duration::ZERO, |report| report.max_hold)
    }

    /// When it ended.
    #[must_use]
    pub fn ended_at(&self) -> SystemTime {
        self.started_at + self.elapsed
    }

    /// The units of work per second, bytes or rows by task; `None` when it did not do its work.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        /// Shorter runs say more of the start than of the work.
        const MIN_SECONDS: f64 = 0.01;
        let units = self.report.as_ref()?.details.work().filter(|units| *units > 0 && self.is_success())?;
        Some(units as f64 / self.elapsed.as_secs_f64().max(MIN_SECONDS))
    }

    /// The result in one line; empty without a report.
    #[must_use]
    pub fn summary(&self) -> String {
        self.report.as_ref().map(|report| report.details.summary()).unwrap_or_default()
    }
}
