//! Between which stored values the expired rows of a table lie, so that an index finds them.

use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;

use crate::collectors::DAY_SECONDS;
use crate::collectors::FLOOR_SECONDS;
use crate::collectors::Judge;
use crate::collectors::epoch_of;
use crate::config::TimestampFormat;
use crate::database::Database;
use crate::sqlite::JournalMode;
use crate::sqlite::TimeForm;
use crate::sqlite::TimeValue;

use crate::tasks::log_cleaning::time_tally::Spelling;
use crate::tasks::log_cleaning::time_tally::Tally;

/// How long all values of a time column may be looked at. A writer of a rollback database waits
/// meanwhile.
pub(super) fn scan_timeout(database: &Database, journal_mode: JournalMode) -> Duration {
    match journal_mode {
        JournalMode::Wal => database.settings.count_timeout * 10,
        JournalMode::Rollback => database.settings.count_timeout / 10,
    }
}

/// The values between which expired rows lie.
pub(super) struct Bounds {
    pub floor: TimeValue,
    pub below: TimeValue,
    /// From here on, values mean "never".
    pub never: TimeValue,
    pub form: TimeForm,
}

impl Bounds {
    pub(super) fn new(kind: TimestampFormat, tally: &Tally, judge: &Judge, cutoff: f64) -> Self {
        let never = judge.never();
        if let Some((epoch, unit)) = epoch_of(kind) {
            // About a day from the epoch, a number is a zero or a counter; see `Judge::read`.
            let least = ((FLOOR_SECONDS - epoch) / unit).max(DAY_SECONDS / unit + 1.0);
            let at = |seconds: f64| match kind {
                TimestampFormat::JulianDay => TimeValue::Real((seconds - epoch) / unit),
                _ => TimeValue::Integer(((seconds - epoch) / unit).floor() as i64),
            };
            let form = if tally.texts { TimeForm::PerRow { ordered: false } } else { TimeForm::Number };
            let floor = TimeValue::Integer(least.ceil() as i64);
            return Self { floor, below: at(cutoff), never: at(never), form };
        }
        let pattern = match kind {
            TimestampFormat::Yyyymmdd => Some("%Y%m%d"),
            TimestampFormat::Yyyymmddhhmm => Some("%Y%m%d%H%M"),
            TimestampFormat::Yyyymmddhhmmss => Some("%Y%m%d%H%M%S"),
            _ => None,
        };
        if let Some(pattern) = pattern {
            let at = |seconds: f64| TimeValue::Integer(spelled(seconds, pattern).parse().unwrap_or(0));
            // The number of the minute or day of the cutoff itself has not expired in full; each
            // row is read.
            let below = at(cutoff + DAY_SECONDS);
            let form = TimeForm::PerRow { ordered: !tally.texts };
            return Self { floor: at(FLOOR_SECONDS), below, never: at(never), form };
        }
        Self::of_texts(tally.spelling, never, cutoff)
    }

    /// Of texts: the bounds only narrow the search, since each row is read.
    fn of_texts(spelling: Option<Spelling>, never: f64, cutoff: f64) -> Self {
        let days = |extended: bool| if extended { "%Y-%m-%d" } else { "%Y%m%d" };
        let (extended, pattern, shift) = match spelling {
            Some(Spelling::Same { extended, separator: Some(separator), offset }) => {
                let time = if extended { "%H:%M:%S" } else { "%H%M%S" };
                (extended, format!("{}{separator}{time}", days(extended)), offset.unwrap_or(0.0) + 1.0)
            }
            Some(Spelling::Same { extended, separator: None, .. }) => {
                (extended, days(extended).to_owned(), DAY_SECONDS)
            }
            // No zone is further from UTC than 14 hours.
            Some(Spelling::Various { extended }) => {
                (extended, days(extended).to_owned(), DAY_SECONDS + 15.0 * 3600.0)
            }
            Some(Spelling::Unordered) | None => {
                let nothing = || TimeValue::Integer(0);
                let form = TimeForm::PerRow { ordered: false };
                return Self { floor: nothing(), below: nothing(), never: nothing(), form };
            }
        };
        let at = |seconds: f64, pattern: &str| TimeValue::Text(spelled(seconds, pattern));
        Self {
            floor: TimeValue::Text("1".to_owned()),
            below: at(cutoff + shift, &pattern),
            never: at(never, days(extended)),
            form: TimeForm::PerRow { ordered: true },
        }
    }
}

fn spelled(seconds: f64, pattern: &str) -> String {
    let moment = DateTime::<Utc>::from_timestamp(seconds.ceil() as i64, 0).unwrap_or_default();
    moment.format(pattern).to_string()
}
