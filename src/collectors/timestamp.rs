//! What moment a stored value means.
//!
//! SQLite has no type for time, so applications write text, or numbers of a unit since an epoch of
//! their choice (<https://www.sqlite.org/lang_datefunc.html>). The format is detected from the
//! data, and an unclear one is refused: a wrong guess would make a retention look proven that is
//! not, or delete rows that are wanted. A value that stands for "not set" or for "never" is no time
//! in any format.

use chrono::DateTime;
use chrono::Utc;

use crate::config::TimestampFormat;
use crate::sqlite::TimeValue;

use super::time_text::beyond_four_digits;
use super::time_text::digits_seconds;
use super::time_text::iso_seconds;
use super::time_text::rfc2822_seconds;

/// Seconds of a day.
pub const DAY_SECONDS: f64 = 86_400.0;

/// Before this moment (1973-03-03), no value is a time: zeros and small numbers of most epochs lie
/// there.
pub const FLOOR_SECONDS: f64 = 1e8;

/// From so many seconds after now on, a value means "never".
const NEVER_AFTER: f64 = 366.0 * DAY_SECONDS;

/// 2000-01-01, the year in which SQLite appeared. A log whose newest row is older is not believed.
pub const OLDEST_PLAUSIBLE: f64 = 946_684_800.0;

/// 2008-01-01. Small numbers that count something else lie in the first years after Apple's epoch
/// of 2001.
const OLDEST_APPLE: f64 = 1_199_145_600.0;

/// 1980-01-01, the zero of FAT and ZIP.
const DOS_ZERO: f64 = 315_532_800.0;

/// What a value of a time column is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// A moment, in seconds since 1970.
    Time(f64),
    /// A value that stands for "not set", such as 0, -1, an empty text or 1970-01-01.
    NotSet,
    /// A moment so far ahead that it stands for "never".
    Never,
    /// Nothing that the format writes.
    NotUnderstood,
}

/// Against which moments values are judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judge {
    /// Now, in seconds since 1970.
    pub now: f64,
    /// Whether the column holds moments of expiry, which may lie years ahead.
    pub expires: bool,
}

/// Why a column's values give no moments.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TimestampError {
    /// The values fit no format.
    #[error(
        "{0} is not a time in a format that litekeeper knows{1}; if the application counts from an epoch of its own, set `format`"
    )]
    Unclear(String, String),
    /// The values fit several formats.
    #[error("{0} can mean several times: {1}; set `format` to the one that the application writes")]
    Ambiguous(String, String),
    /// The values are written in several formats.
    #[error("the column mixes formats: {0} and {1}, such as {2} and {3}; bring them into one form first")]
    Mixed(&'static str, &'static str, String, String),
}

/// The moment that a value of a format means, in seconds since 1970, whatever it stands for.
#[must_use]
pub fn convert(value: &TimeValue, format: TimestampFormat) -> Option<f64> {
    match (format, value) {
        (TimestampFormat::Iso8601, TimeValue::Text(text)) => iso_seconds(text),
        (TimestampFormat::Rfc2822, TimeValue::Text(text)) => rfc2822_seconds(text),
        (TimestampFormat::Yyyymmdd, _) => digits_seconds(whole(value)?, 8),
        (TimestampFormat::Yyyymmddhhmm, _) => digits_seconds(whole(value)?, 12),
        (TimestampFormat::Yyyymmddhhmmss, _) => digits_seconds(whole(value)?, 14),
        (format, value) => {
            let (epoch, unit) = epoch_of(format)?;
            Some(epoch + number(value)? * unit).filter(|seconds| seconds.is_finite())
        }
    }
}

