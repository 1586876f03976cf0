//! Whether a vacuum is worth it and may run: thresholds, replication, row ids, schema and space.

use std::time::SystemTime;

use crate::collectors::Consistent;
use crate::collectors::read_consistently;
use crate::config::Vacuum;
use crate::humanize::bytes;
use crate::sqlite::AutoVacuum;
use crate::sqlite::Header;

use crate::tasks::context::TaskContext;
use crate::tasks::inspection::Inspection;

use crate::tasks::preflight;
use crate::tasks::reason::SkipReason;
use crate::tasks::stop::Stop;
use crate::tasks::vacuum::hold::content;
use crate::tasks::vacuum::hold::expected;
use crate::tasks::vacuum::report::Method;
use crate::tasks::vacuum::space::space_requirements;

/// Whether free pages are worth a vacuum.
fn check_threshold(task: &Vacuum, header: &Header) -> Result<(), Stop> {
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
    Err(Stop::skipped(SkipReason::BelowThreshold, detail))
}

/// How a database would be vacuumed.
pub(super) fn method(task: &Vacuum, header: &Header) -> Method {
    match header.auto_vacuum {
        AutoVacuum::Incremental => Method::Incremental,
        AutoVacuum::None | AutoVacuum::Full if task.convert_auto_vacuum => Method::FullThenIncremental,
        AutoVacuum::None | AutoVacuum::Full => Method::Full,
    }
}

/// Checks what every vacuum needs: enough to reclaim, no replication, and the right to write.
pub(super) fn check(task: &Vacuum, context: &TaskContext<'_>, inspection: &Inspection) -> Result<(), Stop> {
    let header = &inspection.header;
    check_threshold(task, header)?;
    check_replication(task, context, &inspection.tables)?;
    preflight::check_writable(
        context.database,
        header.journal_mode,
        task.write_limits.allow_network_filesystem,
    )
}

fn check_replication(task: &Vacuum, context: &TaskContext<'_>, tables: &[String]) -> Result<(), Stop> {
    match preflight::replicator(context.database, tables) {
        Some(replicator) if !task.allow_replicated => {
            let detail = format!(
                "{replicator} replicates the database and would transfer all of it again; `allow_replicated: on` permits the vacuum"
            );
            Err(Stop::skipped(SkipReason::Replicated, detail))
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks for indexes that depend on row ids. A VACUUM renumbers the rows of a table without an
/// INTEGER PRIMARY KEY
/// (<https://www.sqlite.org/lang_vacuum.html>).
pub(super) fn check_row_ids(broken: &[(String, String)]) -> Result<(), Stop> {
    let Some((table, index)) = broken.first() else { return Ok(()) };
    let more = if broken.len() > 1 { format!(" (and {} more)", broken.len() - 1) } else { String::new() };
    let detail = format!(
        "{index} finds the rows of {table} by their row ids{more}. A VACUUM changes these, because {table} has no INTEGER PRIMARY \
         KEY, and searches would find the wrong rows. Recreate the table with an INTEGER PRIMARY KEY, in a migration of the \
         application; or stop the application, run VACUUM manually and then rebuild the index, as with INSERT INTO index(index) \
         VALUES ('rebuild')"
    );
    Err(Stop::skipped(SkipReason::UnstableRowIds, detail))
}

/// Checks that the schema needs nothing that only the application has. A full VACUUM rebuilds every
/// table and index, and fails otherwise.
pub(super) fn check_schema(context: &TaskContext<'_>) -> Result<(), Stop> {
    let database = context.database;
    let read = read_consistently(&database.path, &database.files, context.limits, |reader| {
        reader.unknown_to_rebuild()
    });
    // If the schema cannot be read, the vacuum cannot start either, and reports the reason.
    let Ok(Consistent::Read { answer: Some(part), .. }) = read else { return Ok(()) };
    let detail = format!(
        "a full VACUUM rebuilds every table and index, which SQLite cannot do without the application: {part}. Let the \
         application run VACUUM itself; if it sets auto_vacuum = INCREMENTAL before that, litekeeper can run later vacuums"
    );
    Err(Stop::skipped(SkipReason::NeedsApplication, detail))
}

/// Checks that a full VACUUM has enough space in every directory, and enough time in its window.
pub(super) fn check_space_and_window(
    task: &Vacuum,
    context: &TaskContext<'_>,
    header: &Header,
) -> Result<(), Stop> {
    let temporary = &context.history.temporary_directory;
    for need in space_requirements(&context.database.path, header, temporary, task.min_free_space)? {
        if need.available_bytes < need.bytes {
            let detail = format!(
                "{} in {} needs {} including min_free_space ({}), but {} are free",
                need.purpose,
                need.directory,
                bytes(need.bytes),
                bytes(task.min_free_space),
                bytes(need.available_bytes)
            );
            return Err(Stop::skipped(SkipReason::NoSpace, detail));
        }
    }
    let expected = expected(header, context.history.rate);
    context.progress.message(&format!(
        "a full VACUUM of {} will hold the write lock for about {:.1} s",
        bytes(content(header)),
        expected.as_secs_f64()
    ));
    if context.must_end_by.is_some_and(|end| SystemTime::now() + expected > end) {
        let detail =
            format!("a full VACUUM would take about {} s, and the window ends earlier", expected.as_secs());
        return Err(Stop::skipped(SkipReason::OutsideWindow, detail));
    }
    Ok(())
}
