//! Checkpoint: copies the WAL into the main file every few minutes, so that it stays short.
//!
//! A run is skipped if everything is copied and the file is not too large. It copies what can be
//! copied beside readers and writers (a passive checkpoint), and empties the file if it is large,
//! all of it is copied, and no connection uses it. The pages of the WAL are written once more and
//! both files are synced; the write lock is held only while the file is emptied. Emptying it every
//! time would take that lock each time, and a WAL that keeps its size is faster to write.

mod plan;
pub(super) mod report;
mod run;

use std::sync::Arc;

use crate::task::TaskKind;
use crate::tasks::access::Access;
use crate::tasks::context::TaskContext;
use crate::tasks::dry_run::DryRun;
use crate::tasks::inspection::Inspection;
use crate::tasks::report::Report;
use crate::tasks::report::TaskReport;
use crate::tasks::report::parse;
use crate::tasks::stop::Stop;
use crate::tasks::task::Task;

use self::plan::plan;
use self::report::CheckpointReport;

/// The task `checkpoint`.
pub(super) struct Checkpoint;

impl Task for Checkpoint {
    fn kind(&self) -> TaskKind {
        TaskKind::Checkpoint
    }

    fn help(&self) -> &'static str {
        "Copy the WAL into the main file"
    }

    fn example(&self) -> &'static str {
        "{}"
    }

    fn access(&self) -> Access {
        Access::Writes
    }

    fn is_light(&self) -> bool {
        true
    }

    fn run(&self, context: &TaskContext<'_>) -> Result<Report, Stop> {
        run::run(context.settings(self.kind(), |tasks| tasks.checkpoint.as_ref())?, context)
    }

    fn dry_run(
        &self,
        context: &TaskContext<'_>,
        inspection: &Inspection,
        dry_run: &mut DryRun,
    ) -> Result<(), Stop> {
        let settings = context.settings(self.kind(), |tasks| tasks.checkpoint.as_ref())?;
        dry_run.checkpoint =
            dry_run.note_stop(plan(settings, context, inspection)).map(|plan| plan.summary());
        Ok(())
    }

    fn parse_report(&self, json: &serde_json::Value) -> Option<Arc<dyn TaskReport>> {
        parse::<CheckpointReport>(json)
    }
}
