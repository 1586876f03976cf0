//! Which rows of a table have expired, and whether that can be known for sure.
//!
//! Nothing is guessed here: a column that is written in two ways, a clock that the newest row contradicts, or a
//! table that others refer to is refused with the reason.

use std::time::SystemTime;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

use crate::config::Retention;
use crate::config::TimestampFormat;
use crate::sample::TimestampError;
use crate::sample::convert;
use crate::sample::detect;
use crate::sample::format_name;
use crate::sqlite::Expiry;
use crate::sqlite::SqliteError;
use crate::sqlite::StoredTime;
use crate::sqlite::TableShape;
use crate::sqlite::TextZone;
use crate::sqlite::TimeColumn;
use crate::sqlite::TimeForm;
use crate::sqlite::Walk;

use super::clock;
use super::references::references;

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
    /// The oldest time that the table is known to hold.
    oldest: f64,
    keys: Option<(i64, i64)>,
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

/// Works out which rows have expired; `None` for a table without any time.
pub(super) fn plan(
    source: &impl TimeColumn,
    retention: &Retention,
    foreign_keys: Option<bool>,
    now: SystemTime,
) -> Result<Option<Plan>, PlanError> {
    let shape = source.shape(&retention.table)?.map_err(|problem| PlanError::Config(problem.to_string()))?;
    let column =
        shape.column(&retention.column).map_err(|problem| PlanError::Config(problem.to_string()))?.to_owned();
    refuse_unclear_references(&shape, foreign_keys)?;
    let references = references(source, &shape, retention, foreign_keys)?;
    let samples = source.sample_times(&shape, &column)?;
    if samples.is_empty() {
        return Ok(None);
    }
    let in_table =
        |error: TimestampError| PlanError::Config(format!("{}.{column}: {error}", retention.table));
    let kind = common_format(&samples, retention.format).map_err(in_table)?;
    let form = form_of(&samples, kind, retention)?;
    let times: Vec<f64> = samples.iter().filter_map(|value| convert(value, kind).ok()).collect();
    let oldest = times.iter().copied().fold(f64::INFINITY, f64::min);
    let newest = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    clock::compare_with_newest_row(newest, seconds, retention).map_err(PlanError::Clock)?;
    let cutoff = seconds - retention.retention.as_secs_f64();
    let (floor, below) = bounds(kind, &form, cutoff);
    let format = describe(kind, &form);
    let condition = retention.condition.clone();
    let mut expiry = Expiry { column, floor, below, form, cutoff_seconds: cutoff, condition };
    if let Some(latest) = retention.keep_latest {
        match keep_latest(source, &shape, &mut expiry, latest)? {
            Kept::Some => {}
            Kept::All => return Ok(None),
        }
    }
    let walk = Walk::plan(&shape, &expiry).with(references);
    let keys = source.key_range(&shape)?;
    Ok(Some(Plan { shape, walk, format, kind, cutoff, oldest, keys }))
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
        convert(value, self.kind).ok()
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

/// The one format of all values.
fn common_format(
    samples: &[StoredTime],
    configured: TimestampFormat,
) -> Result<TimestampFormat, TimestampError> {
    let mut common = None;
    for value in samples {
        let format = match configured {
            TimestampFormat::Auto => detect(value)?,
            given => {
                convert(value, given)?;
                given
            }
        };
        match common {
            None => common = Some(format),
            Some(first) if first == format => {}
            Some(first) => return Err(TimestampError::Mixed(format_name(first), format_name(format))),
        }
    }
    Ok(common.unwrap_or(configured))
}

/// How the values are written, as far as comparing them depends on it.
fn form_of(
    samples: &[StoredTime],
    kind: TimestampFormat,
    retention: &Retention,
) -> Result<TimeForm, PlanError> {
    if kind != TimestampFormat::Iso8601 {
        return Ok(TimeForm::Number);
    }
    let mut found: Option<(Option<char>, TextZone, &str)> = None;
    for value in samples {
        let StoredTime::Text(text) = value else { continue };
        let (separator, zone) = parts(text);
        let zone = if zone.is_empty() { TextZone::None } else { TextZone::Same(zone.to_owned()) };
        found = Some(match found {
            None => (separator, zone, text),
            Some((first, common, example)) => {
                let zone = common_zone(common, zone).filter(|_| first == separator).ok_or_else(|| {
                    PlanError::Config(format!(
                        "{}.{} mixes ways to write a time, such as {example:?} and {text:?}, whose order as texts is not \
                         that of the times; bring them into one form first",
                        retention.table, retention.column
                    ))
                })?;
                (first, zone, example)
            }
        });
    }
    let (separator, zone, _) = found.unwrap_or((None, TextZone::None, ""));
    Ok(TimeForm::Text { separator, zone })
}

/// The zone of two values together; `None` where no comparison is right for both.
fn common_zone(one: TextZone, other: TextZone) -> Option<TextZone> {
    match (one, other) {
        (one, other) if one == other => Some(one),
        (TextZone::Various, TextZone::Same(zone)) => readable(&zone).then_some(TextZone::Various),
        (TextZone::Same(one), TextZone::Same(other)) => {
            (readable(&one) && readable(&other)).then_some(TextZone::Various)
        }
        (TextZone::None, _) | (_, TextZone::None | TextZone::Various) => None,
    }
}

/// Whether SQLite's own functions read a zone: `Z` or `+01:00`, but not `+0100`.
fn readable(zone: &str) -> bool {
    let zone = zone.trim_start();
    zone.eq_ignore_ascii_case("z") || zone.len() == 6 && zone.as_bytes()[3] == b':'
}

/// Separator and zone of an ISO-8601 text, which is known to be one.
fn parts(text: &str) -> (Option<char>, &str) {
    const DATE_LENGTH: usize = 10;
    let Some(separator) = text.as_bytes().get(DATE_LENGTH) else { return (None, "") };
    let time = &text[DATE_LENGTH + 1..];
    let zone = time.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').map_or("", |at| &time[at..]);
    (Some(char::from(*separator)), zone)
}

/// Seconds east of UTC of a zone's text.
fn offset(zone: &str) -> i64 {
    let zone = zone.trim();
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let number =
        |range: std::ops::Range<usize>| digits.get(range).and_then(|d| d.parse::<i64>().ok()).unwrap_or(0);
    let seconds = number(0..2) * 3600 + number(2..4) * 60;
    if zone.starts_with('-') { -seconds } else { seconds }
}

/// The bounds within which values are times that have expired.
fn bounds(kind: TimestampFormat, form: &TimeForm, cutoff: f64) -> (StoredTime, StoredTime) {
    /// No zone is further from UTC than 14 hours.
    const WIDEST_OFFSET: i64 = 15 * 3600;
    const JULIAN_DAY_OF_EPOCH: f64 = 2_440_587.5;
    const SECONDS_PER_DAY: f64 = 86_400.0;
    // Below these, a number is no time in the format; see `sample::timestamp`.
    let number = |scale: f64, least: i64| {
        (StoredTime::Integer(least), StoredTime::Integer((cutoff * scale).floor() as i64))
    };
    match kind {
        TimestampFormat::UnixSeconds => number(1.0, 100_000_000),
        TimestampFormat::UnixMilliseconds => number(1e3, 100_000_000_000),
        TimestampFormat::UnixMicroseconds => number(1e6, 100_000_000_000_000),
        TimestampFormat::JulianDay => {
            (StoredTime::Real(1_721_060.0), StoredTime::Real(cutoff / SECONDS_PER_DAY + JULIAN_DAY_OF_EPOCH))
        }
        TimestampFormat::Iso8601 | TimestampFormat::Auto => {
            let (separator, shift) = match form {
                TimeForm::Text { separator, zone: TextZone::Same(zone) } => (*separator, offset(zone)),
                TimeForm::Text { separator, zone: TextZone::Various } => (*separator, WIDEST_OFFSET),
                TimeForm::Text { separator, zone: TextZone::None } => (*separator, 0),
                TimeForm::Number => (None, 0),
            };
            let moment =
                DateTime::<Utc>::from_timestamp(cutoff.floor() as i64 + shift, 0).unwrap_or_default();
            let text = match separator {
                Some(separator) => moment.format(&format!("%Y-%m-%d{separator}%H:%M:%S")).to_string(),
                None => moment.format("%Y-%m-%d").to_string(),
            };
            (StoredTime::Text("0000-".to_owned()), StoredTime::Text(text))
        }
    }
}

fn describe(kind: TimestampFormat, form: &TimeForm) -> String {
    let zone = match form {
        TimeForm::Number => return format_name(kind).to_owned(),
        TimeForm::Text { separator: None, .. } => return "iso8601, dates alone".to_owned(),
        TimeForm::Text { zone: TextZone::None, .. } => "no zone, taken as UTC".to_owned(),
        TimeForm::Text { zone: TextZone::Same(zone), .. } => format!("zone {}", zone.trim()),
        TimeForm::Text { zone: TextZone::Various, .. } => "various zones".to_owned(),
    };
    format!("{}, {zone}", format_name(kind))
}

enum Kept {
    Some,
    All,
}

/// Draws the bound down so that the newest rows stay.
fn keep_latest(
    source: &impl TimeColumn,
    shape: &TableShape,
    expiry: &mut Expiry,
    latest: u64,
) -> Result<Kept, PlanError> {
    if shape.index_on(&expiry.column).is_none() && !shape.key_begins_with(&expiry.column) {
        return Err(PlanError::Config(format!(
            "keep_latest needs an index to find the newest rows of {}: {}",
            shape.name,
            shape.create_index(&expiry.column)
        )));
    }
    let Some(first_kept) = source.time_of_rank(shape, &expiry.column, latest)? else { return Ok(Kept::All) };
    if is_before(&first_kept, &expiry.below) {
        expiry.below = first_kept;
    }
    Ok(Kept::Some)
}

fn is_before(one: &StoredTime, other: &StoredTime) -> bool {
    let number = |value: &StoredTime| match value {
        StoredTime::Integer(integer) => Some(*integer as f64),
        StoredTime::Real(real) => Some(*real),
        StoredTime::Text(_) | StoredTime::Blob => None,
    };
    match (one, other) {
        (StoredTime::Text(one), StoredTime::Text(other)) => one < other,
        (one, other) => number(one).zip(number(other)).is_some_and(|(one, other)| one < other),
    }
}

/// A moment as ISO-8601, for people.
pub(super) fn iso(seconds: f64) -> String {
    let moment =
        DateTime::<Utc>::UNIX_EPOCH + TimeDelta::try_milliseconds((seconds * 1e3) as i64).unwrap_or_default();
    moment.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
