//! How one table will be cleaned: the plan, and what the functions that make it share.

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
use crate::sqlite::RowTest;
use crate::sqlite::ScanTable;
use crate::sqlite::SqliteError;
use crate::sqlite::TimeColumn;
use crate::sqlite::TimeForm;
use crate::sqlite::TimeValue;

use crate::tasks::log_cleaning::kept::KeptRows;
use crate::tasks::log_cleaning::time_bounds::Bounds;
use crate::tasks::log_cleaning::time_tally::TimeValues;

/// How one table will be cleaned.
#[derive(Debug)]
pub(super) struct Plan {
    pub shape: ScanTable,
    pub walk: KeysetScan,
    /// How the column writes a time, in words.
    pub format: Option<String>,
    pub(super) kind: TimestampFormat,
    /// Rows older than this go, in seconds since 1970; `None` where they go in the order of their
    /// row ids.
    pub cutoff: Option<f64>,
    /// What says so.
    pub expired_by: ExpiredBy,
    /// Whether the order of the values is that of the times, so that an index on the column would
    /// help.
    pub ordered: bool,
    /// The oldest time that the table is known to hold.
    pub(super) oldest: f64,
    pub(super) keys: Option<(i64, i64)>,
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
#[derive(Default)]
pub(super) struct PlanNotes {
    /// What the values were taken for.
    pub times: Option<TimeValues>,
    /// Why rows stay although nothing failed.
    pub note: Option<String>,
    /// Whether expired rows stay for that reason, and the configuration should be looked at.
    pub is_doubtful: bool,
    /// Expired rows that stay because the configuration says so.
    pub kept: Vec<KeptRows>,
    /// The test of each row, which the connection that deletes needs too.
    pub row_test: Option<RowTest>,
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
