//! Log cleaning: deletes rows older than their retention in short transactions.
//!
//! For each table a run finds out which rows have expired, or refuses to. It then visits them in
//! the order of the time column's index, or of the row ids where there is none, and deletes as
//! many at a time as fit the target duration of a hold (about 20 ms, see `lock_contention`). Other
//! writers commit in the pauses, and the WAL grows by what one checkpoint copies. A single DELETE
//! held the write lock for 1.15 s for 500,000 rows, and every writer would wait for it.

mod by_time;
mod clean;
mod clock_check;
mod dry_run;
pub(super) mod kept;
pub(super) mod plan;
mod planning;
mod references;
pub(super) mod report;
mod run;
mod time_bounds;
pub(super) mod time_tally;

use std::sync::Arc;
use std::time::Duration;

use crate::config::Tasks;
use crate::task::TaskKind;
use crate::tasks::access::Access;
use crate::tasks::context::TaskContext;
use crate::tasks::dry_run::DryRun;
use crate::tasks::inspection::Inspection;
use crate::tasks::lock_contention;
use crate::tasks::problem::ExpectedProblem;
use crate::tasks::report::Report;
use crate::tasks::report::TaskReport;
use crate::tasks::report::parse;
use crate::tasks::stop::Stop;
use crate::tasks::task::Task;

use self::report::LogCleaningReport;

/// The task `log_cleaning`.
pub(super) struct LogCleaning;

impl Task for LogCleaning {
    fn kind(&self) -> TaskKind {
        TaskKind::LogCleaning
    }

    fn help(&self) -> &'static str {
        "Delete rows older than their retention"
    }

    fn example(&self) -> &'static str {
        "{tables: [{table: logs, column: created_at}]}"
    }

    fn access(&self) -> Access {
        Access::Writes
    }

    fn depends_on_clock(&self) -> bool {
        true
    }

    fn retentions(&self, settings: &Tasks) -> Vec<(String, Option<Duration>)> {
        let tables = settings.log_cleaning.iter().flat_map(|settings| &settings.tables);
        tables.map(|table| (table.table.clone(), table.retention)).collect()
    }

    fn run(&self, context: &TaskContext<'_>) -> Result<Report, Stop> {
        run::run(context.settings(self.kind(), |tasks| tasks.log_cleaning.as_ref())?, context)
    }

    fn dry_run(
        &self,
        context: &TaskContext<'_>,
        inspection: &Inspection,
        dry_run: &mut DryRun,
    ) -> Result<(), Stop> {
        let settings = context.settings(self.kind(), |tasks| tasks.log_cleaning.as_ref())?;
        dry_run.owner = lock_contention::owner_notice(context);
        dry_run::add(settings, context, inspection, dry_run);
        Ok(())
    }

    fn parse_report(&self, json: &serde_json::Value) -> Option<Arc<dyn TaskReport>> {
        parse::<LogCleaningReport>(json)
    }

    fn expects_problems(&self) -> bool {
        true
    }

    fn expected_problems(
        &self,
        context: &TaskContext<'_>,
        inspection: &Inspection,
    ) -> Result<Vec<ExpectedProblem>, Stop> {
        let settings = context.settings(self.kind(), |tasks| tasks.log_cleaning.as_ref());
        dry_run::expected_problems(settings?, context, inspection)
    }
}
