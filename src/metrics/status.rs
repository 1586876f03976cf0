//! What people are shown of maintenance: the same numbers as in the metrics, of one database or in
//! the order of time.

use std::collections::BTreeSet;

use crate::database::DatabaseName;
use crate::sqlite::Check;
use crate::state_store::CheckStatus;
use crate::state_store::ScrubStatus;
use crate::task::TaskKind;

use super::jobs::JobMetrics;
use super::scrubs::Scrubs;

/// A task of a database. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskState {
    /// Its label.
    pub task: &'static str,
    /// How far a run that is under way has come, from 0 to 1.
    pub progress: Option<f64>,
    /// When the last run ended.
    pub last_completion: Option<f64>,
    /// Whether it did its work.
    pub succeeded: Option<bool>,
    /// When it next runs.
    pub next_run: Option<f64>,
}

/// The maintenance of a database.
#[derive(Debug, Clone, Default)]
pub struct MaintenanceStatus {
    /// Its tasks.
    pub tasks: Vec<TaskState>,
    /// The last word of each check.
    pub verdicts: Vec<(Check, CheckStatus)>,
    /// The last completed scrub.
    pub scrub: Option<ScrubStatus>,
    /// Whether it is paused.
    pub paused: bool,
}

/// One entry of the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduledRun {
    /// When, in seconds since 1970; `None` when never.
    pub at: Option<f64>,
    /// The database.
    pub database: DatabaseName,
    /// The task.
    pub task: TaskKind,
}

impl MaintenanceStatus {
    /// Whether a check or a scrub found damage that nothing has cleared since.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let failed = self.verdicts.iter().any(|(check, status)| !status.ok && *check != Check::ForeignKey);
        failed || self.scrub.as_ref().is_some_and(|scrub| !scrub.is_ok())
    }
}

impl JobMetrics {
    /// The maintenance of a database.
    #[must_use]
    pub fn upkeep(&self, name: &DatabaseName) -> MaintenanceStatus {
        let jobs = self.lock();
        let tasks = jobs.jobs.range((name.clone(), "")..).take_while(|((database, _), _)| database == name);
        let tasks = tasks.map(|((_, task), job)| TaskState {
            task,
            progress: (job.running > 0).then_some(job.progress),
            last_completion: job.last_completion,
            succeeded: job.succeeded,
            next_run: job.next_runs.values().copied().reduce(f64::min),
        });
        let verdicts = jobs.integrity.get(name).map(|integrity| &integrity.check_statuses);
        MaintenanceStatus {
            tasks: tasks.collect(),
            verdicts: verdicts
                .into_iter()
                .flatten()
                .map(|(check, standing)| (*check, standing.clone()))
                .collect(),
            scrub: jobs.scrubs.get(name).and_then(|scrubs| scrubs.status.clone()),
            paused: jobs.everything_paused || jobs.paused.contains(name.as_str()),
        }
    }

    /// Databases of which a check or a scrub found damage that nothing has cleared since.
    #[must_use]
    pub fn unsound(&self) -> BTreeSet<DatabaseName> {
        let jobs = self.lock();
        let unsound = jobs.integrity.iter().filter(|(_, integrity)| {
            integrity
                .check_statuses
                .iter()
                .any(|(check, standing)| !standing.ok && *check != Check::ForeignKey)
        });
        let damaged = |scrubs: &Scrubs| scrubs.status.as_ref().is_some_and(|status| !status.is_ok());
        let scrubbed = jobs.scrubs.iter().filter(|(_, scrubs)| damaged(scrubs));
        unsound.map(|(name, _)| name).chain(scrubbed.map(|(name, _)| name)).cloned().collect()
    }

    /// Whether all maintenance is paused.
    #[must_use]
    pub fn is_everything_paused(&self) -> bool {
        self.lock().everything_paused
    }

    /// What runs next, the earliest first.
    #[must_use]
    pub fn upcoming(&self) -> Vec<ScheduledRun> {
        let jobs = self.lock();
        let mut upcoming: Vec<ScheduledRun> = jobs
            .jobs
            .iter()
            .flat_map(|((database, _), job)| {
                job.next_runs.iter().map(|(task, at)| ScheduledRun {
                    at: Some(*at),
                    database: database.clone(),
                    task: *task,
                })
            })
            .collect();
        drop(jobs);
        upcoming.sort_by(|one, other| {
            one.at
                .partial_cmp(&other.at)
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| (&one.database, one.task).cmp(&(&other.database, other.task)))
        });
        upcoming
    }
}
