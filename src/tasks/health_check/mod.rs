//! Health check: SQLite's own checks and the statistics that `litekeeper check` shows.
//!
//! The checks run on the whole database at once; where that would keep its owner waiting or let
//! its WAL grow, table by table with pauses. They read the whole file, 1.1 GB/s (quick) or 0.26
//! GB/s (full) from a warm cache, and take no lock that a writer of a WAL database would notice.
//! Only a check of the whole database sees the freelist, unused pages and pages that two tables
//! use, so table by table is not the default.

mod findings;
pub(super) mod report;

use std::sync::Arc;

use crate::config;
use crate::config::Tasks;
use crate::health_report;
use crate::health_report::ImpactLimits;
use crate::health_report::Request;
use crate::health_report::Status;
use crate::limits::QueryLimits;
use crate::os::lost_locks;
use crate::sqlite::Check;
use crate::sqlite::JournalMode;
use crate::task::TaskKind;
use crate::tasks::access::Access;
use crate::tasks::context::READ_BUSY_TIMEOUT;
use crate::tasks::context::TaskContext;
use crate::tasks::dry_run::DryRun;
use crate::tasks::inspection::Inspection;
use crate::tasks::lock_contention;
use crate::tasks::progress::ReportProgress;
use crate::tasks::report::Report;
use crate::tasks::report::TaskReport;
use crate::tasks::report::parse;
use crate::tasks::stop::Stop;
use crate::tasks::task::Task;
use crate::tasks::verdict::Verdict;

use self::findings::findings;
use self::findings::reason_of;
use self::findings::verdict;
use self::report::HealthReport;

/// The task `health_check`, or its quick check alone, which has a schedule of its own.
pub(super) struct HealthCheck {
    pub quick: bool,
}

impl Task for HealthCheck {
    fn kind(&self) -> TaskKind {
        if self.quick { TaskKind::QuickCheck } else { TaskKind::HealthCheck }
    }

    fn help(&self) -> &'static str {
        "Check integrity and foreign keys, and report sizes and row counts"
    }

    fn example(&self) -> &'static str {
        "{quick: on}"
    }

    fn access(&self) -> Access {
        Access::Reads
    }

    fn is_check(&self) -> bool {
        true
    }

    fn hold_label(&self) -> Option<&'static str> {
        None
    }

    fn checks(&self, settings: &Tasks) -> Vec<Check> {
        settings.health_check.as_ref().map(|settings| checks(settings, self.quick)).unwrap_or_default()
    }

    fn run(&self, context: &TaskContext<'_>) -> Result<Report, Stop> {
        run(context.settings(self.kind(), |tasks| tasks.health_check.as_ref())?, self.quick, context)
    }

    fn dry_run(
        &self,
        context: &TaskContext<'_>,
        inspection: &Inspection,
        dry_run: &mut DryRun,
    ) -> Result<(), Stop> {
        let settings = context.settings(self.kind(), |tasks| tasks.health_check.as_ref())?;
        if inspection.header.journal_mode == JournalMode::Rollback {
            dry_run.owner = lock_contention::owner_notice_for_reader(context, settings.max_writer_wait);
        }
        dry_run.checks = checks(settings, self.quick).iter().map(|check| check.label()).collect();
        dry_run.estimate_by_size(context.history.rate);
        Ok(())
    }

    fn parse_report(&self, json: &serde_json::Value) -> Option<Arc<dyn TaskReport>> {
        parse::<HealthReport>(json)
    }
}

/// The checks of a run, the most thorough first.
fn checks(task: &config::HealthCheck, quick: bool) -> Vec<Check> {
    match (quick, task.foreign_keys) {
        (true, _) => vec![Check::Quick],
        (false, true) => vec![Check::Full, Check::ForeignKey],
        (false, false) => vec![Check::Full],
    }
}

/// Checks the database.
fn run(task: &config::HealthCheck, quick: bool, context: &TaskContext<'_>) -> Result<Report, Stop> {
    let database = context.database;
    let checks = checks(task, quick);
    let request = Request {
        path: database.path.clone(),
        rows: database.settings.row_counts.clone(),
        checks: checks.clone(),
        by_table: false,
        impact_limits: Some(ImpactLimits {
            max_writer_wait: task.max_writer_wait,
            max_wal_growth: task.max_wal_growth,
            owner_busy_timeout: database.settings.owner_busy_timeout,
        }),
        limits: QueryLimits { busy_timeout: READ_BUSY_TIMEOUT, ..context.limits.clone() },
    };
    let mut report = health_report::report(&request, &ReportProgress(Arc::clone(&context.progress)));
    // The verdict is on the file; what such a process commits may not be in it.
    report.lost_locks = lost_locks(&database.files).iter().map(ToString::to_string).collect();
    for lost in &report.lost_locks {
        context.progress.message(&format!("{lost}; see `litekeeper runbook SqliteOwnerLostLocks`"));
    }
    let verdicts: Vec<Verdict> =
        checks.iter().filter_map(|check| verdict(&report, *check, checks[0])).collect();
    let (status, error, kind) = (report.status, report.error.clone(), report.error_kind);
    let checked_bytes = report.files.as_ref().map_or(0, |files| files.main_bytes);
    let findings = findings(&verdicts);
    let max_hold = report.max_hold;
    let report = Report::new(max_hold, HealthReport { report: Some(report), verdicts, checked_bytes });
    match (findings, error) {
        (Some((reason, message)), _) => Err(Stop::failed(reason, message).with_report(report)),
        (None, Some(message)) => Err(Stop::failed(reason_of(kind), message).with_report(report)),
        // A row count that is missing does not make a database ill.
        (None, None) => {
            debug_assert_ne!(status, Status::Problems, "problems without a verdict");
            Ok(report)
        }
    }
}
