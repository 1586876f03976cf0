//! Which rows of a table have expired, and whether that can be known for sure.
//!
//! Nothing is guessed here: a column that is written in two ways, a clock that the newest row contradicts, or a
//! table that others refer to is refused with the reason.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use crate::config::Retention;
use crate::config::TimestampFormat;
use crate::sample::DAY_SECONDS;
use crate::sample::Judge;
use crate::sample::OLDEST_PLAUSIBLE;
use crate::sample::Reading;
use crate::sample::TimestampError;
use crate::sample::convert;
use crate::sample::date;
use crate::sample::epoch_of;
use crate::sqlite::Expiry;
use crate::sqlite::SqliteError;
use crate::sqlite::StoredTime;
use crate::sqlite::TableShape;
use crate::sqlite::TimeColumn;
use crate::sqlite::TimeForm;
use crate::sqlite::Walk;

use super::clock;
use super::references::references;
use super::time_bounds::Bounds;
use super::time_tally::Spelling;
use super::time_tally::Tally;
use super::time_tally::TimeValues;

/// How one table will be cleaned.
#[derive(Debug)]
pub(super) struct Plan {
    pub shape: TableShape,
    pub walk: Walk,
    /// How the column writes a time, in words.
    pub format: String,
    kind: TimestampFormat,
    /// Rows older than this have expired, in seconds since 1970.
    pub cutoff: f64,
    /// Whether the order of the values is that of the times, so that an index on the column would help.
    pub ordered: bool,
    /// The oldest time that the table is known to hold.
    oldest: f64,
    keys: Option<(i64, i64)>,
}

/// What was seen of a column's times while a plan was made, whether or not there is one.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What the values were taken for.
    pub times: Option<TimeValues>,
    /// Why rows stay although nothing failed.
    pub note: Option<String>,
    /// Whether expired rows stay for that reason.
    pub kept: bool,
}

/// Against what a plan is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions {
    /// Whether the application enforces foreign keys, where that is known.
    pub foreign_keys: Option<bool>,
    /// What the clock says.
    pub now: SystemTime,
    /// How long all values of the column may be looked at; after that a sample has to do.
    pub look: Duration,
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
}

/// Works out which rows have expired; `None` where none is to be deleted, with a note in `seen` where that needs one.
pub(super) fn plan(
    source: &impl TimeColumn,
    retention: &Retention,
    conditions: Conditions,
    seen: &mut Seen,
) -> Result<Option<Plan>, PlanError> {
    let shape = source.shape(&retention.table)?.map_err(|problem| PlanError::Config(problem.to_string()))?;
    let column =
        shape.column(&retention.column).map_err(|problem| PlanError::Config(problem.to_string()))?.to_owned();
    refuse_unclear_references(&shape, conditions.foreign_keys)?;
    let references = references(source, &shape, retention, conditions.foreign_keys)?;
    let now = conditions.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let judge = Judge { now, expires: retention.expires };
    let mut samples = source.sample_times(&shape, &column)?;
    let kind = match retention.format {
        TimestampFormat::Auto => detect(source, &shape, &column, (&judge, conditions.look), &mut samples)
            .map_err(|error| match error {
                Undetected::Sqlite(error) => PlanError::Sqlite(error),
                Undetected::Values(error) => {
                    PlanError::Config(format!("{}.{column}: {error}; nothing is deleted", retention.table))
                }
            })?,
        given => Some(given),
    };
    let Some(kind) = kind else {
        let mut tally = Tally::new(judge, TimestampFormat::Auto, f64::NEG_INFINITY);
        tally.of_sample(&samples);
        seen.times = Some(tally.values()).filter(|values| values.rows > 0);
        seen.note = seen.times.is_some().then(|| "no row has a time that is set".to_owned());
        return Ok(None);
    };
    let mut cutoff = now - retention.retention.as_secs_f64();
    let tally = tally_of(source, &shape, &column, (judge, kind, cutoff), conditions.look, &samples)?;
    let times = tally.values();
    let words = times.words();
    seen.times = Some(times);
    if !believe(retention, &judge, (kind, cutoff), &samples, &tally, seen)
        .map_err(|error| error.with(&words))?
    {
        return Ok(None);
    }
    let mut bounds = Bounds::of(kind, &tally, &judge, cutoff);
    if let Some(latest) = retention.keep_latest {
        let judged = (&judge, kind, &tally);
        match keep_newest(source, &shape, &column, latest, judged, (bounds, cutoff))? {
            Some(kept) => (bounds, cutoff) = kept,
            None => return Ok(None),
        }
    }
    let Bounds { floor, below, form, .. } = bounds;
    if let TimeForm::PerRow { .. } = form {
        let test = move |value: &StoredTime| matches!(judge.read(value, kind), Reading::Time(seconds) if seconds < cutoff);
        source.test_rows(Arc::new(test))?;
    }
    let condition = retention.condition.clone();
    let expiry = Expiry { column, floor, below, form, cutoff_seconds: cutoff, condition };
    let walk = Walk::plan(&shape, &expiry).with(references);
    let keys = source.key_range(&shape)?;
    let (format, oldest) = (tally.format(), tally.oldest.unwrap_or(cutoff));
    let ordered = form != TimeForm::PerRow { ordered: false };
    Ok(Some(Plan { shape, walk, format, kind, cutoff, ordered, oldest, keys }))
}

