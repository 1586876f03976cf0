//! Times that are written as text: ISO 8601 in the spellings that languages print, and RFC 2822.

use chrono::DateTime;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// The moment that an ISO 8601 text means, in seconds since 1970; UTC where it names no zone, as
/// SQLite's own `datetime('now')` is.
///
/// Read are the extended form (`2026-11-26 15:30:00.123`), the basic one with a `T`
/// (`20261126T153000Z`), zones as `Z`, `UTC`, `GMT`, `+01`, `+0100` and `+01:00`, and what Go
/// (`… +0100 CET m=+0.5`) and Java (`…[Europe/Berlin]`) add.
pub fn iso_seconds(text: &str) -> Option<f64> {
    iso(text).map(|iso| iso.seconds)
}

/// A time in ISO 8601, with what decides whether the order of two texts is that of their times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Iso {
    /// The moment, in seconds since 1970.
    pub seconds: f64,
    /// Whether the date has hyphens.
    pub extended: bool,
    /// What stands between date and time; `None` for dates alone.
    pub separator: Option<char>,
    /// Seconds east of UTC; `None` where no zone is named.
    pub offset: Option<f64>,
}

/// Reads a text as [`iso_seconds`] does.
pub fn iso(text: &str) -> Option<Iso> {
    let text = text.trim();
    let extended = text.as_bytes().get(4) == Some(&b'-');
    let (date, rest) = text.split_at_checked(if extended { 10 } else { 8 })?;
    let (month, day) = if extended { (5, 8) } else { (4, 6) };
    if extended && date.as_bytes()[7] != b'-' || !date.is_ascii() {
        return None;
    }
    // Eight digits alone are a number, see `digits_seconds`.
    if !extended && !rest.starts_with(['T', 't']) {
        return None;
    }
    let days = days(number(&date[..4])?, number(&date[month..month + 2])?, number(&date[day..day + 2])?)?;
    let midnight = days * SECONDS_PER_DAY;
    let Some(separator) = rest.chars().next() else {
        return Some(Iso { seconds: midnight, extended, separator: None, offset: None });
    };
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ',')).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(end);
    let offset = if zone.trim().is_empty() { None } else { Some(offset(zone)?) };
    let seconds = midnight + time_of_day(time)? - offset.unwrap_or(0.0);
    Some(Iso { seconds, extended, separator: Some(separator), offset })
}

/// The moment that an RFC 2822 text means (`Thu, 26 Nov 2026 15:30:00 GMT`).
pub fn rfc2822_seconds(text: &str) -> Option<f64> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|moment| moment.timestamp() as f64)
}

/// The moment that a number's decimal digits spell: `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`,
/// by their count.
pub fn digits_seconds(number: i64, count: u32) -> Option<f64> {
    let (date, time) = match count {
        8 => (number, 0),
        12 => (number / 10_000, number % 10_000 * 100),
        14 => (number / 1_000_000, number % 1_000_000),
        _ => return None,
    };
    if !(10_000_000..=99_999_999).contains(&date) {
        return None;
    }
    let part = |number: i64| u32::try_from(number).ok();
    let days = days(part(date / 10_000)?, part(date / 100 % 100)?, part(date % 100)?)?;
    seconds_of(part(time / 10_000)?, part(time / 100 % 100)?, f64::from(part(time % 100)?))
        .map(|time| days * SECONDS_PER_DAY + time)
}

/// A date whose year has more than four digits, as languages print their largest and smallest:
/// whether it lies in the future. `None` for any other text.
pub fn beyond_four_digits(text: &str) -> Option<bool> {
    let text = text.trim();
    let (future, digits) = match text.strip_prefix('-') {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix('+').unwrap_or(text)),
    };
    let year = digits.find(|c: char| !c.is_ascii_digit())?;
    let rest = &digits[year..];
    let is_date = rest.len() >= 6 && rest.starts_with('-') && rest.as_bytes()[3] == b'-';
    ((5..=12).contains(&year) && is_date).then_some(future)
}

fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn number_of(digits: &str) -> Option<u64> {
    digits.parse().ok()
}

/// Days since 1970 of a date of the Gregorian calendar. Every row of a table of texts is read by
/// it, so that it is arithmetic alone.
fn days(year: u32, month: u32, day: u32) -> Option<f64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(is_leap),
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    // Years that begin in March, so that the leap day is the last one; 719,468 days before 1970 the
    // year 0 began so.
    let (year, month) =
        if month > 2 { (i64::from(year), month - 3) } else { (i64::from(year) - 1, month + 9) };
    let century_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + century_days + i64::from((153 * month + 2) / 5) + i64::from(day) - 1 - 719_468;
    Some(days as f64)
}

/// `HH:MM`, `HH:MM:SS`, `HHMM`, `HHMMSS` or `HH`, the last part with a fraction or without.
fn time_of_day(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let fraction: f64 = match fraction {
        "" => 0.0,
        digits if digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            number_of(digits)? as f64 / 10_f64.powi(digits.len() as i32)
        }
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => format!("0.{digits}").parse().ok()?,
        _ => return None,
    };
    let mut parts = [0, 0, 0];
    if whole.contains(':') {
        let mut found = whole.split(':');
        for (part, text) in parts.iter_mut().zip(found.by_ref()) {
            *part = number(text).filter(|_| text.len() == 2)?;
        }
        if found.next().is_some() {
            return None;
        }
    } else {
        if !matches!(whole.len(), 2 | 4 | 6) {
            return None;
        }
        for (index, part) in parts.iter_mut().enumerate().take(whole.len() / 2) {
            *part = number(whole.get(2 * index..2 * index + 2)?)?;
        }
    }
    seconds_of(parts[0], parts[1], f64::from(parts[2]) + fraction)
}

