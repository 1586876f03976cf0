//! The hours in which maintenance may run. Their instants are computed day by day, by the function
//! that also computes the occurrences of a schedule. Whether an instant is inside and when the
//! window closes must follow from the same rules.

use std::fmt;
use std::sync::Arc;

use chrono::DateTime;
use chrono::Datelike;
use chrono::Days;
use chrono::NaiveDate;
use chrono::NaiveTime;
use chrono::TimeDelta;
use chrono::Utc;
use chrono_tz::Tz;

use super::ScheduleError;
use super::dst;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const DAY_MINUTES: i64 = 24 * 60;

/// The days searched for an opening: a window may open once a week, and a clock change may remove
/// that once.
const SEARCH_DAYS: u64 = 16;

/// Hours of some days of the week, in a time zone: `22:00-06:00`, `Sat-Sun 00:00-24:00`,
/// `Mon,Wed 01:00-05:00`.
///
/// An end before the beginning is on the next day; the days are those of the beginning. Where one
/// day's hours meet the next one's they are one opening. When the clock changes, hours that are
/// left out are not there, and an end that comes twice is the first one.
#[derive(Clone, PartialEq)]
pub struct Window {
    text: Arc<str>,
    zone: Tz,
    /// From Monday on.
    days: [bool; 7],
    /// Minutes of the day of the beginning; the end may be on the next day.
    begin: i64,
    end: i64,
}

/// From the first instant up to and without the second.
type Opening = (DateTime<Utc>, DateTime<Utc>);

impl Window {
    /// Reads a window in a time zone.
    ///
    /// # Errors
    /// What is wrong with the text and what would be right.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, ScheduleError> {
        let text = text.trim();
        let wrong = |wrong: String| ScheduleError::Window { text: text.to_owned(), wrong };
        let (days, hours) = match text.split_whitespace().collect::<Vec<_>>()[..] {
            [hours] => ([true; 7], hours),
            [days, hours] => (parse_days(days).map_err(wrong)?, hours),
            [] => return Err(wrong("it is empty".to_owned())),
            [..] => return Err(wrong("it has more than days and hours".to_owned())),
        };
        let (begin, end) = hours.split_once('-').ok_or_else(|| wrong(format!("`{hours}` has no end")))?;
        let begin = parse_time(begin).map_err(wrong)?;
        let mut end = parse_time(end).map_err(wrong)?;
        if begin == DAY_MINUTES {
            return Err(wrong("it begins at 24:00, which is 00:00 of the next day".to_owned()));
        }
        if begin == end {
            return Err(wrong("it ends when it begins; the whole day is 00:00-24:00".to_owned()));
        }
        if end < begin {
            end += DAY_MINUTES;
        }
        Ok(Self { text: Arc::from(text), zone, days, begin, end })
    }

    /// Whether an instant is inside.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.opening_at(at).is_some()
    }

    /// The first instant strictly after a time at which it opens. None when it is never closed.
    #[must_use]
    pub fn next_opening(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.is_always_open() {
            return None;
        }
        let from = dst::wall_at(self.zone, after).date() - Days::new(1);
        let openings = from.iter_days().take(SEARCH_DAYS as usize).filter_map(|date| self.opening_of(date));
        // One that begins where another has not ended does not open anything.
        openings
            .map(|(open, _)| open)
            .find(|&open| open > after && !self.contains(open - TimeDelta::nanoseconds(1)))
    }

    /// When it closes, for an instant inside. None when the instant is outside, and when it is
    /// never closed.
    #[must_use]
    pub fn closes(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.is_always_open() {
            return None;
        }
        let (_, mut close) = self.opening_at(at)?;
        // A day is missing, or hours are, so this ends within a week and a change of the clock.
        for _ in 0..SEARCH_DAYS {
            let Some((_, later)) = self.opening_at(close) else { break };
            close = later;
        }
        Some(close)
    }

    /// Whether every instant is inside.
    #[must_use]
    pub fn is_always_open(&self) -> bool {
        self.days == [true; 7] && self.end - self.begin == DAY_MINUTES
    }

    /// The opening of one day that an instant is in; the longest when a change of the clock makes
    /// two overlap.
    fn opening_at(&self, at: DateTime<Utc>) -> Option<Opening> {
        let today = dst::wall_at(self.zone, at).date();
        // Two days back, for a zone that left out a whole day while a window crossed it.
        let dates = (today - Days::new(2)).iter_days().take(4);
        dates
            .filter_map(|date| self.opening_of(date))
            .filter(|(open, close)| *open <= at && at < *close)
            .max_by_key(|(_, close)| *close)
    }

    fn opening_of(&self, date: NaiveDate) -> Option<Opening> {
        let weekday = date.weekday().num_days_from_monday() as usize;
        let midnight = date.and_time(NaiveTime::MIN);
        let at = |minutes| dst::instant(self.zone, midnight + TimeDelta::minutes(minutes));
        let (open, close) = self.days[weekday].then(|| Some((at(self.begin)?, at(self.end)?)))??;
        (open < close).then_some((open, close))
    }
}

fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_day(first)?, parse_day(last)?);
        for offset in 0..=(last + 7 - first) % 7 {
            days[(first + offset) % 7] = true;
        }
    }
    Ok(days)
}

fn parse_day(text: &str) -> Result<usize, String> {
    let known = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    known.ok_or_else(|| format!("`{text}` is not a day; the days are Mon, Tue, Wed, Thu, Fri, Sat and Sun"))
}

/// Minutes of the day, up to 24:00.
fn parse_time(text: &str) -> Result<i64, String> {
    let number = |digits: &str| {
        let fits = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| digits.parse::<i64>().ok()).flatten()
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Some((number(hour)?, number(minute)?)))
        .filter(|&(hour, minute)| minute < 60 && hour * 60 + minute <= DAY_MINUTES)
        .map(|(hour, minute)| hour * 60 + minute)
        .ok_or_else(|| format!("`{text}` is not a time of the day from 00:00 to 24:00"))
}

impl fmt::Display for Window {
    /// As it was written.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Window({self} {})", self.zone)
    }
}