/// Reads all values of a column, or the sample and the newest ones where that takes too long.
fn tally_of(
    source: &impl TimeColumn,
    shape: &TableShape,
    column: &str,
    (judge, kind, cutoff): (Judge, TimestampFormat, f64),
    look: Duration,
    samples: &[StoredTime],
) -> Result<Tally, SqliteError> {
    let mut tally = Tally::new(judge, kind, cutoff);
    if source.each_time(shape, column, look, &mut |value| tally.add(value.as_ref()))? {
        return Ok(tally);
    }
    tally.of_sample(samples);
    let Bounds { floor, never, form, .. } = Bounds::of(kind, &tally, &judge, cutoff);
    if form != (TimeForm::PerRow { ordered: false }) && shape.index_on(column).is_some() {
        let found = source.newest_between(shape, column, (&floor, &never), (1, SAMPLE_OF_NEWEST))?;
        found.iter().for_each(|value| tally.add(Some(value)));
    }
    Ok(tally)
}

/// Draws bounds and cutoff down so that the newest rows stay; `None` where all rows are among them.
fn keep_newest(
    source: &impl TimeColumn,
    shape: &TableShape,
    column: &str,
    latest: u64,
    (judge, kind, tally): (&Judge, TimestampFormat, &Tally),
    (mut bounds, mut cutoff): (Bounds, f64),
) -> Result<Option<(Bounds, f64)>, PlanError> {
    refuse_without_order(shape, column, bounds.form)?;
    let found = source.newest_between(shape, column, (&bounds.floor, &bounds.never), (latest, 1))?;
    let Some(first_kept) = found.into_iter().next() else { return Ok(None) };
    let Some(moment) = convert(&first_kept, kind) else { return Ok(None) };
    // Texts of several zones are in the order of their times but for a day and a bit.
    let various = matches!(tally.spelling, Some(Spelling::Various { .. }));
    let moment = if various { moment - 27.0 * 3600.0 } else { moment };
    if moment < cutoff {
        cutoff = moment;
        bounds = Bounds::of(kind, tally, judge, cutoff);
        if bounds.form == TimeForm::Number {
            bounds.below = first_kept;
        }
    }
    Ok(Some((bounds, cutoff)))
}

/// How many of the newest values are asked for where not all were looked at.
const SAMPLE_OF_NEWEST: u32 = 50;

enum Undetected {
    Sqlite(SqliteError),
    Values(TimestampError),
}

/// The format of a column; where the sample holds nothing that is set, of all of its values.
fn detect(
    source: &impl TimeColumn,
    shape: &TableShape,
    column: &str,
    (judge, limit): (&Judge, Duration),
    samples: &mut Vec<StoredTime>,
) -> Result<Option<TimestampFormat>, Undetected> {
    const ENOUGH: usize = 1000;
    if let Some(kind) = judge.detect(samples).map_err(Undetected::Values)? {
        return Ok(Some(kind));
    }
    let mut more = Vec::new();
    let mut visit = |value: Option<StoredTime>| {
        let is_set = |value: &StoredTime| {
            let reading = judge.read(value, TimestampFormat::Iso8601);
            matches!(reading, Reading::Time(_) | Reading::NotUnderstood)
        };
        if more.len() < ENOUGH {
            more.extend(value.filter(is_set));
        }
    };
    source.each_time(shape, column, limit, &mut visit).map_err(Undetected::Sqlite)?;
    samples.extend(more);
    judge.detect(samples).map_err(Undetected::Values)
}

