//! What a cleaning says about rows that stay because others refer to them, and about rows that go
//! along with the deleted ones.

use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use crate::config::Retention;
use crate::database::Database;
use crate::humanize::bytes;
use crate::humanize::counted;
use crate::sqlite::Archive;
use crate::sqlite::ReferenceRules;
use crate::sqlite::References;
use crate::sqlite::RowIdIndexes as _;
use crate::sqlite::ScanTable;
use crate::sqlite::TimeColumn;
use crate::sqlite::UnindexedReference;
use crate::sqlite::Writer;

use crate::collectors::date;
use crate::tasks::backup::directory::directory_error;
use crate::tasks::log_cleaning::kept::KeptBy;
use crate::tasks::log_cleaning::kept::KeptRows;
use crate::tasks::log_cleaning::kept::OtherRows;
use crate::tasks::log_cleaning::kept::kept;
use crate::tasks::log_cleaning::plan::Plan;
use crate::tasks::log_cleaning::plan::PlanError;
use crate::tasks::log_cleaning::report::TableReport;
use crate::tasks::space::c_path;
use crate::tasks::space::filesystem;

/// Why rows stay, and what can be done; `None` where none do.
pub(super) fn words(table: &str, kept: &[KeptRows], refusal: Option<&str>) -> Option<String> {
    let mut said: Vec<String> = Vec::new();
    for KeptRows { reason, referenced_by, rows } in kept {
        let rows = counted(*rows, "expired row");
        said.push(match (reason, referenced_by) {
            (KeptBy::ForeignKey, Some(other)) if other.eq_ignore_ascii_case(table) => format!(
                "{rows} of {table} stay, because newer rows of the same table refer to them by a foreign key; \
                 `set_null: [{table}]` sets these references to NULL and deletes the rows"
            ),
            (KeptBy::ForeignKey, other) => {
                let other = other.as_deref().unwrap_or_default();
                format!(
                    "{rows} of {table} stay, because rows of {other} refer to them by a foreign key; `cascade: [{other}]` deletes \
                     those rows too, `set_null: [{other}]` sets their reference to NULL"
                )
            }
            (KeptBy::Trigger, _) => {
                let why = match refusal {
                    Some(words) => format!("was refused ({words})"),
                    None => "had no effect, as with a trigger that has RAISE(IGNORE)".to_owned(),
                };
                format!("{rows} of {table} stay: their deletion {why}; a `condition` can leave them out")
            }
            (KeptBy::Condition, _) => format!("{rows} of {table} stay, because the `condition` is not true for them"),
            (KeptBy::KeepLatest, _) => format!("{rows} of {table} stay as the newest ones (keep_latest)"),
            // The note says so already.
            (KeptBy::Quiet, _) => continue,
        });
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// What refers to a table, read as the configuration has it.
pub(super) fn references(
    source: &impl TimeColumn,
    shape: &ScanTable,
    retention: &Retention,
    foreign_keys: Option<bool>,
) -> Result<References, PlanError> {
    let Retention { cascade, set_null, .. } = retention;
    let enforced = foreign_keys.unwrap_or(false);
    let is_followed = !cascade.is_empty() || !set_null.is_empty();
    if is_followed && !enforced {
        return Err(PlanError::Config(format!(
            "{}: `cascade` and `set_null` follow foreign keys, which need `foreign_keys: on` in the task",
            shape.name
        )));
    }
    let found = source.references(shape, ReferenceRules { enforced, cascade, set_null })?;
    let found = found.map_err(PlanError::Config)?;
    let losing = if enforced { found.tables_that_lose_rows() } else { vec![shape.name.clone()] };
    for table in &losing {
        if let Some((index, trigger)) = source.left_behind(table)?.into_iter().next() {
            return Err(PlanError::Config(format!(
                "the full-text index {index} holds the words of the rows of {table}, and no trigger takes them out when rows are \
                 deleted: searches would find rows that are gone, and later writes could damage the index. Have the application \
                 make {trigger}"
            )));
        }
    }
    check_archive(retention)?;
    Ok(found)
}

/// Below this, not even an archive of a few rows fits beside its journal.
const MIN_ARCHIVE_BYTES: u64 = 64 * 1024;

/// Refuses an archive directory in which nothing can be kept.
fn check_archive(retention: &Retention) -> Result<(), PlanError> {
    let Some(directory) = &retention.archive else { return Ok(()) };
    let problem = match directory_error(directory) {
        Some(problem) => problem.to_string(),
        None => match filesystem(&c_path(directory)) {
            // Some virtual file systems have no size.
            Ok(facts) if facts.size_bytes == 0 || facts.available_bytes >= MIN_ARCHIVE_BYTES => return Ok(()),
            Ok(facts) => format!("its file system is full ({} are free)", bytes(facts.available_bytes)),
            Err(stop) => stop.message,
        },
    };
    Err(PlanError::Archive(format!(
        "{}: the archive directory {}: {problem}",
        retention.table,
        directory.display()
    )))
}

/// Puts words before a note.
pub(super) fn note(note: &mut Option<String>, words: Option<String>) {
    if let Some(words) = words {
        *note = Some(note.take().map_or(words.clone(), |note| format!("{words}; {note}")));
    }
}

/// Looks whether expired rows stay at the end of a walk, where a trigger, a foreign key or a
/// condition may keep some. Returns why they stay.
pub(super) fn note_remaining_rows(
    writer: &mut Writer,
    (lock_timeout, limit): (Duration, Duration),
    plan: &Plan,
    table: &mut TableReport,
    refusal: Option<&str>,
) -> Option<String> {
    let may_stay = !plan.shape.delete_triggers.is_empty()
        || !plan.walk.references().is_empty()
        || plan.walk.has_condition();
    let words = if table.finished && (may_stay || refusal.is_some()) {
        match writer.retry_while_busy(lock_timeout, |writer| writer.left(&plan.walk, limit)) {
            Ok(left) => {
                table.kept.extend(kept(&left));
                words(&table.table, &table.kept, refusal)
            }
            Err(error) => Some(format!("whether expired rows stay is not known: {error}")),
        }
    } else {
        words(&table.table, &table.kept, refusal)
    };
    note(&mut table.note, words.clone());
    words
}

/// Says what would make the walk cheaper, if anything would.
pub(super) fn slow_walk(plan: &Plan, column: Option<&str>) -> Option<String> {
    let column = column.filter(|_| !plan.walk.is_by_time())?;
    let table = &plan.shape.name;
    if !plan.ordered {
        return Some(format!(
            "every row of {table} is looked at, since the order of the texts in {column} is not that of their times"
        ));
    }
    let problem = plan.shape.index_problem(column).map(|problem| format!(" ({problem})")).unwrap_or_default();
    Some(format!(
        "no index on {table}.{column} finds old rows{problem}: every row is looked at; the application should have {}",
        plan.shape.create_index(&[column])
    ))
}

/// Says which foreign keys make the deletion of a row slow.
pub(super) fn slow_references(plan: &Plan) -> Option<String> {
    let reference = |UnindexedReference { table, create_index }: UnindexedReference| {
        let remedy = match create_index {
            Some(statement) => format!("the application should have {statement}"),
            None => "the index there is of no use, as its column has another type or collation than what it refers to".to_owned(),
        };
        format!(
            "no index finds the rows of {table} that refer to a row of {}: all of them are looked at for each deleted row; {remedy}",
            plan.shape.name
        )
    };
    let found: Vec<String> = plan.walk.references().unindexed().into_iter().map(reference).collect();
    (!found.is_empty()).then(|| found.join("; "))
}

/// Says which tables keep rows that they refer to, and what can be done.
pub(super) fn protection_note(plan: &Plan) -> Option<String> {
    let tables = plan.walk.references().protecting_tables();
    (!tables.is_empty()).then(|| {
        format!(
            "rows of {} to which rows of {} refer by a foreign key stay; `cascade` deletes those rows too, `set_null` sets their \
             reference to NULL",
            plan.shape.name,
            tables.join(", ")
        )
    })
}

/// Says what an archive leaves out.
pub(super) fn note_unarchived_rows(table: &mut TableReport) {
    let is_lost =
        |row: &&OtherRows| row.action != "set_null" && !row.table.eq_ignore_ascii_case(&table.table);
    let tables: Vec<&str> = table.others.iter().filter(is_lost).map(|row| row.table.as_str()).collect();
    if table.archive.is_some() && !tables.is_empty() {
        let (own, others) = (&table.table, tables.join(", "));
        let words =
            format!("the archive has the rows of {own} alone, and not those of {others} that go along");
        note(&mut table.note, Some(words));
    }
}

/// A file of its own for each run and shape of the table, so that none can spoil what another has
/// put away.
pub(super) fn archive_file(
    database: &Database,
    directory: &Path,
    shape: &ScanTable,
    now: SystemTime,
) -> Archive {
    let time = date(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    let time: String = time.chars().filter(char::is_ascii_digit).collect();
    let safe = |name: &str| name.replace(['/', '\0'], "_");
    let (database, table) = (safe(database.name.as_str()), safe(&shape.name));
    let (process, schema) = (std::process::id(), shape.schema_version);
    let path = directory.join(format!("{database}-{table}-{time}-{process}-{schema}.db"));
    Archive::new(&path, shape)
}

/// Why a table was given up whose rows cannot be deleted within the limit of a hold.
pub(super) fn row_exceeds_limit(table: &str, limit: Duration) -> String {
    format!(
        "{table}: deleting a single row takes longer than {} ms, mostly the work of a trigger or of foreign keys without an \
         index; raise target_lock_hold if the application can bear it",
        limit.as_millis()
    )
}
