//! What a log cleaning would do, and why it would fail: the dry run of a task, and what is looked at ahead of the night.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::collectors::Consistent;
use crate::collectors::read_preferably_unlocked;
use crate::config::LogCleaning;
use crate::config::Retention;
use crate::database::Database;
use crate::humanize::bytes;
use crate::limits::QueryLimits;
use crate::os::ClockReading;
use crate::sqlite::ErrorKind;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;
use crate::task::TaskKind;

use super::Inspection;
use super::Progress;
use super::TaskContext;
use super::TaskHistory;
use super::backup;
use super::dry_run::DryRun;
use super::dry_run::TableDryRun;
use super::dry_run::note;
use super::inspect;
use super::preflight;
use super::references;
use super::retention::Plan;
use super::retention::PlanError;
use super::retention::PlanInputs;
use super::retention::PlanNotes;
use super::retention::plan;
use super::time_bounds::scan_timeout;
use super::vacuum::SpaceRequirement;
use crate::collectors::date;

/// What a configured task will meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The run will fail.
    Fails,
    /// Rows will stay.
    Stays,
    /// It will be slow, as no index serves it.
    Slow,
    /// It will be slow, as no index serves a foreign key.
    SlowReference,
}

/// Something that a configured task will meet on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedProblem {
    /// The task.
    pub task: TaskKind,
    /// What kind of thing.
    pub kind: ProblemKind,
    /// What, in words.
    pub message: String,
}

/// What configured tasks will meet when they run on the database as it is now: a time format that is not known, foreign keys that
/// are not decided, a table or directory that is not there. The same is said by their dry runs; here, no row is counted.
///
/// # Errors
/// Why the database could not be looked at.
pub fn expected_problems(database: &Database, limits: &QueryLimits) -> Result<Vec<ExpectedProblem>, String> {
    let tasks = &database.settings.tasks;
    if tasks.log_cleaning.is_none() && tasks.backup.is_none() {
        return Ok(Vec::new());
    }
    let history = TaskHistory::default();
    let context = TaskContext {
        database,
        now: SystemTime::now(),
        clock: ClockReading::read(),
        must_end_by: None,
        limits,
        history: &history,
        progress: Arc::new(Unheard),
    };
    let inspect = inspect(&context).map_err(|outcome| outcome.message().unwrap_or_default().to_owned())?;
    let mut found = Vec::new();
    let mut add = |task, kind, message| found.push(ExpectedProblem { task, kind, message });
    if let Some(task) = &tasks.log_cleaning {
        for table in tables(task, &context, inspect.header.journal_mode, false)? {
            let named = |words: String| {
                if words.starts_with(&table.table) { words } else { format!("{}: {words}", table.table) }
            };
            for (kind, words) in [
                (ProblemKind::Fails, &table.would_fail),
                (ProblemKind::Stays, &table.note),
                (ProblemKind::Slow, &table.slow),
                (ProblemKind::SlowReference, &table.slow_references),
            ] {
                words.iter().for_each(|words| add(TaskKind::LogCleaning, kind, named(words.clone())));
            }
        }
    }
    if let Some(task) = &tasks.backup {
        let refused =
            backup::check_directory(task).and_then(|()| backup::required_space(task, &inspect.header));
        let message = match refused {
            Err(outcome) => outcome.message().map(str::to_owned),
            Ok(need) => (need.available_bytes < need.bytes).then(|| {
                let (needed, free) = (bytes(need.bytes), bytes(need.available_bytes));
                format!("{}: a backup needs {needed}, and {free} are free", need.directory)
            }),
        };
        message.into_iter().for_each(|message| add(TaskKind::Backup, ProblemKind::Fails, message));
    }
    Ok(found)
}

/// Hears nothing.
struct Unheard;

impl Progress for Unheard {
    fn begin(&self, _part: &str) {}
    fn update(&self, _share: f64, _detail: &str) {}
    fn message(&self, _text: &str) {}
}

/// Adds what a log cleaning would do to a dry run.
pub(super) fn add(task: &LogCleaning, context: &TaskContext<'_>, found: &Inspection, dry_run: &mut DryRun) {
    let journal_mode = found.header.journal_mode;
    if let Err(outcome) =
        preflight::check_writable(context.database, journal_mode, task.write_limits.allow_network_filesystem)
    {
        note(dry_run, outcome.message());
    }
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
        Err(words) => note(dry_run, Some(&words)),
    }
}

/// The room that the archives need.
fn archive_space(task: &LogCleaning, tables: &[TableDryRun]) -> Vec<SpaceRequirement> {
    let need = |(retention, table): (&Retention, &TableDryRun)| {
        let directory = retention.archive.as_deref()?;
        let available = preflight::filesystem(&preflight::c_path(directory)).ok()?.available_bytes;
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

/// What is known of each table; rows are counted where `is_counted` says so. Otherwise, why nothing could be read.
fn tables(
    task: &LogCleaning,
    context: &TaskContext<'_>,
    journal_mode: JournalMode,
    is_counted: bool,
) -> Result<Vec<TableDryRun>, String> {
    let database = context.database;
    let read = read_preferably_unlocked(&database.path, &database.files, context.limits, |reader| {
        let one = |retention| of_table(reader, (task, retention), context, (journal_mode, is_counted));
        task.tables.iter().map(one).collect::<Result<Vec<_>, _>>()
    });
    match read {
        Ok(Consistent::Read { answer, .. }) => Ok(answer),
        Ok(Consistent::Unstable) => Err("the database's files come and go while they are read".to_owned()),
        Err(error) => Err(error.to_string()),
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
    let available = preflight::filesystem(&preflight::c_path(archive)).ok()?.available_bytes;
    (available < needed).then(|| {
        let (needed, free) = (bytes(needed), bytes(available));
        format!(
            "the archive directory {} has room for a part of the rows alone: they are about {needed}, and {free} are free; the rest \
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
            table.kept.extend(references::kept(&expired.left));
            table.others = references::others(expired.others.iter().map(|(what, tally)| (what, tally)));
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
