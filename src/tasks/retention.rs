//! Which rows of a table have expired, and whether that can be known for sure.
//!
//! Nothing is guessed here: a column that is written in two ways, a clock that the newest row contradicts, or a
//! table that others refer to is refused with the reason.

use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use crate::collectors::convert;
use crate::config::Retention;
use crate::config::TimestampFormat;
use crate::sqlite::Cursor;
use crate::sqlite::ExpiryPredicate;
use crate::sqlite::KeysetScan;
use crate::sqlite::LimitBoundary;
use crate::sqlite::NewestRows;
use crate::sqlite::RowLimits;
use crate::sqlite::ScanTable;
use crate::sqlite::SchemaError;
use crate::sqlite::SqliteError;
use crate::sqlite::TimeColumn;
use crate::sqlite::TimeForm;
use crate::sqlite::TimeValue;

use super::by_time::by_time;
use super::references::KeptRows;
use super::references::references;
use super::time_bounds::Bounds;
use super::time_tally::TimeValues;

/// How one table will be cleaned.
#[derive(Debug)]
pub(super) struct Plan {
    pub shape: ScanTable,
    pub walk: KeysetScan,
    /// How the column writes a time, in words.
    pub format: Option<String>,
    kind: TimestampFormat,
    /// Rows older than this go, in seconds since 1970; `None` where they go in the order of their row ids.
    pub cutoff: Option<f64>,
    /// What says so.
    pub expired_by: ExpiredBy,
    /// Whether the order of the values is that of the times, so that an index on the column would help.
    pub ordered: bool,
    /// The oldest time that the table is known to hold.
    oldest: f64,
    keys: Option<(i64, i64)>,
}

/// What decides which rows go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiredBy {
    /// Their age, or the moment of their expiry.
    #[default]
    Age,
    /// The number of newer rows.
    MaxRows,
    /// The bytes of newer rows.
    MaxBytes,
}

/// What was seen of a column's times while a plan was made, whether or not there is one.
#[derive(Debug, Default)]
pub(super) struct PlanNotes {
    /// What the values were taken for.
    pub times: Option<TimeValues>,
    /// Why rows stay although nothing failed.
    pub note: Option<String>,
    /// Whether expired rows stay for that reason, and the configuration should be looked at.
    pub is_doubtful: bool,
    /// Expired rows that stay because the configuration says so.
    pub kept: Vec<KeptRows>,
}

/// Against what a plan is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlanInputs {
    /// Whether the application enforces foreign keys, where that is known.
    pub foreign_keys: Option<bool>,
    /// What the clock says.
    pub now: SystemTime,
    /// How long all values of the column may be looked at; after that a sample has to do.
    pub scan_time: Duration,
}

/// Why a table cannot be cleaned.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// The database could not be asked.
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
    /// What is configured does not fit the table.
    #[error("{0}")]
    Config(String),
    /// Nothing can be kept in the archive directory.
    #[error("{0}")]
    Archive(String),
    /// The clock is not to be believed.
    #[error("{0}")]
    Clock(String),
    /// It was not known in the time of a dry run.
    #[error("{0}")]
    TimedOut(String),
}

/// Which rows a table's walk leads to.
pub(super) struct Planned {
    pub expiry: ExpiryPredicate,
    pub expired_by: ExpiredBy,
    pub kind: TimestampFormat,
    pub format: Option<String>,
    pub cutoff: Option<f64>,
    pub oldest: f64,
    pub keys: Option<(i64, i64)>,
}

/// Works out which rows have expired; `None` where none is to be deleted, with a note in `notes` where that needs one.
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

/// How much of a table is to stay, where that is limited.
pub(super) fn limits(retention: &Retention) -> Option<RowLimits> {
    let limits = RowLimits { rows: retention.max_rows, bytes: retention.max_bytes };
    (limits != RowLimits::default()).then_some(limits)
}

/// The newest row that is beyond the limits, and by which one.
pub(super) fn beyond(
    source: &mut (impl TimeColumn + NewestRows),
    (retention, shape, column): (&Retention, &ScanTable, Option<&str>),
    bounds: &Bounds,
    limits: RowLimits,
    scan_time: Duration,
) -> Result<Option<(Cursor, ExpiredBy)>, PlanError> {
    if let Some(column) = column {
        check_order(shape, column, bounds.form, "max_rows and max_bytes need")?;
    }
    let all = ExpiryPredicate {
        column: column.map(str::to_owned),
        floor: bounds.floor.clone(),
        below: bounds.never.clone(),
        last: None,
        form: TimeForm::Number,
        cutoff_seconds: 0.0,
        condition: None,
    };
    match source.beyond(&KeysetScan::plan(shape, &all), limits, scan_time)? {
        LimitBoundary::Nothing => Ok(None),
        LimitBoundary::From { cursor, by_rows } => {
            Ok(Some((cursor, if by_rows { ExpiredBy::MaxRows } else { ExpiredBy::MaxBytes })))
        }
        LimitBoundary::Late => Err(PlanError::TimedOut(format!(
            "{}: its newest rows were not counted within {scan_time:?}, after which an application that writes would wait",
            retention.table
        ))),
    }
}

impl PlanError {
    /// Adds what the values were taken for.
    pub(super) fn with(self, words: &str) -> Self {
        match self {
            Self::Sqlite(error) => Self::Sqlite(error),
            Self::Config(message) => Self::Config(format!("{message} ({words})")),
            Self::Archive(message) => Self::Archive(message),
            Self::Clock(message) => Self::Clock(format!("{message} ({words})")),
            Self::TimedOut(message) => Self::TimedOut(message),
        }
    }
}

impl Plan {
    /// Which share of the walk lies before a value of its key.
    pub(super) fn share(&self, at: Option<&TimeValue>) -> f64 {
        let part = |at: f64, first: f64, last: f64| {
            if last > first { ((at - first) / (last - first)).clamp(0.0, 1.0) } else { 0.0 }
        };
        match at {
            None => 0.0,
            Some(value) if self.walk.is_by_time() && self.cutoff.is_some() => {
                let cutoff = self.cutoff.unwrap_or(self.oldest);
                convert(value, self.kind).map_or(0.0, |at| part(at, self.oldest, cutoff))
            }
            Some(TimeValue::Integer(key)) => {
                self.keys.map_or(0.0, |(first, last)| part(*key as f64, first as f64, last as f64))
            }
            Some(TimeValue::Real(_) | TimeValue::Text(_) | TimeValue::Blob) => 0.0,
        }
    }

    /// A time of the walk as people read it.
    pub(super) fn moment(&self, value: &TimeValue) -> Option<f64> {
        convert(value, self.kind)
    }
}

/// Deleting a row that others refer to deletes them too, breaks them, or fails, as foreign keys are enforced or not;
/// only the application knows which it means.
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

/// The newest rows are found by an index, and by the order of its values; `what` needs that.
pub(super) fn check_order(
    shape: &ScanTable,
    column: &str,
    form: TimeForm,
    what: &str,
) -> Result<(), PlanError> {
    let table = &shape.name;
    if form == (TimeForm::PerRow { ordered: false }) {
        return Err(PlanError::Config(format!(
            "{what} times whose order as stored is that of the moments, which that of {table}.{column} is not"
        )));
    }
    if shape.index_on(column).is_none() && !shape.key_begins_with(column) {
        let problem = shape.index_problem(column).map(|problem| format!(" ({problem})")).unwrap_or_default();
        return Err(PlanError::Config(format!(
            "{what} an index to find the newest rows of {table}{problem}: {}",
            shape.create_index(&[column])
        )));
    }
    Ok(())
}
