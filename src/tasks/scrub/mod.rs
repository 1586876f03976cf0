//! Scrub: compares each page on the disk with its hash of the last time, which finds damage that no
//! check of SQLite sees.
//!
//! The crate `litekeeper-scrub` reads, remembers and judges; here are the conditions of a run, the
//! names of what it found, and what a person is to do about it. It only reads, and runs beside the
//! database's other tasks; the comparison of sealed rows (`crate::sealed`) follows the pages.

mod end;
mod ledger;
mod places;
pub(super) mod readers;
pub(super) mod report;
mod run;
mod sealed;

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

use self::report::ScrubReport;

pub use self::ledger::is_damage_gone;
pub use self::ledger::ledger_directory;
pub use self::places::name_pages;

/// The task `scrub`.
pub(super) struct Scrub;

impl Task for Scrub {
    fn kind(&self) -> TaskKind {
        TaskKind::Scrub
    }

    fn help(&self) -> &'static str {
        "Find damage that no check of SQLite detects"
    }

    fn example(&self) -> &'static str {
        "{}"
    }

    /// A finding names the backup that holds the good page.
    fn needs_backup_identity(&self) -> bool {
        true
    }

    fn access(&self) -> Access {
        Access::Reads
    }

    fn is_background(&self) -> bool {
        true
    }

    fn is_check(&self) -> bool {
        true
    }

    fn hold_label(&self) -> Option<&'static str> {
        None
    }

    fn run(&self, context: &TaskContext<'_>) -> Result<Report, Stop> {
        run::run(context.settings(self.kind(), |tasks| tasks.scrub.as_ref())?, context)
    }

    fn dry_run(
        &self,
        context: &TaskContext<'_>,
        _inspection: &Inspection,
        dry_run: &mut DryRun,
    ) -> Result<(), Stop> {
        run::dry_run(context.settings(self.kind(), |tasks| tasks.scrub.as_ref())?, context, dry_run)
    }

    fn parse_report(&self, json: &serde_json::Value) -> Option<Arc<dyn TaskReport>> {
        parse::<ScrubReport>(json)
    }
}