/// A format that counts: its epoch in seconds since 1970, and its unit in seconds.
#[must_use]
pub fn epoch_of(format: TimestampFormat) -> Option<(f64, f64)> {
    Some(match format {
        TimestampFormat::UnixSeconds => (0.0, 1.0),
        TimestampFormat::UnixMilliseconds => (0.0, 1e-3),
        TimestampFormat::UnixMicroseconds => (0.0, 1e-6),
        TimestampFormat::UnixNanoseconds => (0.0, 1e-9),
        TimestampFormat::JulianDay => (-2_440_587.5 * DAY_SECONDS, DAY_SECONDS),
        TimestampFormat::WebkitMicroseconds => (-11_644_473_600.0, 1e-6),
        TimestampFormat::WindowsFiletime => (-11_644_473_600.0, 1e-7),
        TimestampFormat::AppleSeconds => (978_307_200.0, 1.0),
        TimestampFormat::DotnetTicks => (-62_135_596_800.0, 1e-7),
        TimestampFormat::Epoch { seconds, unit_nanoseconds } => {
            (seconds as f64, unit_nanoseconds as f64 * 1e-9)
        }
        TimestampFormat::Auto
        | TimestampFormat::Iso8601
        | TimestampFormat::Rfc2822
        | TimestampFormat::Yyyymmdd
        | TimestampFormat::Yyyymmddhhmm
        | TimestampFormat::Yyyymmddhhmmss => return None,
    })
}

impl Judge {
    /// From this moment on a value means "never".
    #[must_use]
    pub fn never(&self) -> f64 {
        self.latest() + NEVER_AFTER
    }

    /// The latest moment that is plausible for the newest row.
    fn latest(&self) -> f64 {
        self.now + if self.expires { 20.0 * 365.0 * DAY_SECONDS } else { DAY_SECONDS }
    }

    /// What a value is in a format.
    #[must_use]
    pub fn read(&self, value: &TimeValue, format: TimestampFormat) -> Reading {
        // Most values of most columns; the names of months need no check.
        if let (TimestampFormat::Iso8601, TimeValue::Text(text)) = (format, value)
            && let Some(seconds) = iso_seconds(text)
            && (OLDEST_PLAUSIBLE..self.never()).contains(&seconds)
        {
            return Reading::Time(seconds);
        }
        if let Some(reading) = sentinel(value) {
            return reading;
        }
        // About a day from the epoch, a number is a zero with a time zone or a counter.
        let small = epoch_of(format)
            .and_then(|(_, unit)| number(value).map(|number| (number * unit).abs() <= DAY_SECONDS));
        if small == Some(true) {
            return Reading::NotSet;
        }
        match convert(value, format) {
            Some(seconds) if seconds < FLOOR_SECONDS => Reading::NotSet,
            Some(DOS_ZERO) if matches!(value, TimeValue::Text(_)) => Reading::NotSet,
            Some(seconds) if seconds >= self.never() => Reading::Never,
            Some(seconds) => Reading::Time(seconds),
            // A zero as ISO 8601 among texts of another kind, and the reverse.
            None => match (value, convert(value, TimestampFormat::Iso8601)) {
                (TimeValue::Integer(number), _) if *number <= 86_400 => Reading::NotSet,
                (_, Some(seconds)) if seconds < FLOOR_SECONDS => Reading::NotSet,
                (_, Some(seconds)) if seconds >= self.never() => Reading::Never,
                _ => Reading::NotUnderstood,
            },
        }
    }

    /// Whether the newest row of a table can be of a moment.
    fn is_plausible(&self, seconds: f64, format: TimestampFormat) -> bool {
        let oldest = if format == TimestampFormat::AppleSeconds { OLDEST_APPLE } else { OLDEST_PLAUSIBLE };
        (oldest..=self.latest()).contains(&seconds)
    }

    /// The formats in which a value is a plausible time of the newest row.
    fn plausible(&self, value: &TimeValue) -> impl Iterator<Item = (TimestampFormat, f64)> {
        let formats = TimestampFormat::WORDS.iter().map(|(_, format)| *format);
        formats.filter_map(|format| match self.read(value, format) {
            Reading::Time(seconds) if self.is_plausible(seconds, format) => Some((format, seconds)),
            Reading::Time(_) | Reading::NotSet | Reading::Never | Reading::NotUnderstood => None,
        })
    }

