//! What a cleaning says about rows that stay because others refer to them, and about rows that go along with the deleted ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use crate::config::Retention;
use crate::database::Database;
use crate::sqlite::Action;
use crate::sqlite::Archive;
use crate::sqlite::Left;
use crate::sqlite::ReferenceRules;
use crate::sqlite::References;
use crate::sqlite::RowIdIndexes as _;
use crate::sqlite::TableShape;
use crate::sqlite::Tally;
use crate::sqlite::TimeColumn;
use crate::sqlite::Writer;
use crate::units::bytes;
use crate::units::counted;

use super::backup::unusable;
use super::cleaning_report::TableReport;
use super::retention::Plan;
use super::retention::PlanError;
use super::retention::iso;

/// Expired rows that stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptRows {
    /// The table whose foreign key keeps them; `None` for rows that a trigger or another constraint keeps.
    pub referenced_by: Option<String>,
    /// How many.
    pub rows: u64,
}

/// Rows of other tables, or of the same one, that were changed along with the deleted ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OtherRows {
    /// The table.
    pub table: String,
    /// What was done: `cascade` by the schema's ON DELETE CASCADE, `deleted_first` or `set_null` by the configuration.
    pub action: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

impl OtherRows {
    /// In words, as in `3 rows of notes deleted by ON DELETE CASCADE`.
    #[must_use]
    pub fn words(&self) -> String {
        let rows = format!("{} of {}", counted(self.rows, "row"), self.table);
        match self.action.as_str() {
            "cascade" => format!("{rows}, {}, by ON DELETE CASCADE", bytes(self.bytes)),
            "deleted_first" => format!("{rows}, {}, that refer to them (cascade)", bytes(self.bytes)),
            _ => format!("references of {rows} set to NULL (set_null)"),
        }
    }
}

/// The same for all.
pub(super) fn others<'o>(tallies: impl Iterator<Item = (&'o (String, Action), &'o Tally)>) -> Vec<OtherRows> {
    let action = |action: Action| match action {
        Action::Protect | Action::Cascade => "cascade",
        Action::DeleteFirst => "deleted_first",
        Action::SetNullFirst => "set_null",
    };
    let other = |((table, what), tally): (&(String, Action), &Tally)| OtherRows {
        table: table.clone(),
        action: action(*what).to_owned(),
        rows: tally.rows,
        bytes: tally.bytes,
    };
    tallies.filter(|(_, tally)| tally.rows > 0).map(other).collect()
}

/// Adds rows to those that are known.
pub(super) fn add(known: &mut Vec<OtherRows>, more: &BTreeMap<(String, Action), Tally>) {
    for row in others(more.iter()) {
        match known.iter_mut().find(|other| other.table == row.table && other.action == row.action) {
            Some(other) => {
                other.rows += row.rows;
                other.bytes += row.bytes;
            }
            None => known.push(row),
        }
    }
}

/// The rows that stay, by what keeps them.
pub(super) fn kept(left: &Left) -> Vec<KeptRows> {
    let referenced = left.referenced.iter().map(|(table, rows)| (Some(table.clone()), *rows));
    let all = referenced.chain([(None, left.rest)]);
    all.filter(|(_, rows)| *rows > 0).map(|(referenced_by, rows)| KeptRows { referenced_by, rows }).collect()
}

