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

/// Explains why expired rows are kept, and what can be done; `None` if no rows are kept.
pub(super) fn words(table: &str, kept: &[KeptRows], refusal: Option<&str>) -> Option<String> {
    let mut reasons: Vec<String> = Vec::new();
    for KeptRows { reason, referenced_by, rows } in kept {
        let rows = counted(*rows, "expired row");
        reasons.push(match (reason, referenced_by) {
            (KeptBy::ForeignKey, Some(other)) if other.eq_ignore_ascii_case(table) => format!(
                "{rows} of {table} kept, because newer rows of the same table refer to them with a foreign key; \
                 `set_null: [{table}]` sets these references to NULL and deletes the rows"
            ),
            (KeptBy::ForeignKey, other) => {
                let other = other.as_deref().unwrap_or_default();
                format!(
                    "{rows} of {table} kept, because rows of {other} refer to them with a foreign key; `cascade: [{other}]` deletes \
                     those rows too, `set_null: [{other}]` sets their reference to NULL"
                )
            }
            (KeptBy::Trigger, _) => {
                let why = match refusal {
                    Some(words) => format!("was refused ({words})"),
                    None => "had no effect, as with a trigger that has RAISE(IGNORE)".to_owned(),
                };
                format!("{rows} of {table} kept: their deletion {why}; a `condition` can exclude them")
            }
            (KeptBy::Condition, _) => format!("{rows} of {table} kept, because the `condition` is not true for them"),
            (KeptBy::KeepLatest, _) => format!("{rows} of {table} kept as the newest ones (keep_latest)"),
            // The note contains this already.
            (KeptBy::Quiet, _) => continue,
        });
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Reads the foreign keys that refer to a table, with the configuration applied.
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
                "the full-text index {index} indexes the rows of {table}, and no trigger removes deleted rows from it: searches would \
                 find deleted rows, and later writes could damage the index. Create this trigger, in a migration of the application: \
                 {trigger}"
            )));
        }
    }
    check_archive(retention)?;
    Ok(found)
}

/// With less free space, not even an archive of a few rows and its journal fit.
const MIN_ARCHIVE_BYTES: u64 = 64 * 1024;

/// Fails if the archive directory cannot store files.
fn check_archive(retention: &Retention) -> Result<(), PlanError> {
    let Some(directory) = &retention.archive else { return Ok(()) };
    let problem = match directory_error(directory) {
        Some(problem) => problem.to_string(),
        None => match filesystem(&c_path(directory)) {
            // Some virtual file systems have no size.
            Ok(facts) if facts.size_bytes == 0 || facts.available_bytes >= MIN_ARCHIVE_BYTES => return Ok(()),
            Ok(facts) => format!("the file system is full ({} are free)", bytes(facts.available_bytes)),
            Err(stop) => stop.message,
        },
    };
    Err(PlanError::Archive(format!(
        "{}: the archive directory {}: {problem}",
        retention.table,
        directory.display()
    )))
}

/// Prepends a text to a note.
pub(super) fn note(note: &mut Option<String>, words: Option<String>) {
    if let Some(words) = words {
        *note = Some(note.take().map_or(words.clone(), |note| format!("{words}; {note}")));
    }
}

/// Counts the expired rows that remain at the end of a cleaning if a trigger, a foreign key or a
/// condition may keep some. Returns the reasons.
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
            Err(error) => Some(format!("expired rows that are kept could not be counted: {error}")),
        }
    } else {
        words(&table.table, &table.kept, refusal)
    };
    note(&mut table.note, words.clone());
    words
}

/// Explains why the cleaning scans all rows, and what would avoid it.
pub(super) fn slow_walk(plan: &Plan, column: Option<&str>) -> Option<String> {
    let column = column.filter(|_| !plan.walk.is_by_time())?;
    let table = &plan.shape.name;
    if !plan.ordered {
        return Some(format!(
            "every row of {table} is scanned, because the texts in {column} do not sort in the order of their times"
        ));
    }
    let problem = plan.shape.index_problem(column).map(|problem| format!(" ({problem})")).unwrap_or_default();
    Some(format!(
        "no index on {table}.{column} can find expired rows{problem}, so that every row is scanned; create an index: {}",
        plan.shape.create_index(&[column])
    ))
}

/// Names the foreign keys that make the deletion of a row slow.
pub(super) fn slow_references(plan: &Plan) -> Option<String> {
    let reference = |UnindexedReference { table, create_index }: UnindexedReference| {
        let remedy = match create_index {
            Some(statement) => format!("create an index: {statement}"),
            None => "the existing index cannot be used, because its column has a different type or collation than the one that it \
                     refers to"
                .to_owned(),
        };
        format!(
            "no index finds the rows of {table} that refer to a row of {}, so that all rows are scanned for each deleted one; {remedy}",
            plan.shape.name
        )
    };
    let found: Vec<String> = plan.walk.references().unindexed().into_iter().map(reference).collect();
    (!found.is_empty()).then(|| found.join("; "))
}

/// Names the tables whose references keep rows, and what can be done.
pub(super) fn protection_note(plan: &Plan) -> Option<String> {
    let tables = plan.walk.references().protecting_tables();
    (!tables.is_empty()).then(|| {
        format!(
            "rows of {} are kept if rows of {} refer to them with a foreign key; `cascade` deletes those rows too, `set_null` sets \
             their reference to NULL",
            plan.shape.name,
            tables.join(", ")
        )
    })
}

/// Notes which deleted rows the archive does not contain.
pub(super) fn note_unarchived_rows(table: &mut TableReport) {
    let is_lost =
        |row: &&OtherRows| row.action != "set_null" && !row.table.eq_ignore_ascii_case(&table.table);
    let tables: Vec<&str> = table.others.iter().filter(is_lost).map(|row| row.table.as_str()).collect();
    if table.archive.is_some() && !tables.is_empty() {
        let (own, others) = (&table.table, tables.join(", "));
        let words = format!(
            "the archive contains the rows of {own}, but not the rows of {others} that were deleted with them"
        );
        note(&mut table.note, Some(words));
    }
}

/// Returns the archive of a run. Each run and schema of a table has a separate file, so that none
/// can overwrite rows of another.
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

/// Explains why a table whose rows cannot be deleted within the limit of a hold is not cleaned.
pub(super) fn row_exceeds_limit(table: &str, limit: Duration) -> String {
    format!(
        "{table}: deleting a single row takes longer than {} ms, usually because of a trigger or of foreign keys without an \
         index; raise target_lock_hold if the application can wait longer",
        limit.as_millis()
    )
}