    /// The one format of a column's values; `None` where none of them is set.
    ///
    /// A format is taken when the newest value is plausible in it, no other format explains a value
    /// that it does not, and no second format can say the same.
    ///
    /// # Errors
    /// See [`TimestampError`].
    pub fn detect(&self, values: &[TimeValue]) -> Result<Option<TimestampFormat>, TimestampError> {
        let mut found: Vec<(TimestampFormat, f64, &TimeValue)> = Vec::new();
        for value in values {
            for (format, seconds) in self.plausible(value) {
                match found.iter_mut().find(|(other, ..)| *other == format) {
                    Some(best) if best.1 < seconds => (best.1, best.2) = (seconds, value),
                    Some(_) => {}
                    None => found.push((format, seconds, value)),
                }
            }
        }
        let explains_all = |format: TimestampFormat| {
            values.iter().all(|value| {
                matches!(self.read(value, format), Reading::Time(_)) || self.plausible(value).next().is_none()
            })
        };
        let fitting: Vec<_> = found.iter().filter(|(format, ..)| explains_all(*format)).collect();
        match (fitting.as_slice(), found.as_slice()) {
            ([(format, ..)], _) => Ok(Some(*format)),
            ([(_, _, value), ..], _) => {
                let decode_all = fitting.iter().map(|(format, seconds, _)| decoded(*format, *seconds));
                Err(TimestampError::Ambiguous(describe(value), decode_all.collect::<Vec<_>>().join(", ")))
            }
            ([], [one, other, ..]) => {
                Err(TimestampError::Mixed(one.0.name(), other.0.name(), describe(one.2), describe(other.2)))
            }
            ([], _) => self.without_plausible(values),
        }
    }

    /// The format of values of which none is plausible for a newest row.
    fn without_plausible(&self, values: &[TimeValue]) -> Result<Option<TimestampFormat>, TimestampError> {
        let texts = [TimestampFormat::Iso8601, TimestampFormat::Rfc2822];
        // A text spells its date, so that an old one is not misread.
        if let Some(format) = texts
            .into_iter()
            .find(|format| values.iter().any(|value| matches!(self.read(value, *format), Reading::Time(_))))
        {
            return Ok(Some(format));
        }
        let is_unset = |value: &TimeValue| {
            let iso = self.read(value, TimestampFormat::Iso8601);
            matches!(iso, Reading::NotSet | Reading::Never)
        };
        let Some(unclear) = values.iter().rev().find(|value| !is_unset(value)) else { return Ok(None) };
        let mut candidates = self.candidates(unclear);
        if !candidates.is_empty() {
            candidates = format!(", which would be {candidates}");
        }
        Err(TimestampError::Unclear(describe(unclear), candidates))
    }

    /// What a value would mean in each format, the closest to now first, at most four of them.
    fn candidates(&self, value: &TimeValue) -> String {
        const MOST: usize = 4;
        let formats = TimestampFormat::WORDS.iter().map(|(_, format)| *format);
        let mut found: Vec<_> =
            formats.filter_map(|format| Some((format, convert(value, format)?))).collect();
        found.retain(|(_, seconds)| DateTime::<Utc>::from_timestamp(*seconds as i64, 0).is_some());
        found.sort_by(|one, other| (one.1 - self.now).abs().total_cmp(&(other.1 - self.now).abs()));
        let words = found.iter().take(MOST).map(|(format, seconds)| decoded(*format, *seconds));
        words.collect::<Vec<_>>().join(", ")
    }

    /// A format other than the given one in which the newest of the values is at most `age` seconds
    /// old: the given one is likely wrong then. The answer says what the value would mean.
    #[must_use]
    pub fn better(&self, values: &[TimeValue], given: TimestampFormat, age: f64) -> Option<String> {
        let fresh = values.iter().flat_map(|value| self.plausible(value).map(move |found| (value, found)));
        let fresh = fresh.filter(|(_, (format, seconds))| {
            let same = epoch_of(*format).is_some() && epoch_of(*format) == epoch_of(given);
            *format != given && !same && *seconds >= self.now - age
        });
        let (value, (format, seconds)) = fresh.max_by(|one, other| one.1.1.total_cmp(&other.1.1))?;
        Some(format!("{} would be {}", describe(value), decoded(format, seconds)))
    }
}