/// Why rows stay, and what can be done; `None` where none do.
pub(super) fn words(table: &str, kept: &[KeptRows], refusal: Option<&str>) -> Option<String> {
    let mut said: Vec<String> = Vec::new();
    for KeptRows { referenced_by, rows } in kept {
        let rows = counted(*rows, "expired row");
        said.push(match referenced_by {
            Some(other) if other.eq_ignore_ascii_case(table) => format!(
                "{rows} of {table} stay, because newer rows of the same table refer to them by a foreign key; \
                 `set_null: [{table}]` sets these references to NULL and deletes the rows"
            ),
            Some(other) => format!(
                "{rows} of {table} stay, because rows of {other} refer to them by a foreign key; `cascade: [{other}]` deletes \
                 those rows too, `set_null: [{other}]` sets their reference to NULL"
            ),
            None => {
                let why = match refusal {
                    Some(words) => format!("was refused ({words})"),
                    None => "had no effect, as with a trigger that has RAISE(IGNORE)".to_owned(),
                };
                format!("{rows} of {table} stay: their deletion {why}; a `condition` can leave them out")
            }
        });
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// What refers to a table, read as the configuration has it.
pub(super) fn references(
    source: &impl TimeColumn,
    shape: &TableShape,
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
    refuse_unusable_archive(retention)?;
    Ok(found)
}

/// Refuses an archive directory in which nothing can be kept.
fn refuse_unusable_archive(retention: &Retention) -> Result<(), PlanError> {
    let Some(directory) = &retention.archive else { return Ok(()) };
    match unusable(directory) {
        None => Ok(()),
        Some(problem) => Err(PlanError::Archive(format!(
            "{}: the archive directory {}: {problem}",
            retention.table,
            directory.display()
        ))),
    }
}

/// Puts words before a note.
pub(super) fn note(note: &mut Option<String>, words: Option<String>) {
    if let Some(words) = words {
        *note = Some(note.take().map_or(words.clone(), |note| format!("{words}; {note}")));
    }
}

/// Looks whether expired rows stay at the end of a walk, where a trigger or a foreign key may keep some. Returns why.
pub(super) fn look_what_stays(
    writer: &mut Writer,
    lock_wait: Duration,
    plan: &Plan,
    table: &mut TableReport,
    refusal: Option<&str>,
) -> Option<String> {
    /// A walk by key reads the whole table again.
    const LIMIT: Duration = Duration::from_secs(60);
    let may_stay = !plan.shape.delete_triggers.is_empty() || !plan.walk.references().is_empty();
    if !(table.complete && (may_stay || refusal.is_some())) {
        return None;
    }
    let words = match writer.retry_while_busy(lock_wait, |writer| writer.left(&plan.walk, LIMIT)) {
        Ok(left) => {
            table.kept = kept(&left);
            words(&table.table, &table.kept, refusal)
        }
        Err(error) => Some(format!("whether expired rows stay is not known: {error}")),
    };
    table.complete = words.is_none();
    note(&mut table.note, words.clone());
    words
}

/// Says what would make the walk cheaper, if anything would.
pub(super) fn missing_index(plan: &Plan, column: &str) -> Option<String> {
    if plan.walk.is_by_time() {
        return None;
    }
    if !plan.ordered {
        let table = &plan.shape.name;
        return Some(format!(
            "every row of {table} is looked at, since the order of the texts in {column} is not that of their times"
        ));
    }
    let (table, statement) = (&plan.shape.name, plan.shape.create_index(column));
    Some(format!(
        "no index on {table}.{column}: every row is looked at; the application should have {statement}"
    ))
}

/// A file of its own for each run and shape of the table, so that none can spoil what another has put away.
pub(super) fn archive_file(
    database: &Database,
    directory: &Path,
    shape: &TableShape,
    now: SystemTime,
) -> Archive {
    let time = iso(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    let time: String = time.chars().filter(char::is_ascii_digit).collect();
    let safe = |name: &str| name.replace(['/', '\0'], "_");
    let (database, table) = (safe(database.name.as_str()), safe(&shape.name));
    let (process, schema) = (std::process::id(), shape.schema_version);
    let path = directory.join(format!("{database}-{table}-{time}-{process}-{schema}.db"));
    Archive::new(&path, shape)
}

/// Why a table was given up whose rows cannot be deleted within the limit of a hold.
pub(super) fn one_row_takes_too_long(table: &str, limit: Duration) -> String {
    format!(
        "{table}: deleting a single row takes longer than {} ms, mostly the work of a trigger or of foreign keys without an \
         index; raise target_hold if the application can bear it",
        limit.as_millis()
    )
}
