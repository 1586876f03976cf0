//! What a log cleaning would do, and the problems that it would meet.

use std::path::Path;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::read_preferably_unlocked;
use crate::config::LogCleaning;
use crate::config::Retention;
use crate::humanize::bytes;
use crate::sqlite::ErrorKind;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;
use crate::task::TaskKind;

use crate::collectors::date;
use crate::tasks::context::TaskContext;
use crate::tasks::dry_run::DryRun;
use crate::tasks::dry_run::TableDryRun;
use crate::tasks::inspection::Inspection;
use crate::tasks::log_cleaning::kept;
use crate::tasks::log_cleaning::plan::Plan;
use crate::tasks::log_cleaning::plan::PlanError;
use crate::tasks::log_cleaning::plan::PlanInputs;
use crate::tasks::log_cleaning::plan::PlanNotes;
use crate::tasks::log_cleaning::planning::plan;
use crate::tasks::log_cleaning::references;
use crate::tasks::log_cleaning::time_bounds::scan_timeout;
use crate::tasks::preflight;
use crate::tasks::problem::ExpectedProblem;
use crate::tasks::problem::ProblemKind;
use crate::tasks::reason::FailureReason;
use crate::tasks::space::SpaceRequirement;
use crate::tasks::space::c_path;
use crate::tasks::space::filesystem;
use crate::tasks::stop::Stop;

/// Problems that the tables of a log cleaning will meet, without a count of rows.
pub(super) fn expected_problems(
    task: &LogCleaning,
    context: &TaskContext<'_>,
    inspection: &Inspection,
) -> Result<Vec<ExpectedProblem>, Stop> {
    let mut problems = Vec::new();
    for table in tables(task, context, inspection.header.journal_mode, false)? {
        let named = |words: String| {
            if words.starts_with(&table.table) { words } else { format!("{}: {words}", table.table) }
        };
        for (kind, words) in [
            (ProblemKind::CleaningFails, &table.would_fail),
            (ProblemKind::RowsStay, &table.note),
            (ProblemKind::SlowCleaning, &table.slow),
            (ProblemKind::SlowReference, &table.slow_references),
        ] {
            let message = words.iter().cloned().map(named);
            problems.extend(message.map(|message| ExpectedProblem {
                task: TaskKind::LogCleaning,
                kind,
                message,
            }));
        }
    }
    Ok(problems)
}

/// Adds what a log cleaning would do to a dry run.
pub(super) fn add(
    task: &LogCleaning,
    context: &TaskContext<'_>,
    inspection: &Inspection,
    dry_run: &mut DryRun,
) {
    let journal_mode = inspection.header.journal_mode;
    let allow_network_filesystem = task.write_limits.allow_network_filesystem;
    dry_run.note_stop(preflight::check_writable(context.database, journal_mode, allow_network_filesystem));
    match tables(task, context, journal_mode, true) {
        Ok(mut tables) => {
            for table in &mut tables {
                for words in [table.slow_references.take(), table.slow.take()] {
                    references::note(&mut table.note, words);
                }
            }
            dry_run.needs = archive_space(task, &tables);
            dry_run.tables = tables;
        }
        Err(stop) => dry_run.note(stop.message),
    }
}

/// The space that the archives need.
fn archive_space(task: &LogCleaning, tables: &[TableDryRun]) -> Vec<SpaceRequirement> {
    let need = |(retention, table): (&Retention, &TableDryRun)| {
        let directory = retention.archive.as_deref()?;
        let available = filesystem(&c_path(directory)).ok()?.available_bytes;
        let directory = directory.display().to_string();
        Some(SpaceRequirement {
            purpose: "archive",
            directory,
            bytes: table.bytes?,
            available_bytes: available,
        })
    };
    task.tables.iter().zip(tables).filter_map(need).collect()
}

/// What is known of each table; rows are counted where `is_counted` says so. Otherwise, why nothing
/// could be read.
fn tables(
    task: &LogCleaning,
    context: &TaskContext<'_>,
    journal_mode: JournalMode,
    is_counted: bool,
) -> Result<Vec<TableDryRun>, Stop> {
    let database = context.database;
    let read = read_preferably_unlocked(&database.path, &database.files, context.limits, |reader| {
        let one = |retention| of_table(reader, (task, retention), context, (journal_mode, is_counted));
        task.tables.iter().map(one).collect::<Result<Vec<_>, _>>()
    });
    match read {
        Ok(Consistent::Read { answer, .. }) => Ok(answer),
        Ok(Consistent::Unstable) => {
            let message = "the files of the database are created and removed while they are read";
            Err(Stop::failed(FailureReason::Busy, message))
        }
        Err(ConsistentReadError::Query(error)) => Err(error.into()),
        Err(error @ (ConsistentReadError::Missing | ConsistentReadError::Stat(_))) => {
            Err(Stop::failed(FailureReason::Io, error.to_string()))
        }
    }
}

