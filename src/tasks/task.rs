//! The trait of a task. To add one, see "Add a task" in CONTRIBUTING.md.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Tasks;
use crate::sqlite::Check;
use crate::task::TaskKind;

use super::access::Access;
use super::context::TaskContext;
use super::dry_run::DryRun;
use super::inspection::Inspection;
use super::problem::ExpectedProblem;
use super::report::Report;
use super::report::TaskReport;
use super::stop::Stop;

/// A task: when it may run, what a run does, and what is reported of it.
///
/// Implementations are unit structs in a directory of their own; a run gets everything from its
/// [`TaskContext`]. They hold no SQL, which belongs to `sqlite`, and write neither metrics nor the
/// log of a run, which belong to `record`.
pub trait Task: Sync {
    /// The task's name and its place in the configuration.
    fn kind(&self) -> TaskKind;

    /// The help of `litekeeper run TASK`.
    fn help(&self) -> &'static str;

    /// The least that the configuration needs to enable the task, in YAML.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test enables each task with it"))]
    fn example(&self) -> &'static str;

    /// What the task does to the database's files. Only one that reads runs on a damaged database.
    fn access(&self) -> Access;

    /// Runs the task on a database that the caller has locked for maintenance, unless it is a
    /// background task.
    ///
    /// # Errors
    /// Why it was not needed, not allowed, or failed.
    fn run(&self, context: &TaskContext<'_>) -> Result<Report, Stop>;

    /// Adds what a run would do.
    ///
    /// # Errors
    /// Why that could not be found out.
    fn dry_run(
        &self,
        context: &TaskContext<'_>,
        inspection: &Inspection,
        dry_run: &mut DryRun,
    ) -> Result<(), Stop>;

    /// Parses a report that [`TaskReport::to_json`] wrote; `None` for one of another form.
    fn parse_report(&self, json: &serde_json::Value) -> Option<Arc<dyn TaskReport>>;

    /// Whether [`Task::expected_problems`] looks for any.
    fn expects_problems(&self) -> bool {
        false
    }

    /// Problems that the next run will meet, as far as they can be found without counting rows.
    ///
    /// # Errors
    /// Why the database could not be read.
    fn expected_problems(
        &self,
        _context: &TaskContext<'_>,
        _inspection: &Inspection,
    ) -> Result<Vec<ExpectedProblem>, Stop> {
        Ok(Vec::new())
    }

    /// Whether the task runs every few minutes and does next to nothing. A missed run of it is not
    /// caught up, and one with the same result as the last leaves no further trace in log and state
    /// file.
    fn is_light(&self) -> bool {
        false
    }

    /// Whether the task reads slowly for hours beside the database's other tasks. It takes no
    /// maintenance lock, neither waits for other tasks nor makes them wait, and a run that a pause
    /// ended goes on after the pause.
    fn is_background(&self) -> bool {
        false
    }

    /// Whether the task checks the database's integrity: its failures are findings.
    fn is_check(&self) -> bool {
        false
    }

    /// Whether a clock that was set makes the task dangerous, so that the clocks of each run are
    /// kept.
    fn depends_on_clock(&self) -> bool {
        false
    }

    /// Whether the task needs the identity that the state file keeps for the backups of a database.
    fn needs_backup_identity(&self) -> bool {
        false
    }

    /// The name of [`Report::max_hold`] for a person; `None` where a run holds no lock that a
    /// person has to know of.
    fn hold_label(&self) -> Option<&'static str> {
        Some("longest hold of the write lock")
    }

    /// The tables that the task cleans, each with its retention by age.
    fn retentions(&self, _settings: &Tasks) -> Vec<(String, Option<Duration>)> {
        Vec::new()
    }

    /// After which time the task reads a kept backup again.
    fn verify_interval(&self, _settings: &Tasks) -> Option<Duration> {
        None
    }

    /// The checks that the task runs.
    fn checks(&self, _settings: &Tasks) -> Vec<Check> {
        Vec::new()
    }
}

impl dyn Task {
    /// Whether the task writes the database or files of its own.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.access() != Access::Reads
    }
}
