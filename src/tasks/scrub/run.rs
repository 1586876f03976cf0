//! A run of a scrub, and what it would do.

use std::num::NonZeroU64;
use std::ops::ControlFlow;

use litekeeper_scrub::Error;
use litekeeper_scrub::LedgerDirectory;
use litekeeper_scrub::Outcome;
use litekeeper_scrub::ScrubRequest;

use crate::config;
use crate::humanize::bytes;
use crate::humanize::counted;
use crate::tasks::backup::page_lookup::backups_with_pages;
use crate::tasks::context::ScrubResources;
use crate::tasks::context::TaskContext;
use crate::tasks::dry_run::DryRun;
use crate::tasks::dry_run::ScrubDryRun;
use crate::tasks::reason::FailureReason;
use crate::tasks::reason::SkipReason;
use crate::tasks::report::Report;
use crate::tasks::scrub::end::ended;
use crate::tasks::scrub::end::is_to_end;
use crate::tasks::scrub::places::name_pages;
use crate::tasks::scrub::report::ScrubReport;
use crate::tasks::scrub::sealed;
use crate::tasks::stop::Stop;
use crate::tasks::stop::StopReason;

/// Reads and judges the database, or continues a run that was stopped; then compares its sealed
/// rows. Neither result hides the other.
pub(super) fn run(task: &config::Scrub, context: &TaskContext<'_>) -> Result<Report, Stop> {
    let (resources, request) = request(task, context)?;
    let (mut report, damage) = match scrub_pages(resources, &request, context) {
        Ok(report) => {
            let damage = damage(&report).map(|message| Stop::failed(FailureReason::Corrupt, message));
            (report, damage)
        }
        Err(stop) if is_over(&stop) => return Err(stop),
        Err(stop) => (ScrubReport::default(), Some(stop)),
    };
    let (tables, finding) = sealed::compare(resources, context);
    report.sealed = tables;
    let report = Report::new(sealed::max_hold(&report.sealed), report);
    match joined(damage, finding) {
        None => Ok(report),
        Some(stop) => Err(stop.with_report(report)),
    }
}

/// Whether a run ends with its pages.
fn is_over(stop: &Stop) -> bool {
    matches!(
        stop.reason,
        StopReason::Skipped(_) | StopReason::Failed(FailureReason::Timeout | FailureReason::Canceled)
    )
}

/// What is to be said of the pages and of the sealed rows, with the reason of the pages.
fn joined(pages: Option<Stop>, rows: Option<Stop>) -> Option<Stop> {
    match (pages, rows) {
        (Some(pages), Some(rows)) => {
            Some(Stop { message: format!("{}; {}", pages.message, rows.message), ..pages })
        }
        (pages, rows) => pages.or(rows),
    }
}

fn scrub_pages(
    resources: &ScrubResources,
    request: &ScrubRequest,
    context: &TaskContext<'_>,
) -> Result<ScrubReport, Stop> {
    context.progress.begin("scrub");
    let outcome = resources.readers.scrub(request, &mut |progress| {
        let share = progress.bytes_done as f64 / progress.bytes_total.max(1) as f64;
        context.progress.update(share.min(1.0), &bytes(progress.bytes_done));
        if is_to_end(context) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match outcome.map_err(|error| failed(&error))? {
        Outcome::Completed(found) => {
            let wanted = found.mismatches.iter().map(|mismatch| mismatch.page).collect();
            let expected =
                found.mismatches.iter().filter_map(|one| Some((one.page, one.expected?))).collect();
            let backups = backups_with_pages(&expected, context);
            let database = context.database;
            let names = name_pages(&database.path, &database.files, &wanted, &context.limits.cancel);
            Ok(ScrubReport::new(&found, &names, &backups))
        }
        Outcome::Stopped(progress) => {
            let read = format!("{} of {} were read", bytes(progress.bytes_done), bytes(progress.bytes_total));
            // The position is in the ledger.
            Err(ended(context, &format!("{read}, and the next run continues there")))
        }
    }
}

/// Says what a run would read, how long that takes, and how much of it can be verified.
pub(super) fn dry_run(
    task: &config::Scrub,
    context: &TaskContext<'_>,
    dry_run: &mut DryRun,
) -> Result<(), Stop> {
    let (resources, request) = request(task, context)?;
    let preview = resources.readers.preview(&request).map_err(|error| failed(&error))?;
    dry_run.expected_seconds = preview.elapsed.map(|elapsed| elapsed.as_secs_f64());
    dry_run.scrub = Some(ScrubDryRun {
        mode: preview.mode.label(),
        pages: preview.pages,
        read_bytes: preview.bytes,
        bytes_per_second: task.rate,
        verifiable_pages: preview.verifiable_pages,
        unverifiable_pages: preview
            .unverifiable_pages
            .iter()
            .map(|(reason, pages)| (reason.label(), *pages))
            .collect(),
    });
    Ok(())
}

fn request<'c>(
    task: &config::Scrub,
    context: &'c TaskContext<'_>,
) -> Result<(&'c ScrubResources, ScrubRequest), Stop> {
    let Some(resources) = &context.history.scrub else {
        let message = "a scrub needs a state file on disk, beside which it keeps the hashes of pages; name one by `state` in \
                       the configuration";
        return Err(Stop::failed(FailureReason::Config, message));
    };
    let ledgers = LedgerDirectory::new(&resources.ledgers);
    let mut request = ScrubRequest::new(&context.database.path, ledgers);
    request.bytes_per_second = NonZeroU64::new(task.rate);
    Ok((resources, request))
}

fn failed(error: &Error) -> Stop {
    let message = error.to_string();
    match error {
        Error::Busy { .. } => Stop::skipped(SkipReason::Overlap, message),
        Error::NotFound { .. }
        | Error::PermissionDenied { .. }
        | Error::Read { .. }
        | Error::NotADatabase { .. }
        | Error::Ledger { .. }
        | Error::Reader { .. } => Stop::failed(FailureReason::Io, message),
    }
}

/// What was found and what to do, in one message; `None` if nothing was.
fn damage(report: &ScrubReport) -> Option<String> {
    let first = report.findings.first()?;
    let others = match report.result.mismatches.saturating_sub(1) {
        0 => String::new(),
        others => format!(", and {} more", counted(others, "page")),
    };
    Some(format!(
        "{}{others}: nobody wrote these bytes; keep every backup, and see `litekeeper runbook SqliteScrubFoundDamage`, and accept the \
         pages as they are by `litekeeper scrub --accept FILE` only if they are right",
        first.summary()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_pages_and_findings_in_rows_do_not_hide_each_other() {
        let pages = || Some(Stop::failed(FailureReason::Corrupt, "page 7"));
        let rows = || Some(Stop::failed(FailureReason::Constraint, "1 changed"));
        let said = |stop: Option<Stop>| stop.map(|stop| (stop.reason, stop.message));
        let failed = |reason, message: &str| Some((StopReason::Failed(reason), message.to_owned()));
        assert_eq!(said(joined(pages(), rows())), failed(FailureReason::Corrupt, "page 7; 1 changed"));
        assert_eq!(said(joined(None, rows())), failed(FailureReason::Constraint, "1 changed"));
        assert_eq!(said(joined(pages(), None)), failed(FailureReason::Corrupt, "page 7"));
        assert_eq!(said(joined(None, None)), None);
    }
}
