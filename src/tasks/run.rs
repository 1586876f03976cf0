//! A run that is over, as history keeps it and metrics count it.

use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use crate::database::DatabaseName;
use crate::span::Trace;
use crate::sqlite::Check;
use crate::task::TaskKind;

use super::backup::BackupReport;
use super::checkpoint::CheckpointReport;
use super::cleaning_report::LogCleaningReport;
use super::cleaning_report::TableReport;
use super::health_check::Verdict;
use super::optimize::OptimizeReport;
use super::outcome::FailureReason;
use super::outcome::Outcome;
use super::outcome::SkipReason;
use super::vacuum::VacuumReport;

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

/// A run that is over.
#[derive(Debug, Clone, PartialEq)]
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
    /// `success`, `skipped` or `failed`.
    pub outcome: String,
    /// The reason of a skip or failure, as the metrics name it.
    pub reason: Option<String>,
    /// The reason in words.
    pub message: Option<String>,
    /// What was done, as JSON.
    pub details: serde_json::Value,
    /// Its trace; `None` while traces go nowhere, and for a run of another process.
    pub trace: Option<Trace>,
}

/// The numbers in a run's details that metrics are made of.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The longest hold of the write lock.
    pub max_write_hold_seconds: f64,
    /// Of a vacuum.
    pub vacuum: Option<VacuumReport>,
    /// Of a log cleaning.
    pub log_cleaning: Option<LogCleaningReport>,
    /// Of a health check.
    pub health_check: Option<Verdicts>,
    /// Of a backup.
    pub backup: Option<BackupReport>,
    /// Of a checkpoint.
    pub checkpoint: Option<CheckpointReport>,
    /// Of new statistics.
    pub optimize: Option<OptimizeReport>,
}

/// The verdicts of a health check.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Verdicts {
    /// One a check.
    pub verdicts: Vec<Verdict>,
    /// Bytes that were checked.
    pub checked_bytes: u64,
}

impl Run {
    /// Puts a run together from what came of it.
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
        outcome: &Outcome,
    ) -> Self {
        let details = outcome.report().map(|report| {
            serde_json::to_value(report).expect("a report is made of numbers, texts and lists")
        });
        Self {
            database,
            path,
            task,
            trigger,
            due_at,
            started_at,
            elapsed,
            outcome: outcome.label().to_owned(),
            reason: outcome.reason().map(str::to_owned),
            message: outcome.message().map(str::to_owned),
            details: details.unwrap_or(serde_json::Value::Null),
            trace: None,
        }
    }

    /// Whether it did its work.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.outcome == "success"
    }

    /// Whether the task has done what it is for: it succeeded, or there was nothing to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_success()
            || (self.is_skip() && self.reason.as_deref() == Some(SkipReason::BelowThreshold.label()))
    }

    /// Whether it was not needed or not allowed.
    #[must_use]
    pub fn is_skip(&self) -> bool {
        self.outcome == "skipped"
    }

    /// Whether somebody ended it before it was done, which is no fault.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.reason.as_deref() == Some(FailureReason::Canceled.label())
    }

    /// The numbers in the details; none where an older version wrote them in another shape.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::deserialize(&self.details).unwrap_or_default()
    }

    /// When it ended.
    #[must_use]
    pub fn ended_at(&self) -> SystemTime {
        self.started_at + self.elapsed
    }

    /// How fast it went: bytes a second for a vacuum, check or backup, rows for a cleaning; `None` when it did not do its work.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        /// Shorter runs say more of the start than of the work.
        const MIN_SECONDS: f64 = 0.01;
        let summary = self.summary();
        let units = match self.task {
            TaskKind::Vacuum => summary.vacuum.map(|report| report.size_after_bytes),
            TaskKind::LogCleaning => summary.log_cleaning.map(|report| report.deleted_rows),
            TaskKind::HealthCheck | TaskKind::QuickCheck => {
                summary.health_check.map(|report| report.checked_bytes)
            }
            TaskKind::Backup => summary.backup.map(|report| report.size_bytes),
            TaskKind::Checkpoint | TaskKind::Optimize => None,
        };
        let units = units.filter(|units| *units > 0 && self.is_success())?;
        Some(units as f64 / self.elapsed.as_secs_f64().max(MIN_SECONDS))
    }

    /// What it did, in a few words.
    #[must_use]
    pub fn words(&self) -> String {
        use crate::humanize::bytes;
        use crate::humanize::counted;
        let summary = self.summary();
        if let Some(vacuum) = summary.vacuum {
            return format!(
                "{} to {}, {} saved ({:.1} %)",
                bytes(vacuum.size_before_bytes),
                bytes(vacuum.size_after_bytes),
                bytes(vacuum.saved_bytes),
                vacuum.saved_percent
            );
        }
        if let Some(cleaning) = summary.log_cleaning {
            let incomplete = cleaning.tables.iter().any(TableReport::has_ended_early);
            let rest = if incomplete { ", more is left" } else { "" };
            return format!("{} deleted{rest}", counted(cleaning.deleted_rows, "row"));
        }
        if let Some(backup) = summary.backup {
            return backup_words(&backup);
        }
        if let Some(checkpoint) = summary.checkpoint {
            return checkpoint.words();
        }
        if let Some(optimize) = summary.optimize {
            return format!("analyzed {}", optimize.analyzed.join(", "));
        }
        let Some(health) = summary.health_check else { return String::new() };
        let checks: Vec<String> = health
            .verdicts
            .iter()
            .map(|verdict| {
                let word = if verdict.ok {
                    "ok".to_owned()
                } else {
                    counted(u64::from(verdict.problems), "problem")
                };
                let sliced = if verdict.whole { "" } else { " (table by table)" };
                let mut rest = String::new();
                if verdict.check != Check::ForeignKey && verdict.notes.constraints > 0 {
                    rest +=
                        &format!(", {}", counted(u64::from(verdict.notes.constraints), "broken constraint"));
                }
                if verdict.notes.btrees_checked < verdict.notes.btrees {
                    rest += &format!(
                        ", {} of {} b-trees checked",
                        verdict.notes.btrees_checked, verdict.notes.btrees
                    );
                } else if verdict.notes.not_checked > 0 {
                    rest += &format!(", {} not checked", verdict.notes.not_checked);
                }
                format!("{} {word}{rest}{sliced}", verdict.check.label())
            })
            .collect();
        checks.join(", ")
    }
}

/// What a backup did, in a few words.
fn backup_words(backup: &BackupReport) -> String {
    use crate::humanize::bytes;
    use crate::humanize::count;
    use crate::humanize::counted;
    let file = backup.path.file_name().unwrap_or_default().to_string_lossy();
    let (size, rows) = (bytes(backup.size_bytes), counted(backup.rows, "row"));
    let rest = match backup.not_compared.len() {
        0 => String::new(),
        more => format!(", {} not compared", counted(more as u64, "table")),
    };
    let unchecked = match backup.not_checked.len() {
        0 => "",
        _ => " as far as it can be checked here",
    };
    let others = match backup.files_of_others {
        0 => String::new(),
        more => format!(
            "; {} with the name of this database stay, as they are not known to be its own",
            counted(more, "backup")
        ),
    };
    format!("{file}, {size}, verified{unchecked} with {rows}{rest}, {} kept{others}", count(backup.files))
}
