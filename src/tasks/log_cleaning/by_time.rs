//! Which rows go by the times in a column: what its values are taken for, and whether that is to be
//! believed.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use crate::collectors::DAY_SECONDS;
use crate::collectors::Judge;
use crate::collectors::OLDEST_PLAUSIBLE;
use crate::collectors::Reading;
use crate::collectors::TimestampError;
use crate::collectors::convert;
use crate::collectors::date;
use crate::collectors::epoch_of;
use crate::config::Retention;
use crate::config::TimestampFormat;
use crate::sqlite::ExpiryPredicate;
use crate::sqlite::NewestRows;
use crate::sqlite::RowTest;
use crate::sqlite::ScanTable;
use crate::sqlite::SqliteError;
use crate::sqlite::TimeColumn;
use crate::sqlite::TimeForm;
use crate::sqlite::TimeValue;

use crate::tasks::log_cleaning::clock_check;
use crate::tasks::log_cleaning::kept::KeptBy;
use crate::tasks::log_cleaning::kept::KeptRows;
use crate::tasks::log_cleaning::plan::ExpiredBy;
use crate::tasks::log_cleaning::plan::PlanError;
use crate::tasks::log_cleaning::plan::PlanInputs;
use crate::tasks::log_cleaning::plan::PlanNotes;
use crate::tasks::log_cleaning::plan::Planned;
use crate::tasks::log_cleaning::plan::beyond;
use crate::tasks::log_cleaning::plan::check_order;
use crate::tasks::log_cleaning::plan::limits;
use crate::tasks::log_cleaning::time_bounds::Bounds;
use crate::tasks::log_cleaning::time_tally::Spelling;
use crate::tasks::log_cleaning::time_tally::Tally;

/// What is said of a table without a time.
const NOTHING_SET: &str = "no row has a time";

/// Which rows go by the times in a column.
pub(super) fn by_time(
    source: &mut (impl TimeColumn + NewestRows),
    (retention, shape, column): (&Retention, &ScanTable, &str),
    inputs: PlanInputs,
    notes: &mut PlanNotes,
) -> Result<Option<Planned>, PlanError> {
    let now = inputs.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let judge = Judge { now, expires: retention.expires };
    let mut samples = source.sample_times(shape, column)?;
    let kind = match retention.format {
        TimestampFormat::Auto => detect(source, shape, column, (&judge, inputs.scan_time), &mut samples)
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
        notes.times = Some(tally.values()).filter(|values| values.rows > 0);
        notes.note = notes.times.is_some().then(|| NOTHING_SET.to_owned());
        return Ok(None);
    };
    let mut cutoff = retention.retention.map_or(f64::NEG_INFINITY, |age| now - age.as_secs_f64());
    let tally = tally_of(source, shape, column, (judge, kind, cutoff), inputs.scan_time, &samples)?;
    let times = tally.values();
    let words = times.summary();
    notes.times = Some(times);
    let believed = check_plausible(retention, &judge, (kind, cutoff), &samples, &tally, notes);
    if !believed.map_err(|error| error.with(&words))? {
        return Ok(None);
    }
    let mut bounds = Bounds::new(kind, &tally, &judge, cutoff);
    if let Some(latest) = retention.keep_latest {
        let judged = (&judge, kind, &tally);
        match keep_newest(source, shape, column, latest, judged, (bounds, cutoff), notes)? {
            Some(kept) => (bounds, cutoff) = kept,
            None => return Ok(None),
        }
    }
    let (mut last, mut expired_by) = (None, ExpiredBy::Age);
    if let Some(limits) = limits(retention)
        && let Some((cursor, limit)) =
            beyond(source, (retention, shape, Some(column)), &bounds, limits, inputs.scan_time)?
    {
        let moment = cursor.first().and_then(|value| convert(&value, kind)).unwrap_or(f64::NEG_INFINITY);
        if moment >= cutoff {
            (last, expired_by, cutoff) = (Some(cursor), limit, moment);
        }
    }
    if cutoff == f64::NEG_INFINITY {
        return Ok(None);
    }
    let Bounds { floor, below, form, .. } = bounds;
    if let TimeForm::PerRow { .. } = form {
        let by_rank = last.is_some();
        let test = move |value: &TimeValue| matches!(judge.read(value, kind), Reading::Time(seconds) if by_rank || seconds < cutoff);
        let test: RowTest = Arc::new(test);
        source.test_rows(Arc::clone(&test))?;
        notes.row_test = Some(test);
    }
    let (format, oldest) = (Some(tally.format()), tally.oldest.unwrap_or(cutoff));
    let keys = source.key_range(shape)?;
    let (column, condition) = (Some(column.to_owned()), retention.condition.clone());
    let expiry = ExpiryPredicate { column, floor, below, last, form, cutoff_seconds: cutoff, condition };
    Ok(Some(Planned { expiry, expired_by, kind, format, cutoff: Some(cutoff), oldest, keys }))
}

/// Reads all values of a column, or the sample and the newest ones where that takes too long.
fn tally_of(
    source: &impl TimeColumn,
    shape: &ScanTable,
    column: &str,
    (judge, kind, cutoff): (Judge, TimestampFormat, f64),
    scan_time: Duration,
    samples: &[TimeValue],
) -> Result<Tally, SqliteError> {
    let mut tally = Tally::new(judge, kind, cutoff);
    if source.each_time(shape, column, scan_time, &mut |value| tally.add(value.as_ref()))? {
        return Ok(tally);
    }
    tally.of_sample(samples);
    let Bounds { floor, never, form, .. } = Bounds::new(kind, &tally, &judge, cutoff);
    if form != (TimeForm::PerRow { ordered: false }) && shape.index_on(column).is_some() {
        let found = source.newest_between(shape, column, (&floor, &never), (1, SAMPLE_OF_NEWEST))?;
        found.iter().for_each(|value| tally.add(Some(value)));
    }
    Ok(tally)
}

