//! Optimize: updates the statistics of the query planner where they are missing or stale.
//!
//! A run asks SQLite which tables `PRAGMA optimize` would analyze, and analyzes each in a
//! transaction of its own, from some rows of each index, with a pause after it. A table costs some
//! milliseconds of the write lock. The pragma itself analyzes all tables in one transaction, and
//! by default only those that the same connection has queried, which here is none.

pub(super) mod report;
mod run;

use std::sync::Arc;

use crate::collectors::Consistent;
use crate::collectors::read_preferably_unlocked;
use crate::sqlite::JournalMode;
use crate::task::TaskKind;
use crate::tasks::access::Access;
use crate::tasks::context::TaskContext;
use crate::tasks::dry_run::DryRun;
use crate::tasks::inspection::Inspection;
use crate::tasks::lock_contention;
use crate::tasks::preflight;
use crate::tasks::report::Report;
use crate::tasks::report::TaskReport;
use crate::tasks::report::parse;
use crate::tasks::stop::Stop;
use crate::tasks::task::Task;

use self::report::OptimizeReport;
use self::run::UP_TO_DATE;

/// The task `optimize`.
pub(super) struct Optimize;

impl Task for Optimize {
    fn kind(&self) -> TaskKind {
        TaskKind::Optimize
    }

    fn help(&self) -> &'static str {
        "Update the statistics of the query planner"
    }

    fn example(&self) -> &'static str {
        "{}"
    }

    fn access(&self) -> Access {
        Access::Writes
    }

    fn run(&self, context: &TaskContext<'_>) -> Result<Report, Stop> {
        run::run(context.settings(self.kind(), |tasks| tasks.optimize.as_ref())?, context)
    }

    fn dry_run(
        &self,
        context: &TaskContext<'_>,
        inspection: &Inspection,
        dry_run: &mut DryRun,
    ) -> Result<(), Stop> {
        let settings = context.settings(self.kind(), |tasks| tasks.optimize.as_ref())?;
        let (database, journal_mode) = (context.database, inspection.header.journal_mode);
        dry_run.owner = lock_contention::owner_notice(context);
        let allow_network_filesystem = settings.write_limits.allow_network_filesystem;
        dry_run.note_stop(preflight::check_writable(database, journal_mode, allow_network_filesystem));
        // A writer of a rollback database waits for a count.
        let limit = match journal_mode {
            JournalMode::Wal => database.settings.count_timeout,
            JournalMode::Rollback => database.settings.count_timeout / 10,
        };
        let read = read_preferably_unlocked(&database.path, &database.files, context.limits, |reader| {
            reader.stale_statistics(limit)
        });
        match read {
            Ok(Consistent::Read { answer, .. }) if answer.is_empty() => dry_run.note(UP_TO_DATE),
            Ok(Consistent::Read { answer, .. }) => {
                dry_run.analyze = answer.into_iter().map(|analysis| analysis.table).collect();
            }
            Ok(Consistent::Unstable) => {
                dry_run.note("the files of the database are created and removed while they are read")
            }
            Err(error) => dry_run.note(error.to_string()),
        }
        Ok(())
    }

    fn parse_report(&self, json: &serde_json::Value) -> Option<Arc<dyn TaskReport>> {
        parse::<OptimizeReport>(json)
    }
}
