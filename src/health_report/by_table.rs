//! A check table by table, each in a read transaction of its own, with pauses for the owner's
//! writes.

use std::time::Duration;
use std::time::Instant;

use crate::span::Operation;
use crate::sqlite::ChangeCounter;
use crate::sqlite::Check;
use crate::sqlite::Checked;
use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::Finding;
use crate::sqlite::Header;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::impact_limits::ImpactMonitor;
use super::impact_limits::yield_to_writers;
use super::progress::CheckProgress;
use super::report::CheckReport;
use super::report::Report;
use super::report::Request;
use super::sqlite_check::checked_or_damage;
use super::sqlite_check::operation_of;

/// Rounds over the tables that had to give way, before they count as not checked.
const MAX_ROUNDS: u32 = 4;

/// Checks table by table, each in a read transaction of its own, and gives way between and within
/// them.
///
/// A table that has no problem in an `inexact` copy, whose pages are of different moments, has
/// none: damage stays until somebody repairs it, and so is in such a copy. A problem there may come
/// from the mix, so that the database itself has to be asked.
pub(super) fn check_by_table(
    reader: &mut Reader,
    inexact: Option<&mut Reader>,
    check: Check,
    request: &Request,
    header: &Header,
    progress: &impl CheckProgress,
    report: &mut Report,
) -> Result<(), SqliteError> {
    let started = Instant::now();
    let operation = Operation::begin(operation_of(check), None);
    // The handler of the whole check would end every statement from here on.
    reader.end_progress()?;
    let mut left: Vec<String> = reader.tables_to_check(check)?;
    let count = left.len();
    let mut all = Checked::default();
    // Slices that all read the same state of the database see as much as one check of the whole.
    let mut states = vec![reader.change_counter()];
    if let Some(copy) = inexact {
        left.retain(|table| match check_in_copy(copy, check, table) {
            Some(found) => {
                all.add(table, found);
                states.push(None);
                false
            }
            None => true,
        });
    }
    for _ in 0..MAX_ROUNDS {
        let mut again = Vec::new();
        for table in left {
            let (checked, monitor) = check_one_table(reader, check, &table, &mut states, request, header)?;
            let hold = monitor.hold();
            report.max_hold = report.max_hold.max(hold);
            match checked {
                Ok(found) => all.add(&table, found),
                Err(_) if monitor.limit_exceeded() => again.push(table),
                Err(error) => return operation.record_result(Err(error)),
            }
            progress.done(1.0 - again.len() as f64 / count as f64);
            pause_after_hold(hold, reader, request)?;
        }
        left = again;
        if left.is_empty() {
            break;
        }
    }
    let mut accounted = check == Check::ForeignKey;
    let mut rounds = 0..MAX_ROUNDS;
    while left.is_empty() && !accounted && rounds.next().is_some() {
        if let Some(found) = account_for_pages(reader, request, header, report)? {
            accounted = true;
            all.findings.extend(found);
            states.push(reader.change_counter());
        }
    }
    states.dedup();
    all.whole = accounted && matches!(states.as_slice(), [Some(_)]);
    let checked = CheckReport::new(check.label(), all, started.elapsed().as_secs_f64());
    operation.problems(checked.problems.len());
    if left.is_empty() || !checked.ok {
        report.checks.push(checked);
    }
    if !left.is_empty() {
        note_unchecked(check, &left, count, report);
    }
    Ok(())
}

/// Checks one table in a transaction of its own.
fn check_one_table(
    reader: &mut Reader,
    check: Check,
    table: &str,
    states: &mut Vec<Option<ChangeCounter>>,
    request: &Request,
    header: &Header,
) -> Result<(Result<Checked, SqliteError>, ImpactMonitor), SqliteError> {
    yield_to_writers(reader, &request.limits)?;
    reader.header()?;
    let monitor = ImpactMonitor::watch(request.impact_limits, header, reader);
    states.push(reader.change_counter());
    let watched = monitor.clone();
    reader.on_progress(move |work| watched.should_continue(work))?;
    Ok((checked_or_damage(reader.check_table(check, table), check), monitor))
}

/// Says which tables have no verdict, and why.
fn note_unchecked(check: Check, left: &[String], count: usize, report: &mut Report) {
    let no_copy = report
        .no_copy
        .as_ref()
        .map(|reason| format!("; no private copy was checked: {reason}"))
        .unwrap_or_default();
    report.error = Some(format!(
        "{} check: the owner is at work, and {} of {count} tables could not be checked without keeping it waiting: {}; raise \
         max_writer_wait (rollback) or max_wal_growth (WAL), or check when it rests{no_copy}",
        check.label(),
        left.len(),
        left.join(", "),
    ));
    report.error_kind = Some(ErrorKind::Sqlite(ErrorCode::Busy));
}

/// What a check of one table of an inexact copy finds, if that is no problem.
fn check_in_copy(copy: &mut Reader, check: Check, table: &str) -> Option<Checked> {
    let found = copy.check_table(check, table).ok()?;
    (!found.findings.iter().any(|finding| finding.kind.is_problem())).then_some(found)
}

/// The last piece of a check by tables: that every page has one use, and fits its checksum where it
/// has one. `None` where it had to give way.
fn account_for_pages(
    reader: &mut Reader,
    request: &Request,
    header: &Header,
    report: &mut Report,
) -> Result<Option<Vec<Finding>>, SqliteError> {
    yield_to_writers(reader, &request.limits)?;
    reader.header()?;
    let monitor = ImpactMonitor::watch(request.impact_limits, header, reader);
    let watched = monitor.clone();
    reader.on_progress(move |work| watched.should_continue(work))?;
    let found = reader.check_pages();
    let hold = monitor.hold();
    report.max_hold = report.max_hold.max(hold);
    pause_after_hold(hold, reader, request)?;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(_) if monitor.limit_exceeded() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lets writers have their turn after a lock that kept them from committing, so that an owner
/// without a busy timeout is refused a few of its writes in a hundred: total time is spent for it.
fn pause_after_hold(hold: Duration, reader: &mut Reader, request: &Request) -> Result<(), SqliteError> {
    const FACTOR: u32 = 20;
    const STEP: Duration = Duration::from_millis(20);
    if request.impact_limits.is_none() || hold.is_zero() {
        return Ok(());
    }
    reader.end_transaction()?;
    let until = Instant::now() + hold * FACTOR;
    while Instant::now() < until && !request.limits.is_exceeded() {
        std::thread::sleep(STEP.min(until.saturating_duration_since(Instant::now())));
    }
    reader.header().map(|_| ())
}