/// A value that stands for "not set" or "never" in every format.
fn sentinel(value: &TimeValue) -> Option<Reading> {
    /// The largest numbers of several types, and what they are in other units.
    const LARGEST: [i64; 5] = [i64::MAX, i64::MAX / 1000, i32::MAX as i64, u32::MAX as i64, (1 << 53) - 1];
    const NOT_SET: [&str; 11] =
        ["", "null", "none", "nil", "n/a", "na", "nan", "-", "undefined", "-infinity", "not set"];
    const NEVER: [&str; 5] = ["never", "infinity", "inf", "forever", "unlimited"];
    let is_one = |words: &[&str], text: &str| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match value {
        TimeValue::Integer(number) if LARGEST.contains(number) => Some(Reading::Never),
        TimeValue::Integer(number) if *number == 0 || *number == -1 => Some(Reading::NotSet),
        TimeValue::Real(number) if *number == f64::INFINITY || *number >= i64::MAX as f64 => {
            Some(Reading::Never)
        }
        TimeValue::Text(text) => {
            let text = text.trim();
            match text {
                text if is_one(&NOT_SET, text) || text.starts_with("0000-") => Some(Reading::NotSet),
                text if is_one(&NEVER, text) => Some(Reading::Never),
                text => match beyond_four_digits(text) {
                    Some(true) => Some(Reading::Never),
                    Some(false) => Some(Reading::NotSet),
                    None => text.parse().ok().and_then(|number| sentinel(&TimeValue::Integer(number))),
                },
            }
        }
        TimeValue::Integer(_) | TimeValue::Real(_) | TimeValue::Blob => None,
    }
}

/// A number, also one that is written as text.
fn number(value: &TimeValue) -> Option<f64> {
    match value {
        TimeValue::Integer(integer) => Some(*integer as f64),
        TimeValue::Real(real) => Some(*real),
        TimeValue::Text(text) => {
            let text = text.trim();
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            (plain && !digits.is_empty()).then(|| text.parse().ok()).flatten()
        }
        TimeValue::Blob => None,
    }
}

fn whole(value: &TimeValue) -> Option<i64> {
    match value {
        TimeValue::Integer(integer) => Some(*integer),
        TimeValue::Real(real) => (real.fract() == 0.0 && real.abs() < 1e15).then_some(*real as i64),
        TimeValue::Text(text) => text.trim().parse().ok(),
        TimeValue::Blob => None,
    }
}

fn decoded(format: TimestampFormat, seconds: f64) -> String {
    format!("{} as {}", date(seconds), format.name())
}

