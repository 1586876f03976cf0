//! Which rows of a table have expired, and whether that can be known for sure.
//!
//! Nothing is guessed here: a column that is written in two ways, a clock that the newest row
//! contradicts, or a table that others refer to is refused with the reason.

use crate::config::Retention;
use crate::config::TimestampFormat;
use crate::sqlite::ExpiryPredicate;
use crate::sqlite::KeysetScan;
use crate::sqlite::NewestRows;
use crate::sqlite::ScanTable;
use crate::sqlite::SchemaError;
use crate::sqlite::TimeColumn;
use crate::sqlite::TimeForm;
use crate::sqlite::TimeValue;

use crate::tasks::log_cleaning::by_time::by_time;
use crate::tasks::log_cleaning::plan::Plan;
use crate::tasks::log_cleaning::plan::PlanError;
use crate::tasks::log_cleaning::plan::PlanInputs;
use crate::tasks::log_cleaning::plan::PlanNotes;
use crate::tasks::log_cleaning::plan::Planned;
use crate::tasks::log_cleaning::plan::beyond;
use crate::tasks::log_cleaning::plan::limits;
use crate::tasks::log_cleaning::references::references;
use crate::tasks::log_cleaning::time_bounds::Bounds;

/// Works out which rows have expired; `None` where none is to be deleted, with a note in `notes`
/// where that needs one.
pub(super) fn plan(
    source: &mut (impl TimeColumn + NewestRows),
    retention: &Retention,
    inputs: PlanInputs,
    notes: &mut PlanNotes,
) -> Result<Option<Plan>, PlanError> {
    let config = |problem: SchemaError| PlanError::Config(problem.to_string());
    let shape = source.scan_table(&retention.table)?.map_err(config)?;
    let column =
        retention.column.as_deref().map(|column| shape.column(column)).transpose().map_err(config)?;
    check_references(&shape, inputs.foreign_keys)?;
    let references = references(source, &shape, retention, inputs.foreign_keys)?;
    // A row id is no time, but its order will do where age says nothing.
    let column = column.filter(|column| {
        retention.retention.is_some() || !shape.key_begins_with(column) || shape.without_rowid
    });
    let planned = match column {
        Some(column) => by_time(source, (retention, &shape, column), inputs, notes)?,
        None => by_key(source, (retention, &shape), inputs)?,
    };
    let Some(planned) = planned else { return Ok(None) };
    let Planned { expiry, expired_by, kind, format, cutoff, oldest, keys } = planned;
    let walk = KeysetScan::plan(&shape, &expiry).with(references);
    let ordered = expiry.form != TimeForm::PerRow { ordered: false };
    Ok(Some(Plan { shape, walk, format, kind, cutoff, expired_by, ordered, oldest, keys }))
}

/// Which rows go in the order of their row ids, in which they were inserted.
fn by_key(
    source: &mut (impl TimeColumn + NewestRows),
    (retention, shape): (&Retention, &ScanTable),
    inputs: PlanInputs,
) -> Result<Option<Planned>, PlanError> {
    let name = &shape.name;
    if shape.without_rowid {
        return Err(PlanError::Config(format!(
            "{name} is a table WITHOUT ROWID: which of its rows are the oldest is not known by their key; name the column with their \
             time in `column`"
        )));
    }
    let keys = source.key_range(shape)?;
    let Some((first, newest)) = keys else { return Ok(None) };
    // SQLite counts up from 1. Only above the largest number it chooses at random.
    if first < 0 || newest > i64::MAX / 2 {
        return Err(PlanError::Config(format!(
            "the row ids of {name} are not in the order in which rows were inserted (they reach from {first} to {newest}); name the \
             column with their time in `column`"
        )));
    }
    let (floor, never) = (TimeValue::Integer(i64::MIN), TimeValue::Integer(i64::MAX));
    let bounds = Bounds { floor, below: never.clone(), never, form: TimeForm::Number };
    let limits = limits(retention).unwrap_or_default();
    let found = beyond(source, (retention, shape, None), &bounds, limits, inputs.scan_time)?;
    let Some((cursor, expired_by)) = found else { return Ok(None) };
    let keys = match cursor.first() {
        Some(TimeValue::Integer(last)) => Some((first, last)),
        _ => keys,
    };
    let Bounds { floor, below, form, .. } = bounds;
    let (last, condition) = (Some(cursor), retention.condition.clone());
    let expiry = ExpiryPredicate { column: None, floor, below, last, form, cutoff_seconds: 0.0, condition };
    let kind = TimestampFormat::Auto;
    Ok(Some(Planned { expiry, expired_by, kind, format: None, cutoff: None, oldest: 0.0, keys }))
}

/// Deleting a row that others refer to deletes them too, breaks them, or fails, as foreign keys are
/// enforced or not; only the application knows which it means.
fn check_references(shape: &ScanTable, foreign_keys: Option<bool>) -> Result<(), PlanError> {
    if shape.referenced_by.is_empty() || foreign_keys.is_some() {
        return Ok(());
    }
    Err(PlanError::Config(format!(
        "{} refers to {} by a foreign key; write `foreign_keys: on` or `off` as the application has it \
         (PRAGMA foreign_keys), since that decides what happens to the rows that refer to a deleted one",
        shape.referenced_by.join(", "),
        shape.name
    )))
}
