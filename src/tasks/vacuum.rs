//! Vacuum: gives free pages back to the file system, when that is worth it.
//!
//! Procedure: look how much is free; skip below the thresholds. A database with `auto_vacuum=INCREMENTAL` is done in slices of
//! about 20 ms (see `contention`) with pauses. Any other is written anew by VACUUM, if every disk that it needs has room, in its window,
//! and its WAL is emptied after. Price of a full one: the write lock for all of it (110 MiB/s measured), as much
//! temporary space as the database has content, and as much again in the WAL or journal. Why not always so: nobody can
//! write meanwhile, and its last part cannot be stopped.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use crate::collectors::Consistent;
use crate::collectors::read_consistently;
use crate::config::Vacuum;
use crate::humanize::bytes;
use crate::os::stat;
use crate::span::Operation;
use crate::span::Transactions;
use crate::sqlite::AutoVacuum;
use crate::sqlite::Checkpoint;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::SqliteError;
use crate::sqlite::Writer;
use crate::sqlite::is_own_timeout;
use crate::task::TaskKind;

use super::Inspection;
use super::TaskContext;
use super::batch_sizer::BatchSizer;
use super::inspect_for_write;
use super::lock_contention::LockContention;
use super::outcome::Details;
use super::outcome::FailureReason;
use super::outcome::Outcome;
use super::outcome::Report;
use super::outcome::SkipReason;
use super::preflight;
use super::vacuum_hold::check_max_hold;
use super::vacuum_hold::content;
use super::vacuum_hold::expected;

/// Pages of the first slice.
const FIRST_SLICE: u32 = 100;

/// How a database is vacuumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// In slices.
    Incremental,
    /// By VACUUM.
    Full,
    /// By VACUUM, after which it can be done in slices.
    FullThenIncremental,
}

/// What was won.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VacuumReport {
    /// How.
    pub method: Method,
    /// Pages times their size, before.
    pub size_before_bytes: u64,
    /// The same after.
    pub size_after_bytes: u64,
    /// The difference.
    pub saved_bytes: u64,
    /// The difference as a part of the size before, in per cent.
    pub saved_percent: f64,
    /// Whether every free page is gone.
    pub complete: bool,
    /// Whether the WAL was emptied; `None` outside WAL mode.
    pub wal_truncated: Option<bool>,
}

/// Room that a full VACUUM needs in one directory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpaceRequirement {
    /// What for.
    pub purpose: &'static str,
    /// Where.
    pub directory: String,
    /// How much, `min_free_space` included.
    pub bytes: u64,
    /// How much there is.
    pub available_bytes: u64,
}

/// Whether free pages are worth a vacuum.
pub(super) fn check_threshold(task: &Vacuum, header: &Header) -> Result<(), Outcome> {
    let (pages, free) = (u64::from(header.pages), u64::from(header.freelist_pages));
    let reclaimable = free * u64::from(header.page_size);
    let ratio = free as f64 / pages.max(1) as f64;
    if reclaimable >= task.min_reclaimable.bytes && ratio >= task.min_reclaimable.ratio && free > 0 {
        return Ok(());
    }
    let detail = if free == 0 {
        "the database has no free page".to_owned()
    } else {
        format!(
            "{} ({:.1} %) could be reclaimed; `min_reclaimable` is {} and {:.1} %",
            bytes(reclaimable),
            ratio * 100.0,
            bytes(task.min_reclaimable.bytes),
            task.min_reclaimable.ratio * 100.0
        )
    };
    Err(Outcome::skipped(SkipReason::BelowThreshold, detail))
}

/// How a database would be vacuumed.
pub(super) fn method(task: &Vacuum, header: &Header) -> Method {
    match header.auto_vacuum {
        AutoVacuum::Incremental => Method::Incremental,
        AutoVacuum::None | AutoVacuum::Full if task.convert_auto_vacuum => Method::FullThenIncremental,
        AutoVacuum::None | AutoVacuum::Full => Method::Full,
    }
}

/// The room that a full VACUUM needs, place by place: the copy in the temporary directory, and beside the database the WAL
/// with the whole copy, or the rollback journal with what was there
/// (<https://www.sqlite.org/lang_vacuum.html>).
///
/// # Errors
/// A failed run, where a file system does not say how much room it has.
pub fn space_requirements(
    database: &Path,
    header: &Header,
    temporary: &Path,
    min_free_space: u64,
) -> Result<Vec<SpaceRequirement>, Outcome> {
    /// A frame of the WAL is a page with a header of 24 bytes.
    const FRAME_SHARE: u64 = 20;
    let copy = content(header);
    let (purpose, beside) = match header.journal_mode {
        JournalMode::Wal => ("WAL", copy + copy / FRAME_SHARE),
        JournalMode::Rollback => ("rollback journal", u64::from(header.pages) * u64::from(header.page_size)),
    };
    let home = preflight::directory_of(database);
    let temporary = CString::new(temporary.as_os_str().as_bytes()).unwrap_or_default();
    let need = |purpose, directory: &CString, bytes: u64| -> Result<SpaceRequirement, Outcome> {
        let facts = preflight::filesystem(directory)?;
        let directory = directory.to_string_lossy().into_owned();
        Ok(SpaceRequirement {
            purpose,
            directory,
            bytes: bytes + min_free_space,
            available_bytes: facts.available_bytes,
        })
    };
    let device = |directory: &CString| stat(directory).ok().flatten().map(|stat| stat.device);
    if device(&home).is_some() && device(&home) == device(&temporary) {
        return Ok(vec![need("temporary copy and journal or WAL", &home, copy + beside)?]);
    }
    Ok(vec![need("temporary copy", &temporary, copy)?, need(purpose, &home, beside)?])
}