/// A moment for people; years beyond what a calendar holds are said in numbers.
#[must_use]
pub fn date(seconds: f64) -> String {
    DateTime::<Utc>::from_timestamp(seconds as i64, 0).map_or_else(
        || format!("{:.0} years from 1970", seconds / (365.25 * DAY_SECONDS)),
        |moment| moment.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// A value as messages quote it, cut to 40 characters.
#[must_use]
pub fn describe(value: &TimeValue) -> String {
    const MAX_CHARS: usize = 40;
    match value {
        TimeValue::Integer(integer) => integer.to_string(),
        TimeValue::Real(real) => real.to_string(),
        TimeValue::Text(text) => format!("{:?}", text.chars().take(MAX_CHARS).collect::<String>()),
        TimeValue::Blob => "a blob".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1_795_482_123.0;
    const JUDGE: Judge = Judge { now: NOW, expires: false };

    fn text(text: &str) -> TimeValue {
        TimeValue::Text(text.to_owned())
    }

    #[test]
    fn formats_are_detected() {
        use TimestampFormat::*;
        for (value, format) in [
            (text("2026-11-24 01:02:03"), Iso8601),
            (text("20261124T010203Z"), Iso8601),
            (text("Tue, 24 Nov 2026 01:02:03 GMT"), Rfc2822),
            (text("1795482123"), UnixSeconds),
            (text("20261124010203"), Yyyymmddhhmmss),
            (TimeValue::Integer(1_795_482_123), UnixSeconds),
            (TimeValue::Real(1_795_482_123.0), UnixSeconds),
            (TimeValue::Integer(1_795_482_123_000), UnixMilliseconds),
            (TimeValue::Integer(1_795_482_123_000_000), UnixMicroseconds),
            (TimeValue::Integer(1_795_482_123_000_000_000), UnixNanoseconds),
            (TimeValue::Integer((1_795_482_123 + 11_644_473_600) * 1_000_000), WebkitMicroseconds),
            (TimeValue::Integer((1_795_482_123 + 11_644_473_600) * 10_000_000), WindowsFiletime),
            (TimeValue::Integer((1_795_482_123 + 62_135_596_800) * 10_000_000), DotnetTicks),
            (TimeValue::Integer(1_795_482_123 - 978_307_200), AppleSeconds),
            (TimeValue::Real(817_174_923.0), AppleSeconds),
            (TimeValue::Integer(20_261_124_010_203), Yyyymmddhhmmss),
            (TimeValue::Real(1_795_482_123.0 / 86_400.0 + 2_440_587.5), JulianDay),
        ] {
            let values = [value.clone(), TimeValue::Integer(0), text("never"), TimeValue::Integer(i64::MAX)];
            assert_eq!(JUDGE.detect(&values), Ok(Some(format)), "{value:?}");
            let Reading::Time(seconds) = JUDGE.read(&value, format) else { panic!("{value:?}") };
            assert!((seconds - NOW).abs() < 0.001, "{value:?}: {seconds}");
        }
        let day = [TimeValue::Integer(20_261_124)];
        assert_eq!(JUDGE.detect(&day), Ok(Some(Yyyymmdd)));
        assert_eq!(JUDGE.detect(&[TimeValue::Integer(202_611_240_102)]), Ok(Some(Yyyymmddhhmm)));
    }

    #[test]
    fn what_stands_for_no_time_is_none() {
        use TimestampFormat::*;
        for zero in [
            text(""),
            text("NULL"),
            text("0"),
            text("0000-00-00 00:00:00"),
            text("0001-01-01T00:00:00Z"),
            text("1970-01-01"),
            text("1970-01-01 01:00:00+01:00"),
            text("19700101T000001Z"),
            text("1970-01-01 00:00:01"),
            text("-271821-04-20T00:00:00Z"),
            TimeValue::Integer(0),
            TimeValue::Integer(-1),
            TimeValue::Integer(1),
            TimeValue::Integer(i64::MIN),
            TimeValue::Real(0.0),
        ] {
            for format in [Iso8601, UnixSeconds, UnixNanoseconds, AppleSeconds, WebkitMicroseconds] {
                if matches!((&zero, format), (TimeValue::Real(_), Iso8601)) {
                    continue;
                }
                assert_eq!(JUDGE.read(&zero, format), Reading::NotSet, "{zero:?} as {format:?}");
            }
            if zero != TimeValue::Real(0.0) {
                assert_eq!(JUDGE.detect(std::slice::from_ref(&zero)), Ok(None), "{zero:?}");
            }
        }
        for never in [
            text("9999-12-31 23:59:59"),
            text("+275760-09-13T00:00:00.000Z"),
            text("infinity"),
            TimeValue::Integer(i64::MAX),
            TimeValue::Integer(i64::from(i32::MAX)),
        ] {
            for format in [Iso8601, UnixSeconds, UnixMicroseconds, AppleSeconds, DotnetTicks] {
                assert_eq!(JUDGE.read(&never, format), Reading::Never, "{never:?} as {format:?}");
            }
        }
        for word in [text("yesterday"), text("2026-11-99"), TimeValue::Blob] {
            for format in [Iso8601, UnixSeconds, Yyyymmdd] {
                assert_eq!(JUDGE.read(&word, format), Reading::NotUnderstood, "{word:?} as {format:?}");
            }
        }
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for value in [TimeValue::Integer(1_000_000), TimeValue::Blob, text("yesterday")] {
            let found = JUDGE.detect(std::slice::from_ref(&value));
            assert!(matches!(found, Err(TimestampError::Unclear(..))), "{value:?}: {found:?}");
        }
        for other in [text("2026-11-24"), TimeValue::Integer(1_795_482_123_000)] {
            let mixed = JUDGE.detect(&[TimeValue::Integer(1_795_482_123), other]);
            assert!(matches!(mixed, Err(TimestampError::Mixed("unix_seconds" | "iso8601", ..))), "{mixed:?}");
        }
        let apple = [TimeValue::Integer(817_174_923)];
        let better = JUDGE.better(&apple, TimestampFormat::UnixSeconds, 30.0 * DAY_SECONDS);
        assert_eq!(better.as_deref(), Some("817174923 would be 2026-11-24 01:02:03 UTC as apple_seconds"));
    }
}
