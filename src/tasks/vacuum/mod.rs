//! Vacuum: gives free pages back to the file system if enough can be reclaimed.
//!
//! A database with `auto_vacuum=INCREMENTAL` is vacuumed in slices of about 20 ms with pauses in
//! between (see `lock_contention`). Any other is rewritten by VACUUM, if every disk that it needs
//! has the space, and its WAL is emptied afterwards. A full VACUUM holds the write lock all the
//! time (110 MiB/s measured), needs as much temporary space as the database has content, and the
//! same again in the WAL or journal. It is not the default because nobody can write meanwhile and
//! its last part cannot be stopped.

mod hold;
mod preflight;
pub(super) mod report;
mod run;
pub(super) mod space;

use std::sync::Arc;

use crate::sqlite::Header;
use crate::task::TaskKind;
use crate::tasks::access::Access;
use crate::tasks::context::TaskContext;
use crate::tasks::dry_run::DryRun;
use crate::tasks::inspection::Inspection;
use crate::tasks::lock_contention;
use crate::tasks::report::Report;
use crate::tasks::report::TaskReport;
use crate::tasks::report::parse;
use crate::tasks::stop::Stop;
use crate::tasks::task::Task;

use self::preflight::method;
use self::report::Method;
use self::report::VacuumReport;

/// The task `vacuum`.
pub(super) struct Vacuum;

impl Task for Vacuum {
    fn kind(&self) -> TaskKind {
        TaskKind::Vacuum
    }

    fn help(&self) -> &'static str {
        "Return free pages to the file system"
    }

    fn example(&self) -> &'static str {
        "{}"
    }

    fn access(&self) -> Access {
        Access::Writes
    }

    fn run(&self, context: &TaskContext<'_>) -> Result<Report, Stop> {
        run::run(context.settings(self.kind(), |tasks| tasks.vacuum.as_ref())?, context)
    }

    fn dry_run(
        &self,
        context: &TaskContext<'_>,
        inspection: &Inspection,
        dry_run: &mut DryRun,
    ) -> Result<(), Stop> {
        let settings = context.settings(self.kind(), |tasks| tasks.vacuum.as_ref())?;
        let header: &Header = &inspection.header;
        let method = method(settings, header);
        dry_run.owner = lock_contention::owner_notice(context);
        dry_run.method = Some(method);
        dry_run.reclaimable_bytes = Some(u64::from(header.freelist_pages) * u64::from(header.page_size));
        dry_run.note_stop(preflight::check(settings, context, inspection));
        if method == Method::Incremental {
            return Ok(());
        }
        dry_run.note_stop(
            preflight::check_row_ids(&inspection.broken_by_vacuum)
                .and_then(|()| preflight::check_schema(context)),
        );
        dry_run.expected_seconds = Some(hold::expected(header, context.history.rate).as_secs_f64());
        dry_run.max_lock_hold_seconds = Some(hold::max_lock_hold(settings, context).as_secs_f64());
        dry_run.note_stop(hold::check_max_hold(settings, context, header));
        let temporary = &context.history.temporary_directory;
        dry_run.needs =
            space::space_requirements(&context.database.path, header, temporary, settings.min_free_space)?;
        if dry_run.needs.iter().any(|need| need.available_bytes < need.bytes) {
            dry_run.note("a file system has too little free space");
        }
        Ok(())
    }

    fn parse_report(&self, json: &serde_json::Value) -> Option<Arc<dyn TaskReport>> {
        parse::<VacuumReport>(json)
    }
}
