//! The oldest and the newest time of a table's column, by the rules of a retention: what stands for
//! no time is left out, and a newest row that is not plausible is no answer.

use std::time::Duration;
use std::time::SystemTime;

use crate::config::TimestampFormat;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;
use crate::sqlite::TimeColumn;
use crate::sqlite::TimeValue;

use super::timestamp::Judge;
use super::timestamp::OLDEST_PLAUSIBLE;
use super::timestamp::Reading;
use super::timestamp::date;
use super::timestamp::epoch_of;

/// What is known of a column's times.
pub(super) enum Age {
    /// It holds none.
    Empty,
    /// The oldest and the newest, in seconds since 1970.
    Range(f64, f64),
    /// Why neither is known.
    Unknown(String),
}

/// Finds the oldest and the newest time of a column.
///
/// # Errors
/// As for [`Reader::time_range`].
pub(super) fn age_of(
    reader: &mut Reader,
    (table, column): (&str, &str),
    format: TimestampFormat,
    timeout: Duration,
) -> Result<Age, SqliteError> {
    let Some((oldest, newest)) = reader.time_range(table, column, timeout)? else { return Ok(Age::Empty) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let judge = Judge { now, expires: false };
    let mut values = vec![oldest, newest];
    let given = |values: &[TimeValue]| match format {
        TimestampFormat::Auto => judge.detect(values),
        given => Ok(Some(given)),
    };
    // Numbers and texts in one form have their ends where their times have them. RFC 2822 begins
    // with the weekday.
    if let Ok(Some(kind)) = given(&values)
        && kind != TimestampFormat::Rfc2822
        && let (Reading::Time(oldest), Reading::Time(newest)) =
            (judge.read(&values[0], kind), judge.read(&values[1], kind))
    {
        return Ok(plausible(kind, oldest, newest));
    }
    let Ok(shape) = reader.scan_table(table)? else {
        return Ok(Age::Unknown("not an ordinary table".to_owned()));
    };
    values.extend(reader.sample_times(&shape, column)?);
    let kind = match given(&values) {
        Ok(Some(kind)) => kind,
        Ok(None) => return Ok(Age::Unknown("no row has a time that is set".to_owned())),
        Err(error) => return Ok(Age::Unknown(error.to_string())),
    };
    let (mut oldest, mut newest) = (f64::INFINITY, f64::NEG_INFINITY);
    let all = reader.each_time(&shape, column, timeout, &mut |value| {
        if let Some(Reading::Time(seconds)) = value.map(|value| judge.read(&value, kind)) {
            (oldest, newest) = (oldest.min(seconds), newest.max(seconds));
        }
    })?;
    if !all {
        return Ok(Age::Unknown(format!(
            "the ends of the column are no times as {} writes them, and not every row was read within {timeout:?}; \
             raise count_timeout",
            kind.name()
        )));
    }
    if newest < oldest {
        return Ok(Age::Unknown(format!("no value is a time as {} writes it", kind.name())));
    }
    Ok(plausible(kind, oldest, newest))
}

fn plausible(kind: TimestampFormat, oldest: f64, newest: f64) -> Age {
    if newest < OLDEST_PLAUSIBLE && epoch_of(kind).is_some() {
        let date = date(newest);
        return Age::Unknown(format!(
            "read as {}, the newest row is of {date}, before SQLite existed; the format is likely wrong",
            kind.name()
        ));
    }
    Age::Range(oldest, newest)
}
