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
use crate::task::Task;

use super::Context;
use super::Inspection;
use super::Observer;
use super::Past;
use super::backup;
use super::dry_run::Forecast;
use super::dry_run::TableForecast;
use super::dry_run::note;
use super::preflight;
use super::references;
use super::retention::Conditions;
use super::retention::Plan;
use super::retention::PlanError;
use super::retention::Seen;
use super::retention::iso;
use super::retention::plan;
use super::survey;
use super::time_bounds::look_at_times;
use super::vacuum::Need;

/// What a configured task will meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeseenKind {
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
pub struct Foreseen {
    /// The task.
    pub task: Task,
    /// What kind of thing.
    pub kind: ForeseenKind,
    /// What, in words.
    pub message: String,
}

/// What configured tasks will meet when they run on the database as it is now: a time format that is not known, foreign keys that
/// are not decided, a table or directory that is not there. The same is said by their dry runs; here, no row is counted.
///
/// # Errors
/// Why the database could not be looked at.
pub fn foresee(database: &Database, limits: &QueryLimits) -> Result<Vec<Foreseen>, String> {
    let tasks = &database.settings.tasks;
    if tasks.log_cleaning.is_none() && tasks.backup.is_none() {
        return Ok(Vec::new());
    }
    let past = Past::default();
    let context = Context {
        database,
        now: SystemTime::now(),
        clock: ClockReading::read(),
        must_end_by: None,
        limits,
        past: &past,
        observer: Arc::new(Unheard),
    };
    let survey = survey(&context).map_err(|outcome| outcome.message().unwrap_or_default().to_owned())?;
    let mut found = Vec::new();
    let mut add = |task, kind, message| found.push(Foreseen { task, kind, message });
    if let Some(task) = &tasks.log_cleaning {
        for table in tables(task, &context, survey.header.journal_mode, false)? {
            let named = |words: String| {
                if words.starts_with(&table.table) { words } else { format!("{}: {words}", table.table) }
            };
            for (kind, words) in [
                (ForeseenKind::Fails, &table.would_fail),
                (ForeseenKind::Stays, &table.note),
                (ForeseenKind::Slow, &table.slow),
                (ForeseenKind::SlowReference, &table.slow_references),
            ] {
                words.iter().for_each(|words| add(Task::LogCleaning, kind, named(words.clone())));
            }
        }
    }
    if let Some(task) = &tasks.backup {
        let refused =
            backup::refuse_without_directory(task).and_then(|()| backup::need(task, &survey.header));
        let message = match refused {
            Err(outcome) => outcome.message().map(str::to_owned),
            Ok(need) => (need.available_bytes < need.bytes).then(|| {
                let (needed, free) = (bytes(need.bytes), bytes(need.available_bytes));
                format!("{}: a backup needs {needed}, and {free} are free", need.directory)
            }),
        };
        message.into_iter().for_each(|message| add(Task::Backup, ForeseenKind::Fails, message));
    }
    Ok(found)
}

/// Hears nothing.
struct Unheard;

impl Observer for Unheard {
    fn begin(&self, _part: &str) {}
    fn done(&self, _share: f64, _words: &str) {}
    fn say(&self, _words: &str) {}
}

/// Adds what a log cleaning would do to a dry run.
pub(super) fn add(task: &LogCleaning, context: &Context<'_>, found: &Inspection, forecast: &mut Forecast) {
    let journal_mode = found.header.journal_mode;
    if let Err(outcome) = preflight::refuse_unless_writable(
        context.database,
        journal_mode,
        task.write_limits.allow_network_filesystem,
    ) {
        note(forecast, outcome.message());
    }
    match tables(task, context, journal_mode, true) {
        Ok(mut tables) => {
            for table in &mut tables {
                for words in [table.slow_references.take(), table.slow.take()] {
                    references::note(&mut table.note, words);
                }
            }
            forecast.needs = needs(task, &tables);
            forecast.tables = tables;
        }
        Err(words) => note(forecast, Some(&words)),
    }
}

/// The room that the archives need.
fn needs(task: &LogCleaning, tables: &[TableForecast]) -> Vec<Need> {
    let need = |(retention, table): (&Retention, &TableForecast)| {
        let directory = retention.archive.as_deref()?;
        let available = preflight::filesystem(&preflight::c_path(directory)).ok()?.available_bytes;
        let directory = directory.display().to_string();
        Some(Need { purpose: "archive", directory, bytes: table.bytes?, available_bytes: available })
    };
    task.tables.iter().zip(tables).filter_map(need).collect()
}

/// What is known of each table; rows are counted where `is_counted` says so. Otherwise, why nothing could be read.
fn tables(
    task: &LogCleaning,
    context: &Context<'_>,
    journal_mode: JournalMode,
    is_counted: bool,
) -> Result<Vec<TableForecast>, String> {
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
    context: &Context<'_>,
    (journal_mode, is_counted): (JournalMode, bool),
) -> Result<TableForecast, SqliteError> {
    let mut table = TableForecast { table: retention.table.clone(), ..TableForecast::default() };
    // Ahead of the night, a sample of the rows says enough.
    let look = look_at_times(context.database, if is_counted { journal_mode } else { JournalMode::Rollback });
    let conditions = Conditions { foreign_keys: task.foreign_keys, now: context.now, look };
    let mut seen = Seen::default();
    let planned = plan(reader, retention, conditions, &mut seen);
    (table.times, table.note, table.kept) = (seen.times, seen.note, seen.kept);
    let column = retention.column.as_deref();
    match planned {
        Ok(Some(plan)) => {
            describe(&plan, column, &mut table);
            if is_counted {
                count(reader, &plan, context, journal_mode, &mut table)?;
            } else {
                references::note(&mut table.note, references::protected(&plan));
            }
            if let Some(words) = retention.archive.as_deref().and_then(|archive| too_small(archive, &table)) {
                references::note(&mut table.note, Some(words));
            }
        }
        Ok(None) => table.rows = Some(0),
        Err(PlanError::Sqlite(error)) => return Err(error),
        Err(PlanError::Late(words)) => table.note = Some(words),
        Err(error @ (PlanError::Config(_) | PlanError::Clock(_) | PlanError::Archive(_))) => {
            table.would_fail = Some(error.to_string());
        }
    }
    Ok(table)
}

/// Says when an archive's disk is smaller than what would go there.
fn too_small(archive: &Path, table: &TableForecast) -> Option<String> {
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

fn describe(plan: &Plan, column: Option<&str>, table: &mut TableForecast) {
    table.cutoff = plan.cutoff.map(iso);
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
    context: &Context<'_>,
    journal_mode: JournalMode,
    table: &mut TableForecast,
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
            let moment = |value: Option<_>| value.and_then(|value| plan.moment(&value)).map(iso);
            table.oldest = moment(expired.oldest);
            table.newest = moment(expired.newest);
            table.expected_seconds = context.past.rate.map(|rate| expired.rows as f64 / rate.max(1.0));
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
            references::note(&mut table.note, Some(format!("not counted within {limit:?}")));
            Ok(())
        }
        Err(error) => Err(error),
    }
}