fn of_table(
    reader: &mut Reader,
    (task, retention): (&LogCleaning, &Retention),
    context: &TaskContext<'_>,
    (journal_mode, is_counted): (JournalMode, bool),
) -> Result<TableDryRun, SqliteError> {
    let mut table = TableDryRun { table: retention.table.clone(), ..TableDryRun::default() };
    // Ahead of the night, a sample of the rows says enough.
    let scan_time =
        scan_timeout(context.database, if is_counted { journal_mode } else { JournalMode::Rollback });
    let inputs = PlanInputs { foreign_keys: task.foreign_keys, now: context.now, scan_time };
    let mut notes = PlanNotes::default();
    let planned = plan(reader, retention, inputs, &mut notes);
    (table.times, table.note, table.kept) = (notes.times, notes.note, notes.kept);
    let column = retention.column.as_deref();
    match planned {
        Ok(Some(plan)) => {
            describe(&plan, column, &mut table);
            if is_counted {
                count(reader, &plan, context, journal_mode, &mut table)?;
            } else {
                references::note(&mut table.note, references::protection_note(&plan));
            }
            if let Some(words) = retention.archive.as_deref().and_then(|archive| too_small(archive, &table)) {
                references::note(&mut table.note, Some(words));
            }
        }
        Ok(None) => table.rows = Some(0),
        Err(PlanError::Sqlite(error)) => return Err(error),
        Err(PlanError::TimedOut(words)) => table.note = Some(words),
        Err(error @ (PlanError::Config(_) | PlanError::Clock(_) | PlanError::Archive(_))) => {
            table.would_fail = Some(error.to_string());
        }
    }
    Ok(table)
}

/// Says when an archive's disk is smaller than what would go there.
fn too_small(archive: &Path, table: &TableDryRun) -> Option<String> {
    let needed = table.bytes?;
    let available = filesystem(&c_path(archive)).ok()?.available_bytes;
    (available < needed).then(|| {
        let (needed, free) = (bytes(needed), bytes(available));
        format!(
            "the archive directory {} has space for only some of the rows: they are about {needed}, and {free} are free; the rest \
             stays in the table",
            archive.display()
        )
    })
}

fn describe(plan: &Plan, column: Option<&str>, table: &mut TableDryRun) {
    table.cutoff = plan.cutoff.map(date);
    table.expired_by = plan.expired_by;
    table.format = plan.format.clone();
    table.index = if !plan.walk.is_by_time() {
        None
    } else if let Some(index) = column.and_then(|column| plan.shape.index_on(column)) {
        Some(index.name.clone())
    } else {
        Some(if plan.cutoff.is_some() { "primary key" } else { "row id" }.to_owned())
    };
    (table.slow, table.slow_references) =
        (references::slow_walk(plan, column), references::slow_references(plan));
}

fn count(
    reader: &mut Reader,
    plan: &Plan,
    context: &TaskContext<'_>,
    journal_mode: JournalMode,
    table: &mut TableDryRun,
) -> Result<(), SqliteError> {
    // A writer of a rollback database waits for a count; the time for it is short there.
    let limit = match journal_mode {
        JournalMode::Wal => context.database.settings.count_timeout * 10,
        JournalMode::Rollback => context.database.settings.count_timeout,
    };
    match reader.expired(&plan.walk, limit) {
        Ok(expired) => {
            table.rows = Some(expired.rows);
            table.kept.extend(kept::kept(&expired.left));
            table.others = kept::others(expired.others.iter().map(|(what, tally)| (what, tally)));
            references::note(&mut table.note, references::words(&table.table, &table.kept, None));
            table.bytes = Some(expired.bytes);
            let moment = |value: Option<_>| value.and_then(|value| plan.moment(&value)).map(date);
            table.oldest = moment(expired.oldest);
            table.newest = moment(expired.newest);
            table.expected_seconds = context.history.rate.map(|rate| expired.rows as f64 / rate.max(1.0));
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
            references::note(&mut table.note, Some(format!("not counted within {limit:?}")));
            Ok(())
        }
        Err(error) => Err(error),
    }
}