fn seconds_of(hours: u32, minutes: u32, seconds: f64) -> Option<f64> {
    let end_of_day = hours == 24 && minutes == 0 && seconds == 0.0;
    let valid = (hours < 24 || end_of_day) && minutes < 60 && seconds < 61.0;
    valid.then(|| f64::from(hours * 3600 + minutes * 60) + seconds)
}

/// Seconds east of UTC of what follows a time; nothing is UTC.
fn offset(text: &str) -> Option<f64> {
    let text = match text.split_once('[') {
        Some((offset, region)) if region.ends_with(']') && !offset.trim().is_empty() => offset,
        Some(_) => return None,
        None => text,
    };
    let mut words = text.split_whitespace().peekable();
    let mut found = None;
    if let Some(word) = words.next_if(|word| word.starts_with(['+', '-'])) {
        found = Some(numeric_offset(word)?);
    }
    if let Some(word) = words.next_if(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic())) {
        let utc = ["Z", "UTC", "GMT"].iter().any(|name| word.eq_ignore_ascii_case(name));
        // An abbreviation alone, such as CST, names several zones.
        if found.is_none() && !utc {
            return None;
        }
    } else if let (Some(_), Some(word)) = (found, words.peek().copied()) {
        // Go repeats the offset where the zone has no name.
        if numeric_offset(word).is_some() {
            words.next();
        }
    }
    // The reading of Go's monotonic clock.
    words.next_if(|word| word.starts_with("m=+") || word.starts_with("m=-"));
    words.next().is_none().then(|| found.unwrap_or(0.0))
}

/// `+01`, `+0100`, `+01:00`.
fn numeric_offset(text: &str) -> Option<f64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+')?),
    };
    let digits: String = match rest.split_once(':') {
        Some((hours, minutes)) if hours.len() == 2 && minutes.len() == 2 => [hours, minutes].concat(),
        Some(_) => return None,
        None => rest.to_owned(),
    };
    let number = number(&digits)?;
    let (hours, minutes) = match digits.len() {
        2 => (number, 0),
        4 => (number / 100, number % 100),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then(|| sign * f64::from(hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_moment() {
        for text in [
            "2026-11-24 01:02:03",
            "2026-11-24T01:02:03",
            "2026-11-24T01:02:03Z",
            "2026-11-24 01:02:03 UTC",
            "2026-11-24 01:02:03.000 +0000 UTC",
            "2026-11-24 02:02:03.000000 +0100 CET m=+0.5",
            "2026-11-24 02:02:03 +0100 +0100",
            "2026-11-24T02:02:03+01:00",
            "2026-11-24T02:02:03+01:00[Europe/Berlin]",
            "2026-11-24 02:02:03+0100",
            "2026-11-23 20:02:03-05",
            "2026-11-24 01:02:03 +00:00",
            "20261124T010203Z",
            "20261124T020203+0100",
            " 2026-11-24 01:02:03,0 ",
        ] {
            assert_eq!(iso_seconds(text), Some(1_795_482_123.0), "{text}");
        }
        assert_eq!(rfc2822_seconds("Tue, 24 Nov 2026 02:02:03 +0100"), Some(1_795_482_123.0));
        assert_eq!(digits_seconds(20_261_124_010_203, 14), Some(1_795_482_123.0));
        assert_eq!(digits_seconds(202_611_240_102, 12), Some(1_795_482_120.0));
        assert_eq!(digits_seconds(20_261_124, 8), Some(1_795_478_400.0));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for year in [0, 1, 4, 100, 400, 1600, 1899, 1900, 1970, 1999, 2000, 2026, 2096, 2100, 9999] {
            for (month, day) in (1..=12).flat_map(|month| (0..=32).map(move |day| (month, day))) {
                let date = chrono::NaiveDate::from_ymd_opt(year as i32, month, day);
                let expected = date.map(|date| date.signed_duration_since(epoch).num_days() as f64);
                assert_eq!(days(year, month, day), expected, "{year}-{month}-{day}");
            }
        }
        assert_eq!((days(2026, 0, 1), days(2026, 13, 1)), (None, None));
    }

    #[test]
    fn what_is_no_time_is_not_read_as_one() {
        for text in [
            "",
            "never",
            "0000-00-00 00:00:00",
            "2026-13-01",
            "2026-11-24 25:00:00",
            "2026-11-24 01:02:03 CST",
            "2026-11-24 yesterday",
            "2026-11-24 01:02:03 and more",
            "2026-11-2é",
            "20261124",
            "2026-11-24T",
            "１０２６-11-24",
        ] {
            assert_eq!(iso_seconds(text), None, "{text}");
        }
        assert_eq!(beyond_four_digits("+275760-09-13T00:00:00.000Z"), Some(true));
        assert_eq!(beyond_four_digits("-271821-04-20T00:00:00.000Z"), Some(false));
        assert_eq!(beyond_four_digits("2026-11-24"), None);
        assert_eq!(beyond_four_digits("123456789"), None);
    }
}
