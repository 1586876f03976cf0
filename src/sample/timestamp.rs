//! What moment a stored value means.
//!
//! SQLite has no type for time, so applications write ISO-8601 text, Unix seconds, milliseconds or
//! microseconds, or Julian days (<https://www.sqlite.org/lang_datefunc.html>). The format is detected from the data, and an unclear one is
//! refused: a wrong guess would make a retention look proven that is not.

use chrono::DateTime;
use chrono::NaiveDate;
use chrono::NaiveDateTime;

use crate::config::TimestampFormat;
use crate::sqlite::StoredTime;

/// Why a value gives no moment.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TimestampError {
    /// The value fits no format, or several.
    #[error("{0} is no time in a format that litekeeper knows; set `format`")]
    Unclear(String),
    /// The value is not of the configured format.
    #[error("{0} is not a time as {1} writes it")]
    Mismatch(String, &'static str),
    /// Oldest and newest are written differently.
    #[error("the column mixes formats: {0} and {1}")]
    Mixed(&'static str, &'static str),
}

/// The name of a format in the configuration.
#[must_use]
pub fn format_name(format: TimestampFormat) -> &'static str {
    match format {
        TimestampFormat::Auto => "auto",
        TimestampFormat::Iso8601 => "iso8601",
        TimestampFormat::UnixSeconds => "unix_seconds",
        TimestampFormat::UnixMilliseconds => "unix_milliseconds",
        TimestampFormat::UnixMicroseconds => "unix_microseconds",
        TimestampFormat::JulianDay => "julian_day",
    }
}

/// The moments of the oldest and the newest row, in seconds since 1970, and the format they are in.
///
/// # Errors
/// See [`TimestampError`].
pub fn seconds_since_epoch(
    oldest: &StoredTime,
    newest: &StoredTime,
    format: TimestampFormat,
) -> Result<(f64, f64, TimestampFormat), TimestampError> {
    let (oldest_format, newest_format) = match format {
        TimestampFormat::Auto => (detect(oldest)?, detect(newest)?),
        given => (given, given),
    };
    if oldest_format != newest_format {
        return Err(TimestampError::Mixed(format_name(oldest_format), format_name(newest_format)));
    }
    Ok((convert(oldest, oldest_format)?, convert(newest, oldest_format)?, oldest_format))
}

/// The format of one value, by ranges of numbers that only one format uses for the years 1973 to 5138.
///
/// # Errors
/// The value fits no format, or several.
pub fn detect(value: &StoredTime) -> Result<TimestampFormat, TimestampError> {
    let by_size = |number: f64| match number {
        n if (1_721_060.0..5_373_485.0).contains(&n) => Some(TimestampFormat::JulianDay),
        n if (1e8..1e11).contains(&n) => Some(TimestampFormat::UnixSeconds),
        n if (1e11..1e14).contains(&n) => Some(TimestampFormat::UnixMilliseconds),
        n if (1e14..1e17).contains(&n) => Some(TimestampFormat::UnixMicroseconds),
        _ => None,
    };
    let found = match value {
        StoredTime::Integer(integer) => by_size(*integer as f64),
        StoredTime::Real(real) => by_size(*real),
        StoredTime::Text(text) => iso_seconds(text).map(|_| TimestampFormat::Iso8601),
        StoredTime::Blob => None,
    };
    found.ok_or_else(|| TimestampError::Unclear(describe(value)))
}

/// The moment that a value of a format means, in seconds since 1970.
///
/// # Errors
/// The value is not of the format.
pub fn convert(value: &StoredTime, format: TimestampFormat) -> Result<f64, TimestampError> {
    /// The Julian day of 1970-01-01T00:00Z.
    const JULIAN_DAY_OF_EPOCH: f64 = 2_440_587.5;
    const SECONDS_PER_DAY: f64 = 86_400.0;
    let mismatch = || TimestampError::Mismatch(describe(value), format_name(format));
    let number = match value {
        StoredTime::Integer(integer) => Some(*integer as f64),
        StoredTime::Real(real) => Some(*real),
        StoredTime::Text(_) | StoredTime::Blob => None,
    };
    match (format, value) {
        (TimestampFormat::Iso8601, StoredTime::Text(text)) => iso_seconds(text),
        (TimestampFormat::Iso8601, _) => None,
        (TimestampFormat::UnixSeconds, _) => number,
        (TimestampFormat::UnixMilliseconds, _) => number.map(|number| number / 1e3),
        (TimestampFormat::UnixMicroseconds, _) => number.map(|number| number / 1e6),
        (TimestampFormat::JulianDay, _) => number.map(|day| (day - JULIAN_DAY_OF_EPOCH) * SECONDS_PER_DAY),
        (TimestampFormat::Auto, _) => return Err(TimestampError::Unclear(describe(value))),
    }
    .ok_or_else(mismatch)
}

