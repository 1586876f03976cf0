//! A run of a scrub, and what it would do.

use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::time::Instant;
use std::time::SystemTime;

use litekeeper_scrub::Error;
use litekeeper_scrub::LedgerDirectory;
use litekeeper_scrub::Outcome;
use litekeeper_scrub::Progress;
use litekeeper_scrub::ScrubRequest;

use crate::config;
use crate::humanize::bytes;
use crate::humanize::counted;
use crate::tasks::context::ScrubResources;
use crate::tasks::context::TaskContext;
use crate::tasks::dry_run::DryRun;
use crate::tasks::dry_run::ScrubDryRun;
use crate::tasks::reason::FailureReason;
use crate::tasks::reason::SkipReason;
use crate::tasks::report::Report;
use crate::tasks::scrub::places::places;
use crate::tasks::scrub::report::ScrubReport;
use crate::tasks::stop::Stop;

/// Reads and judges the database, or continues a run that was stopped.
pub(super) fn run(task: &config::Scrub, context: &TaskContext<'_>) -> Result<Report, Stop> {
    let (resources, request) = request(task, context)?;
    context.progress.begin("scrub");
    let mut last = Progress::default();
    let outcome = resources.readers.scrub(&request, &mut |progress| {
        last = progress;
        let share = progress.bytes_done as f64 / progress.bytes_total.max(1) as f64;
        context.progress.update(share.min(1.0), &bytes(progress.bytes_done));
        if end_of(context).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match outcome.map_err(|error| failed(&error))? {
        Outcome::Completed(found) => {
            let wanted = found.mismatches.iter().map(|mismatch| mismatch.page).collect();
            let report = ScrubReport::new(&found, &places(&wanted, context));
            match damage(&report) {
                None => Ok(Report::new(std::time::Duration::ZERO, report)),
                Some(message) => {
                    let report = Report::new(std::time::Duration::ZERO, report);
                    Err(Stop::failed(FailureReason::Corrupt, message).with_report(report))
                }
            }
        }
        Outcome::Stopped(progress) => Err(stopped(progress, context)),
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

/// What ends a run early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Canceled,
    WindowCloses,
    Timeout,
}

fn end_of(context: &TaskContext<'_>) -> Option<End> {
    if context.limits.cancel.is_cancelled() {
        return Some(End::Canceled);
    }
    context.limits.deadline.filter(|deadline| Instant::now() >= *deadline)?;
    let closes = context.must_end_by.is_some_and(|end| SystemTime::now() >= end);
    Some(if closes { End::WindowCloses } else { End::Timeout })
}

/// A run that was ended early. Its position is in the ledger.
fn stopped(progress: Progress, context: &TaskContext<'_>) -> Stop {
    let read = format!("{} of {} were read", bytes(progress.bytes_done), bytes(progress.bytes_total));
    let rest = "and the next run continues there";
    match end_of(context) {
        Some(End::WindowCloses) => {
            Stop::skipped(SkipReason::OutsideWindow, format!("the window has closed: {read}, {rest}"))
        }
        Some(End::Timeout) => {
            Stop::failed(FailureReason::Timeout, format!("the timeout has ended: {read}, {rest}"))
        }
        Some(End::Canceled) | None => {
            Stop::failed(FailureReason::Canceled, format!("stopped: {read}, {rest}"))
        }
    }
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