/// Draws bounds and cutoff down so that the newest rows stay; `None` where all rows are among them.
fn keep_newest(
    source: &impl TimeColumn,
    shape: &ScanTable,
    column: &str,
    latest: u64,
    (judge, kind, tally): (&Judge, TimestampFormat, &Tally),
    (mut bounds, mut cutoff): (Bounds, f64),
    notes: &mut PlanNotes,
) -> Result<Option<(Bounds, f64)>, PlanError> {
    check_order(shape, column, bounds.form, "keep_latest needs")?;
    let found = source.newest_between(shape, column, (&bounds.floor, &bounds.never), (latest, 1))?;
    let first_kept = found.into_iter().next().unwrap_or_else(|| bounds.floor.clone());
    let below = bounds.below.clone();
    let kept = source.count_between(shape, column, (&first_kept, &below))?;
    if kept > 0 {
        notes.kept.push(KeptRows { reason: KeptBy::KeepLatest, referenced_by: None, rows: kept });
    }
    if first_kept == bounds.floor {
        return Ok(None);
    }
    let Some(moment) = convert(&first_kept, kind) else { return Ok(None) };
    // Texts of several zones are in the order of their times but for a day and a bit.
    let various = matches!(tally.spelling, Some(Spelling::Various { .. }));
    let moment = if various { moment - 27.0 * 3600.0 } else { moment };
    if moment < cutoff {
        cutoff = moment;
        bounds = Bounds::new(kind, tally, judge, cutoff);
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
    shape: &ScanTable,
    column: &str,
    (judge, limit): (&Judge, Duration),
    samples: &mut Vec<TimeValue>,
) -> Result<Option<TimestampFormat>, Undetected> {
    const ENOUGH: usize = 1000;
    if let Some(kind) = judge.detect(samples).map_err(Undetected::Values)? {
        return Ok(Some(kind));
    }
    let mut more = Vec::new();
    let mut visit = |value: Option<TimeValue>| {
        let is_set = |value: &TimeValue| {
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

/// Why nothing is deleted from a table to which nothing seems to be written any more. Moments of
/// expiry are of such a table before `long_ago`.
fn inactivity(
    retention: &Retention,
    judge: &Judge,
    long_ago: f64,
    (newest, counts): (f64, bool),
) -> Result<Option<String>, PlanError> {
    if !retention.expires {
        return clock_check::compare_with_newest_row(newest, judge.now, retention).map_err(PlanError::Clock);
    }
    Ok((counts && newest < long_ago).then(|| {
        format!("the last row of {} expired at {}, more than a year ago", retention.table, date(newest))
    }))
}

/// Whether the values are to be believed and anything may be deleted by them; `false` with a note
/// in `notes` where they are and nothing should.
fn check_plausible(
    retention: &Retention,
    judge: &Judge,
    (kind, cutoff): (TimestampFormat, f64),
    samples: &[TimeValue],
    tally: &Tally,
    notes: &mut PlanNotes,
) -> Result<bool, PlanError> {
    let table = &retention.table;
    let name = format!("{table}.{}", retention.column.as_deref().unwrap_or_default());
    let age = retention.max_newest_age.as_secs_f64().max(30.0 * DAY_SECONDS);
    let misread = |what: &str| {
        judge.better(samples, kind, age).map(|better| {
            PlanError::Config(format!(
                "{name}: with the format {}, {what}, but {better}; the format is probably wrong, so nothing is deleted",
                kind.name()
            ))
        })
    };
    let Some(newest) = tally.newest else {
        if let Some(error) = misread("no value is a time") {
            return Err(error);
        }
        if tally.not_understood() > 0 {
            let message = format!("{name}: no value is a time in the format {}", kind.name());
            return Err(PlanError::Config(format!("{message}; nothing is deleted")));
        }
        notes.note = Some(NOTHING_SET.to_owned());
        return Ok(false);
    };
    // By their number or size, the oldest rows go whatever the clock says.
    if retention.retention.is_none() {
        return Ok(true);
    }
    let counts = epoch_of(kind).is_some();
    if newest < OLDEST_PLAUSIBLE && counts {
        let what = format!("the newest row is of {}", date(newest));
        return Err(misread(&what).unwrap_or_else(|| {
            PlanError::Config(format!(
                "{name}: with the format {}, {what}, before SQLite existed; the format is probably wrong, so nothing is deleted",
                kind.name()
            ))
        }));
    }
    let inactivity =
        inactivity(retention, judge, cutoff.min(judge.now - 366.0 * DAY_SECONDS), (newest, counts))?;
    let all_expired = newest < cutoff;
    if (inactivity.is_some() || all_expired)
        && let Some(error) = misread(&format!("the newest row is of {}", date(newest)))
    {
        return Err(error);
    }
    // With a detected epoch that is wrong after all, the newest row would be the first to say so.
    let guessed = (counts && all_expired && retention.format == TimestampFormat::Auto && !retention.expires)
        .then(|| {
            format!("the newest row of {table} would be deleted too, based on a format that was only detected; set `format`")
        });
    if let Some(reason) = inactivity {
        notes.note = Some(format!("{reason}; its rows are kept"));
        notes.kept.push(KeptRows { reason: KeptBy::Quiet, referenced_by: None, rows: tally.expired() });
        return Ok(false);
    }
    if let Some(reason) = guessed {
        notes.note = Some(format!("{reason}; its rows are kept"));
        notes.is_doubtful = true;
        return Ok(false);
    }
    Ok(true)
}
