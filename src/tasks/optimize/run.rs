//! Runs `ANALYZE` on the tables whose statistics are missing or stale.

use std::time::Duration;

use crate::config::Optimize;
use crate::sqlite::is_own_timeout;

use crate::tasks::context::TaskContext;
use crate::tasks::inspection::Inspection;
use crate::tasks::inspection::inspect_for_write;
use crate::tasks::lock_contention::LockContention;

use super::report::OptimizeReport;
use crate::tasks::preflight;
use crate::tasks::reason::SkipReason;
use crate::tasks::report::Report;
use crate::tasks::stop::Stop;

/// The fewest rows of an index that still tell something: what a table that takes too long is tried
/// with.
const MIN_ANALYSIS_ROWS: u32 = 100;

/// An analysis that takes this many times the target hold is aborted, as in every other task.
const MAX_HOLD_FACTOR: u32 = 5;

/// Message for tables that are omitted.
const NEEDS_APPLICATION: &str =
    "not analyzed, because only the application can do so (with PRAGMA optimize on its own connection)";

/// Message if there is nothing to do.
pub(super) const UP_TO_DATE: &str = "the statistics of every table are up to date";

/// Updates outdated statistics.
pub(super) fn run(task: &Optimize, context: &TaskContext<'_>) -> Result<Report, Stop> {
    let Inspection { header, .. } = inspect_for_write(context)?;
    let write_limits = task.write_limits;
    preflight::check_writable(context.database, header.journal_mode, write_limits.allow_network_filesystem)?;
    let mut writer = preflight::open_writer(context, write_limits.lock_timeout)?;
    let mut contention = LockContention::new(context.database, &context.progress);
    contention.await_turn(&writer, write_limits.target_lock_hold, context.limits);
    let listed = writer.retry_while_busy(write_limits.lock_timeout, |writer| writer.stale_statistics())?;
    let stale = listed.value;
    if stale.is_empty() {
        return Err(Stop::skipped(SkipReason::BelowThreshold, UP_TO_DATE));
    }
    contention.pause(&mut writer, listed.hold, Duration::ZERO, write_limits.pause_ratio);
    context.progress.begin("statistics");
    let longest = write_limits.target_lock_hold * MAX_HOLD_FACTOR;
    let mut max_hold = listed.hold;
    let mut done = OptimizeReport::default();
    let mut failure = None;
    for (index, analysis) in stale.iter().enumerate() {
        let mut analyze = |rows, contention: &mut LockContention| {
            contention.await_turn(&writer, write_limits.target_lock_hold, context.limits);
            writer
                .retry_while_busy(write_limits.lock_timeout, |writer| writer.analyze(analysis, rows, longest))
        };
        let mut held = analyze(task.analysis_limit, &mut contention);
        if held.as_ref().is_err_and(|error| is_own_timeout(error, context.limits)) {
            held = analyze(MIN_ANALYSIS_ROWS, &mut contention);
        }
        match held {
            Ok(held) => {
                done.analyzed.push(analysis.table.clone());
                max_hold = max_hold.max(held.hold);
                contention.pause(&mut writer, held.hold, held.commit, write_limits.pause_ratio);
            }
            Err(error) if is_own_timeout(&error, context.limits) => {
                max_hold = max_hold.max(longest);
                done.too_slow.push(analysis.table.clone());
                contention.pause(&mut writer, longest, Duration::ZERO, write_limits.pause_ratio);
            }
            Err(error) if error.is_missing_part() => {
                done.not_possible.push(format!("{}: {error}", analysis.table));
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
        context.progress.update((index + 1) as f64 / stale.len() as f64, &analysis.table);
    }
    if !done.too_slow.is_empty() {
        context.progress.message(&format!(
            "not analyzed within {} ms; raise target_lock_hold if the application can wait longer: {}",
            longest.as_millis(),
            done.too_slow.join(", ")
        ));
    }
    if !done.not_possible.is_empty() {
        context.progress.message(&format!("{}: {}", NEEDS_APPLICATION, done.not_possible.join("; ")));
    }
    let report = Report::new(max_hold, done);
    match failure {
        None => Ok(report),
        Some(error) => Err(Stop::from(error).with_report(report)),
    }
}