/// Vacuums the database if that is worth it.
pub(super) fn run(task: &Vacuum, context: &TaskContext<'_>) -> Outcome {
    run_inner(task, context).unwrap_or_else(|outcome| outcome)
}

fn run_inner(task: &Vacuum, context: &TaskContext<'_>) -> Result<Outcome, Outcome> {
    let Inspection { header, tables, broken_by_vacuum: broken, .. } =
        inspect_for_write(TaskKind::Vacuum, context)?;
    check_threshold(task, &header)?;
    check_replication(task, context, &tables)?;
    preflight::check_writable(
        context.database,
        header.journal_mode,
        task.write_limits.allow_network_filesystem,
    )?;
    let method = method(task, &header);
    if method != Method::Incremental {
        check_row_ids(&broken)?;
        check_schema(context)?;
        check_max_hold(task, context, &header)?;
        check_space_and_window(task, context, &header)?;
    }
    let failed = |error: SqliteError| Outcome::of(&error, None);
    let mut writer = preflight::open_writer(context, task.write_limits.lock_timeout).map_err(failed)?;
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
        JournalMode::Wal => Some(truncate_wal(&mut writer, context, &header, &mut held).map_err(failed)?),
    };
    let (pages, free) = writer.pages().map_err(failed)?;
    let size_before = u64::from(header.pages) * u64::from(header.page_size);
    let size_after = pages * u64::from(header.page_size);
    let saved = size_before.saturating_sub(size_after);
    let report = Report {
        max_hold: held,
        details: Details::Vacuum(VacuumReport {
            method,
            size_before_bytes: size_before,
            size_after_bytes: size_after,
            saved_bytes: saved,
            saved_percent: (1000.0 * saved as f64 / size_before.max(1) as f64).round() / 10.0,
            complete: free == 0,
            wal_truncated,
        }),
    };
    Ok(match result {
        Ok(()) => Outcome::Success(report),
        Err(error) => Outcome::of(&error, Some(report)),
    })
}

pub(super) fn check_replication(
    task: &Vacuum,
    context: &TaskContext<'_>,
    tables: &[String],
) -> Result<(), Outcome> {
    match preflight::replicator(context.database, tables) {
        Some(replicator) if !task.allow_replicated => {
            let detail = format!(
                "{replicator} replicates the database and would send all of it again; `allow_replicated: on` vacuums it all the same"
            );
            Err(Outcome::skipped(SkipReason::Replicated, detail))
        }
        Some(_) | None => Ok(()),
    }
}

/// A VACUUM numbers the rows anew where no INTEGER PRIMARY KEY is their id (<https://www.sqlite.org/lang_vacuum.html>).
pub(super) fn check_row_ids(broken: &[(String, String)]) -> Result<(), Outcome> {
    let Some((table, index)) = broken.first() else { return Ok(()) };
    let more = if broken.len() > 1 { format!(" (and {} more)", broken.len() - 1) } else { String::new() };
    let detail = format!(
        "{index} finds the rows of {table} by their row ids{more}, and a VACUUM changes these, as {table} has no INTEGER PRIMARY \
         KEY: searches would find the wrong rows. Have the application make the table anew with an INTEGER PRIMARY KEY; or \
         stop it, run VACUUM by hand and rebuild the index after it, as by INSERT INTO index(index) VALUES ('rebuild')"
    );
    Err(Outcome::skipped(SkipReason::UnstableRowIds, detail))
}

/// A full VACUUM makes every table and index anew, and ends where SQLite needs what only the application has.
pub(super) fn check_schema(context: &TaskContext<'_>) -> Result<(), Outcome> {
    let database = context.database;
    let read = read_consistently(&database.path, &database.files, context.limits, |reader| {
        reader.unknown_to_rebuild()
    });
    // Whatever keeps the schema from being read keeps the vacuum from beginning too, which says so.
    let Ok(Consistent::Read { answer: Some(part), .. }) = read else { return Ok(()) };
    let detail = format!(
        "a full VACUUM makes every table and index anew, and SQLite cannot do that without the application: {part}. Have the \
         application run VACUUM; with auto_vacuum = INCREMENTAL, which it would set before that, litekeeper gives free pages back \
         without it"
    );
    Err(Outcome::skipped(SkipReason::NeedsApplication, detail))
}

/// A full VACUUM begins only where it can end: with room in every place, and within its window.
fn check_space_and_window(task: &Vacuum, context: &TaskContext<'_>, header: &Header) -> Result<(), Outcome> {
    let temporary = &context.history.temporary_directory;
    for need in space_requirements(&context.database.path, header, temporary, task.min_free_space)? {
        if need.available_bytes < need.bytes {
            let detail = format!(
                "{} in {} needs {}, {} of them as min_free_space, and {} are free",
                need.purpose,
                need.directory,
                bytes(need.bytes),
                bytes(task.min_free_space),
                bytes(need.available_bytes)
            );
            return Err(Outcome::skipped(SkipReason::NoSpace, detail));
        }
    }
    let expected = expected(header, context.history.rate);
    context.progress.message(&format!(
        "a full VACUUM of {} will hold the write lock for about {:.1} s",
        bytes(content(header)),
        expected.as_secs_f64()
    ));
    if context.must_end_by.is_some_and(|end| SystemTime::now() + expected > end) {
        let detail = format!("it would take about {} s, longer than its window is open", expected.as_secs());
        return Err(Outcome::skipped(SkipReason::OutsideWindow, detail));
    }
    Ok(())
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
        context.progress.message("the database was vacuumed, but did not become one with incremental vacuum");
    }
    Ok(())
}

/// Slice after slice, until as many pages as were free at the beginning are gone: the owner may free more meanwhile.
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

/// Brings the WAL into the main file, which only then becomes shorter, and empties it if nobody is in the way.
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