/// Whether the values are to be believed and anything may be deleted by them; `false` with a note in `seen` where they
/// are and nothing should.
fn believe(
    retention: &Retention,
    judge: &Judge,
    (kind, cutoff): (TimestampFormat, f64),
    samples: &[StoredTime],
    tally: &Tally,
    seen: &mut Seen,
) -> Result<bool, PlanError> {
    let name = format!("{}.{}", retention.table, retention.column);
    let age = retention.max_newest_age.as_secs_f64().max(30.0 * DAY_SECONDS);
    let misread = |what: &str| {
        judge.better(samples, kind, age).map(|better| {
            let message = format!(
                "{name}: read as {}, {what}, but {better}; the format is likely wrong, so nothing is deleted",
                kind.name()
            );
            PlanError::Config(message)
        })
    };
    let Some(newest) = tally.newest else {
        if let Some(error) = misread("no value is a time") {
            return Err(error);
        }
        if tally.not_understood() > 0 {
            let message =
                format!("{name}: no value is a time as {} writes it; nothing is deleted", kind.name());
            return Err(PlanError::Config(message));
        }
        seen.note = Some("no row has a time that is set".to_owned());
        return Ok(false);
    };
    let counts = epoch_of(kind).is_some();
    if newest < OLDEST_PLAUSIBLE && counts {
        let what = format!("the newest row is of {}", date(newest));
        return Err(misread(&what).unwrap_or_else(|| {
            PlanError::Config(format!(
                "{name}: read as {}, {what}, before SQLite existed; the format is likely wrong, so nothing is deleted",
                kind.name()
            ))
        }));
    }
    let quiet = if retention.expires {
        (counts && newest < cutoff.min(judge.now - 366.0 * DAY_SECONDS)).then(|| {
            format!("the last row of {} expired at {}, more than a year ago", retention.table, date(newest))
        })
    } else {
        clock::compare_with_newest_row(newest, judge.now, retention).map_err(PlanError::Clock)?
    };
    let all_expired = newest < cutoff;
    if (quiet.is_some() || all_expired)
        && let Some(error) = misread(&format!("the newest row is of {}", date(newest)))
    {
        return Err(error);
    }
    // With a detected epoch that is wrong after all, the newest row would be the first to say so.
    let guessed = (counts && all_expired && retention.format == TimestampFormat::Auto && !retention.expires)
        .then(|| {
            format!(
                "the newest row of {} would be deleted too, by an epoch that was only detected",
                retention.table
            )
        });
    if let Some(reason) = quiet.or(guessed) {
        seen.note = Some(format!("{reason}; its rows stay"));
        seen.kept = true;
        return Ok(false);
    }
    Ok(true)
}

impl PlanError {
    /// Adds what the values were taken for.
    fn with(self, words: &str) -> Self {
        match self {
            Self::Sqlite(error) => Self::Sqlite(error),
            Self::Config(message) => Self::Config(format!("{message} ({words})")),
            Self::Archive(message) => Self::Archive(message),
            Self::Clock(message) => Self::Clock(format!("{message} ({words})")),
        }
    }
}

impl Plan {
    /// Which share of the walk lies before a value of its key.
    pub(super) fn share(&self, at: Option<&StoredTime>) -> f64 {
        let part = |at: f64, first: f64, last: f64| {
            if last > first { ((at - first) / (last - first)).clamp(0.0, 1.0) } else { 0.0 }
        };
        match at {
            None => 0.0,
            Some(value) if self.walk.is_by_time() => {
                convert(value, self.kind).map_or(0.0, |at| part(at, self.oldest, self.cutoff))
            }
            Some(StoredTime::Integer(key)) => {
                self.keys.map_or(0.0, |(first, last)| part(*key as f64, first as f64, last as f64))
            }
            Some(StoredTime::Real(_) | StoredTime::Text(_) | StoredTime::Blob) => 0.0,
        }
    }

    /// A time of the walk as people read it.
    pub(super) fn moment(&self, value: &StoredTime) -> Option<f64> {
        convert(value, self.kind)
    }
}

/// Deleting a row that others refer to deletes them too, breaks them, or fails, as foreign keys are enforced or not;
/// only the application knows which it means.
fn refuse_unclear_references(shape: &TableShape, foreign_keys: Option<bool>) -> Result<(), PlanError> {
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

/// The newest rows are found by an index, and by the order of its values.
fn refuse_without_order(shape: &TableShape, column: &str, form: TimeForm) -> Result<(), PlanError> {
    if form == (TimeForm::PerRow { ordered: false }) {
        return Err(PlanError::Config(format!(
            "keep_latest needs times whose order as stored is that of the moments, which that of {}.{column} is not",
            shape.name
        )));
    }
    if shape.index_on(column).is_none() && !shape.key_begins_with(column) {
        return Err(PlanError::Config(format!(
            "keep_latest needs an index to find the newest rows of {}: {}",
            shape.name,
            shape.create_index(column)
        )));
    }
    Ok(())
}

/// A moment as ISO-8601, for people.
pub(super) fn iso(seconds: f64) -> String {
    date(seconds)
}
