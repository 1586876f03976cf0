//! Backup: copies the database into a directory, verifies the copy, and keeps the newest copies.
//!
//! A run checks the free space, makes a copy under a temporary name, verifies it (see
//! `verified_copy`), renames it, and only then removes the oldest backups. A copy needs as much
//! disk space as the pages of the database, and a read transaction while it is made. A file with
//! the name of a backup is therefore complete, on the disk and verified, no matter when a run was
//! killed. A missing directory is not created, because its disk may not be mounted.

pub(super) mod backup_set;
mod block_copy;
pub(super) mod compare;
mod copy;
pub(super) mod directory;
mod kept;
pub(super) mod kept_backup;
pub(super) mod manifest_check;
mod manifest_file;
mod new_manifest;
mod page_list;
pub(super) mod page_lookup;
mod recheck;
pub(super) mod report;
pub(super) mod restore;
mod run;
mod target;
mod verified_copy;

use std::sync::Arc;
use std::time::Duration;

use crate::config::Tasks;
use crate::humanize::bytes;
use crate::sqlite::JournalMode;
use crate::task::TaskKind;
use crate::tasks::access::Access;
use crate::tasks::context::TaskContext;
use crate::tasks::dry_run::DryRun;
use crate::tasks::inspection::Inspection;
use crate::tasks::lock_contention;
use crate::tasks::problem::ExpectedProblem;
use crate::tasks::problem::ProblemKind;
use crate::tasks::report::Report;
use crate::tasks::report::TaskReport;
use crate::tasks::report::parse;
use crate::tasks::stop::Stop;
use crate::tasks::task::Task;

use self::report::BackupReport;
use self::run::check_directory;
use self::run::required_space;

/// The task `backup`.
pub(super) struct Backup;

impl Task for Backup {
    fn kind(&self) -> TaskKind {
        TaskKind::Backup
    }

    fn help(&self) -> &'static str {
        "Copy the database into a directory, verify the copy, and remove the oldest"
    }

    fn example(&self) -> &'static str {
        "{to: /srv/backups}"
    }

    fn access(&self) -> Access {
        Access::Copies
    }

    fn needs_backup_identity(&self) -> bool {
        true
    }

    fn verify_interval(&self, settings: &Tasks) -> Option<Duration> {
        settings.backup.as_ref()?.verify_interval
    }

    fn hold_label(&self) -> Option<&'static str> {
        Some("longest wait of a writer")
    }

    fn run(&self, context: &TaskContext<'_>) -> Result<Report, Stop> {
        run::run(context.settings(self.kind(), |tasks| tasks.backup.as_ref())?, context)
    }

    fn dry_run(
        &self,
        context: &TaskContext<'_>,
        inspection: &Inspection,
        dry_run: &mut DryRun,
    ) -> Result<(), Stop> {
        let settings = context.settings(self.kind(), |tasks| tasks.backup.as_ref())?;
        dry_run.owner = match inspection.header.journal_mode {
            JournalMode::Wal => lock_contention::owner_notice(context),
            JournalMode::Rollback => {
                lock_contention::owner_notice_for_reader(context, settings.max_writer_wait)
            }
        };
        dry_run.estimate_by_size(context.history.rate);
        let needed = check_directory(settings).and_then(|()| required_space(settings, &inspection.header));
        if let Some(needed) = dry_run.note_stop(needed) {
            if needed.available_bytes < needed.bytes {
                dry_run.note("the file system of the backups has too little free space");
            }
            dry_run.needs = vec![needed];
        }
        Ok(())
    }

    fn parse_report(&self, json: &serde_json::Value) -> Option<Arc<dyn TaskReport>> {
        parse::<BackupReport>(json)
    }

    fn expects_problems(&self) -> bool {
        true
    }

    fn expected_problems(
        &self,
        context: &TaskContext<'_>,
        inspection: &Inspection,
    ) -> Result<Vec<ExpectedProblem>, Stop> {
        let needed = context.settings(self.kind(), |tasks| tasks.backup.as_ref()).and_then(|settings| {
            check_directory(settings).and_then(|()| required_space(settings, &inspection.header))
        });
        let message = match needed {
            Err(stop) => Some(stop.message),
            Ok(need) => (need.available_bytes < need.bytes).then(|| {
                let (needed, free) = (bytes(need.bytes), bytes(need.available_bytes));
                format!("{}: a backup needs {needed}, but {free} are free", need.directory)
            }),
        };
        let problem =
            |message| ExpectedProblem { task: self.kind(), kind: ProblemKind::BackupFails, message };
        Ok(message.into_iter().map(problem).collect())
    }
}
