//! A cron expression in a time zone. croner searches the calendar without a zone: its own handling
//! of clock changes depends on whether minute and hour are single numbers, so that `*/15 2 * * *`
//! would be skipped on one day of spring and run twice in an hour of autumn.

use std::sync::Arc;

use chrono::DateTime;
use chrono::NaiveDate;
use chrono::NaiveTime;
use chrono::Utc;
use chrono_tz::Tz;
use croner::parser::CronParser;
use croner::parser::Seconds;
use croner::parser::Year;

use super::ScheduleError;
use super::dst;

/// What a field is called, what it may be, and an example with its meaning.
const FIELDS: [(&str, &str, &str, &str); 5] = [
    ("minute", "0 to 59", "*/15 * * * *", "is every quarter of an hour"),
    ("hour", "0 to 23", "0 22,4 * * *", "is every day at 22:00 and at 04:00"),
    ("day of month", "1 to 31, or L for the last", "0 4 1,15 * *", "is the 1st and the 15th at 04:00"),
    ("month", "1 to 12, or JAN to DEC", "0 4 1 JAN,JUL *", "is 1 January and 1 July at 04:00"),
    ("day of week", "SUN to SAT, or 0 to 7", "0 4 * * SUN", "is every Sunday at 04:00"),
];

const NICKNAMES: [&str; 6] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually"];

/// An expression that occurs at some time.
#[derive(Clone)]
pub struct Cron {
    // croner's form takes 5 KB, and there are thousands of databases with the same settings.
    pattern: Arc<croner::Cron>,
    text: Arc<str>,
    zone: Tz,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

impl Cron {
    pub fn parse(text: &str, zone: Tz) -> Result<Self, ScheduleError> {
        let text = text.trim();
        let fields: Vec<&str> = text.split_whitespace().collect();
        if text.starts_with('@') {
            if !NICKNAMES.iter().any(|known| known.eq_ignore_ascii_case(text)) {
                return Err(ScheduleError::Nickname { text: text.to_owned() });
            }
        } else if fields.len() != FIELDS.len() {
            return Err(ScheduleError::Fields { text: text.to_owned(), count: fields.len() });
        }
        let pattern = read(text).ok_or_else(|| first_invalid_field(&fields))?;
        // The calendar repeats after 400 years, so what does not occur in the 3000 that croner
        // searches never does.
        let begin = NaiveDate::default().and_time(NaiveTime::MIN);
        if pattern.find_next_occurrence(&begin, true).is_err() {
            return Err(ScheduleError::Never { text: text.to_owned() });
        }
        Ok(Self { pattern: Arc::new(pattern), text: Arc::from(text), zone })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first occurrence strictly after a time.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // An earlier wall time never means a later instant, so no occurrence before this one is
        // missed.
        let mut wall = dst::wall_at(self.zone, after);
        loop {
            wall = self.pattern.find_next_occurrence(&wall, false).ok()?;
            let at = dst::instant(self.zone, wall)?;
            if at > after {
                return Some(at);
            }
        }
    }

    /// The last occurrence at or before a time.
    pub fn last_until(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut wall = dst::furthest_wall(self.zone, until);
        let mut inclusive = true;
        loop {
            wall = self.pattern.find_previous_occurrence(&wall, inclusive).ok()?;
            let at = dst::instant(self.zone, wall)?;
            if at <= until {
                return Some(at);
            }
            inclusive = false;
        }
    }
}

fn read(text: &str) -> Option<croner::Cron> {
    // croner accepts an empty item between two commas.
    if text.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
        return None;
    }
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text).ok()
}

/// The error for the first field that cannot be read on its own.
fn first_invalid_field(fields: &[&str]) -> ScheduleError {
    let wrong = (0..FIELDS.len()).find(|&index| {
        let alone: Vec<&str> =
            (0..FIELDS.len()).map(|other| if other == index { fields[index] } else { "*" }).collect();
        read(&alone.join(" ")).is_none()
    });
    let Some(index) = wrong else { return ScheduleError::Never { text: fields.join(" ") } };
    let (name, allowed, example, meaning) = FIELDS[index];
    ScheduleError::Field { field: fields[index].to_owned(), name, allowed, example, meaning }
}