/// ISO-8601 text as SQLite's functions and most languages write it; UTC where it names no zone,
/// as SQLite's own `datetime('now')` is.
fn iso_seconds(text: &str) -> Option<f64> {
    const LOCAL: [&str; 4] =
        ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    const ZONED: [&str; 4] = [
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f %#z",
        "%Y-%m-%dT%H:%M%#z",
    ];
    let text = text.trim();
    let seconds = |moment: DateTime<chrono::Utc>| moment.timestamp_micros() as f64 / 1e6;
    let zoned = text.strip_suffix(['Z', 'z']).map(|local| format!("{}+00:00", local.trim_end()));
    let zoned = zoned.as_deref().unwrap_or(text);
    if let Some(moment) = ZONED.iter().find_map(|format| DateTime::parse_from_str(zoned, format).ok()) {
        return Some(seconds(moment.to_utc()));
    }
    if let Some(moment) = LOCAL.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()) {
        return Some(seconds(moment.and_utc()));
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(seconds(date.and_time(chrono::NaiveTime::MIN).and_utc()))
}

fn describe(value: &StoredTime) -> String {
    const MAX_CHARS: usize = 40;
    match value {
        StoredTime::Integer(integer) => integer.to_string(),
        StoredTime::Real(real) => real.to_string(),
        StoredTime::Text(text) => format!("{:?}", text.chars().take(MAX_CHARS).collect::<String>()),
        StoredTime::Blob => "a blob".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(value: StoredTime, format: TimestampFormat) -> Result<(f64, TimestampFormat), TimestampError> {
        seconds_since_epoch(&value, &value, format).map(|(oldest, _, format)| (oldest, format))
    }

    #[test]
    fn formats_are_detected() {
        use TimestampFormat::*;
        let text = |text: &str| StoredTime::Text(text.to_owned());
        for (value, seconds, format) in [
            (text("2026-11-24 01:02:03"), 1_795_482_123.0, Iso8601),
            (text("2026-11-24T01:02:03"), 1_795_482_123.0, Iso8601),
            (text("2026-11-24T01:02:03Z"), 1_795_482_123.0, Iso8601),
            (text("2026-11-24T01:02:03.250Z"), 1_795_482_123.25, Iso8601),
            (text("2026-11-24T02:02:03+01:00"), 1_795_482_123.0, Iso8601),
            (text("2026-11-24 02:02:03+0100"), 1_795_482_123.0, Iso8601),
            (text("2026-11-24 01:02:03 +00:00"), 1_795_482_123.0, Iso8601),
            (text("2026-11-24"), 1_795_478_400.0, Iso8601),
            (StoredTime::Integer(1_795_482_123), 1_795_482_123.0, UnixSeconds),
            (StoredTime::Real(1_795_482_123.5), 1_795_482_123.5, UnixSeconds),
            (StoredTime::Integer(1_795_482_123_000), 1_795_482_123.0, UnixMilliseconds),
            (StoredTime::Integer(1_795_482_123_000_000), 1_795_482_123.0, UnixMicroseconds),
            (StoredTime::Real(2_440_588.5), 86_400.0, JulianDay),
        ] {
            assert_eq!(moment(value.clone(), Auto), Ok((seconds, format)), "{value:?}");
        }
    }

    #[test]
    fn what_is_unclear_is_refused() {
        let text = StoredTime::Text("yesterday".to_owned());
        for value in
            [StoredTime::Integer(42), StoredTime::Blob, text.clone(), StoredTime::Text(String::new())]
        {
            assert!(
                matches!(moment(value.clone(), TimestampFormat::Auto), Err(TimestampError::Unclear(_))),
                "{value:?}"
            );
        }
        assert!(matches!(
            moment(text.clone(), TimestampFormat::UnixSeconds),
            Err(TimestampError::Mismatch(..))
        ));
        let mixed = seconds_since_epoch(
            &StoredTime::Integer(1_795_482_123),
            &StoredTime::Text("2026-11-24".to_owned()),
            TimestampFormat::Auto,
        );
        assert_eq!(mixed, Err(TimestampError::Mixed("unix_seconds", "iso8601")));
    }

    #[test]
    fn a_given_format_needs_no_detection() {
        assert_eq!(
            moment(StoredTime::Integer(42), TimestampFormat::UnixMilliseconds),
            Ok((0.042, TimestampFormat::UnixMilliseconds))
        );
    }
}
