//! Runs a vacuum: in slices, or at once.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Vacuum;
use crate::span::Operation;
use crate::span::Transactions;
use crate::sqlite::AutoVacuum;
use crate::sqlite::Checkpoint;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::SqliteError;
use crate::sqlite::Writer;
use crate::sqlite::is_own_timeout;

use crate::tasks::batch_sizer::BatchSizer;
use crate::tasks::context::TaskContext;
use crate::tasks::inspection::inspect_for_write;
use crate::tasks::lock_contention::LockContention;

use crate::tasks::preflight;
use crate::tasks::reason::FailureReason;
use crate::tasks::report::Report;
use crate::tasks::stop::Stop;
use crate::tasks::vacuum::hold::check_max_hold;
use crate::tasks::vacuum::hold::expected;
use crate::tasks::vacuum::preflight::check;
use crate::tasks::vacuum::preflight::check_row_ids;
use crate::tasks::vacuum::preflight::check_schema;
use crate::tasks::vacuum::preflight::check_space_and_window;
use crate::tasks::vacuum::preflight::method;
use crate::tasks::vacuum::report::Method;
use crate::tasks::vacuum::report::VacuumReport;

/// Pages of the first slice.
const FIRST_SLICE: u32 = 100;

/// Vacuums the database if that is worth it.
pub(super) fn run(task: &Vacuum, context: &TaskContext<'_>) -> Result<Report, Stop> {
    let inspection = inspect_for_write(context)?;
    let header = inspection.header;
    check(task, context, &inspection)?;
    let method = method(task, &header);
    if method != Method::Incremental {
        check_row_ids(&inspection.broken_by_vacuum)?;
        check_schema(context)?;
        check_max_hold(task, context, &header)?;
        check_space_and_window(task, context, &header)?;
    }
    let mut writer = preflight::open_writer(context, task.write_limits.lock_timeout)?;
    let mut held = Duration::ZERO;
    let result = match method {
        Method::Incremental => {
            incremental(&mut writer, task, context, u64::from(header.freelist_pages), &mut held)
        }
        Method::Full => full(&mut writer, task, context, &header, None, &mut held),
        Method::FullThenIncremental => {
            full(&mut writer, task, context, &header, Some(AutoVacuum::Incremental), &mut held)
        }
    };
    let wal_truncated = match header.journal_mode {
        JournalMode::Rollback => None,
        JournalMode::Wal => Some(truncate_wal(&mut writer, context, &header, &mut held)?),
    };
    let (pages, free) = writer.pages()?;
    let size_before = u64::from(header.pages) * u64::from(header.page_size);
    let size_after = pages * u64::from(header.page_size);
    let saved = size_before.saturating_sub(size_after);
    let details = VacuumReport {
        method,
        size_before_bytes: size_before,
        size_after_bytes: size_after,
        saved_bytes: saved,
        saved_percent: (1000.0 * saved as f64 / size_before.max(1) as f64).round() / 10.0,
        complete: free == 0,
        wal_truncated,
    };
    let report = Report::new(held, details);
    match result {
        Ok(()) => Ok(report),
        Err(error) => Err(Stop::from(error).with_report(report)),
    }
}

fn full(
    writer: &mut Writer,
    task: &Vacuum,
    context: &TaskContext<'_>,
    header: &Header,
    convert: Option<AutoVacuum>,
    held: &mut Duration,
) -> Result<(), SqliteError> {
    context.progress.begin("vacuum");
    let expected = expected(header, context.history.rate).as_secs_f64().max(0.001);
    let operation = Operation::begin("VACUUM", None);
    let vacuumed = writer.retry_while_busy(task.write_limits.lock_timeout, |writer| {
        let progress = Arc::clone(&context.progress);
        // The last part, which copies the result back, reports nothing.
        writer
            .vacuum(convert, move |elapsed| progress.update((elapsed.as_secs_f64() / expected).min(0.99), ""))
    });
    let hold = operation.record_result(vacuumed)?;
    operation.held(hold.hold);
    drop(operation);
    *held = (*held).max(hold.hold);
    if let Some(kind) = convert
        && writer.auto_vacuum()? != kind
    {
        context
            .progress
            .message("the database was vacuumed, but auto_vacuum could not be changed to INCREMENTAL");
    }
    Ok(())
}

/// Slice after slice, until as many pages as were free at the beginning are gone: the owner may
/// free more meanwhile.
fn incremental(
    writer: &mut Writer,
    task: &Vacuum,
    context: &TaskContext<'_>,
    free: u64,
    held: &mut Duration,
) -> Result<(), SqliteError> {
    context.progress.begin("vacuum");
    let operation = Operation::begin("PRAGMA incremental_vacuum", None);
    let mut transactions = Transactions::default();
    let result = run_slices(writer, task, context, free, &mut transactions);
    transactions.record_on(&operation);
    *held = (*held).max(transactions.longest());
    operation.record_result(result)
}

fn run_slices(
    writer: &mut Writer,
    task: &Vacuum,
    context: &TaskContext<'_>,
    free: u64,
    transactions: &mut Transactions,
) -> Result<(), SqliteError> {
    let mut contention = LockContention::new(context.database, &context.progress);
    let mut sizer = BatchSizer::new(FIRST_SLICE, task.write_limits.target_lock_hold);
    let mut gone = 0;
    while gone < free {
        sizer.set_target(contention.await_turn(writer, task.write_limits.target_lock_hold, context.limits));
        let (units, limit) = (sizer.units(), sizer.limit());
        let slice = writer.retry_while_busy(task.write_limits.lock_timeout, |writer| {
            writer.incremental_vacuum(units, limit)
        });
        let slice = match slice {
            Ok(slice) => slice,
            Err(error) if is_own_timeout(&error, context.limits) && sizer.shrink() => {
                transactions.add(0, limit);
                contention.pause(writer, limit, Duration::ZERO, task.write_limits.pause_ratio);
                continue;
            }
            // What is done is done; the next run does the rest.
            Err(error) if FailureReason::from_error(&error) == FailureReason::Timeout => return Ok(()),
            Err(error) => return Err(error),
        };
        gone += u64::from(units);
        transactions.add(u64::from(units), slice.hold);
        context.progress.update((gone as f64 / free as f64).min(1.0), "");
        sizer.record(units, slice.hold, slice.commit);
        if writer.pages()?.1 == 0 {
            break;
        }
        contention.pause(writer, slice.hold, slice.commit, task.write_limits.pause_ratio);
    }
    Ok(())
}

/// Brings the WAL into the main file, which only then becomes shorter, and empties it if nobody is
/// in the way.
fn truncate_wal(
    writer: &mut Writer,
    context: &TaskContext<'_>,
    header: &Header,
    held: &mut Duration,
) -> Result<bool, SqliteError> {
    writer.checkpoint(Checkpoint::Passive)?;
    // An owner with the WAL-reset bug gets no more than that.
    if preflight::has_wal_reset_bug(header.writer_version) {
        return Ok(false);
    }
    LockContention::new(context.database, &context.progress).await_turn(
        writer,
        Duration::MAX,
        context.limits,
    );
    let emptied = writer.checkpoint(Checkpoint::Truncate)?;
    *held = (*held).max(emptied.hold);
    Ok(!emptied.value.busy)
}
