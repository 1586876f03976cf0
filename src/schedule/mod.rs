//! Schedules: a cron expression in a time zone, or an interval.
//!
//! Pure: no clock and no file is read, and databases and tasks are texts from which the spread is
//! computed. The next occurrence is always strictly after the given time, and no occurrence is
//! returned twice.

mod cron;
mod dst;
mod error;
mod hash;
mod window;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use chrono_tz::Tz;

use self::cron::Cron;
pub use self::error::ScheduleError;
pub use self::hash::stable_hash;
pub use self::window::Window;

/// How far ahead `Schedule::interval` searches.
const HORIZON: TimeDelta = TimeDelta::days(31);

/// The number of distances between occurrences that `Schedule::interval` compares at least: four of
/// a monthly schedule include a long month, four of a yearly one a leap year.
const MIN_DISTANCES: u32 = 4;

/// The most steps of `Schedule::interval`: enough for a schedule of each minute to come to the end
/// of its day.
const MAX_STEPS: u32 = 1500;

/// A schedule, to the second.
///
/// Where the clock of the time zone changes, an occurrence in the skipped hour falls on its end, as
/// one, and in a repeated hour only the first occurrence counts.
#[derive(Clone, PartialEq)]
pub struct Schedule {
    form: Form,
    /// By how many whole seconds each occurrence is shifted. Whole ones, as a state file that keeps
    /// seconds must not turn an occurrence that was handled into a later one.
    shift: i64,
}

#[derive(Clone, PartialEq)]
enum Form {
    Cron(Cron),
    /// Whole seconds, at least one.
    Every(i64),
}

impl Schedule {
    /// A cron expression of five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`,
    /// in a time zone.
    ///
    /// # Errors
    /// What is wrong with it and what would be right, also when it can never occur.
    pub fn cron(text: &str, zone: Tz) -> Result<Self, ScheduleError> {
        Ok(Self { form: Form::Cron(Cron::parse(text, zone)?), shift: 0 })
    }

    /// An interval in whole seconds, at least one, aligned to the epoch in every time zone.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self { form: Form::Every(whole_seconds(interval).max(1)), shift: 0 }
    }

    /// Shifts every occurrence by a time that stays the same for this database and task: within
    /// `width` for a cron expression, within the whole interval for `every`.
    #[must_use]
    pub fn spread(self, width: Duration, database: &str, task: &str) -> Self {
        let width = match &self.form {
            Form::Cron(_) => whole_seconds(width),
            Form::Every(interval) => *interval,
        };
        let width = u64::try_from(width).expect("a width in seconds is not negative");
        let shift = hash::below(width, stable_hash(&[database, task]));
        Self { shift: i64::try_from(shift).expect("it is below a width that fits"), form: self.form }
    }

    /// The next occurrence strictly after a time. None when there is none before the year 5000.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.form {
            Form::Cron(cron) => shifted(cron.next_after(shifted(after, -self.shift)?)?, self.shift),
            Form::Every(interval) => self.tick(self.ticks(after, *interval) + 1, *interval),
        }
    }

    /// The last occurrence at or before a time.
    #[must_use]
    pub fn last_until(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.form {
            Form::Cron(cron) => shifted(cron.last_until(shifted(until, -self.shift)?)?, self.shift),
            Form::Every(interval) => self.tick(self.ticks(until, *interval), *interval),
        }
    }

    /// How many intervals have begun since the epoch. A time is never in a second before its own,
    /// so the fraction of a second does not matter.
    fn ticks(&self, at: DateTime<Utc>, interval: i64) -> i64 {
        (at.timestamp() - self.shift).div_euclid(interval)
    }

    fn tick(&self, number: i64, interval: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(number.checked_mul(interval)?.checked_add(self.shift)?, 0)
    }

    /// How many occurrences are after one time and not after another, counted up to `cap`.
    #[must_use]
    pub fn occurrences(&self, after: DateTime<Utc>, until: DateTime<Utc>, cap: u32) -> u32 {
        if until <= after {
            return 0;
        }
        if let Form::Every(interval) = &self.form {
            let count = self.ticks(until, *interval) - self.ticks(after, *interval);
            return u32::try_from(count).unwrap_or(u32::MAX).min(cap);
        }
        let mut count = 0;
        let mut last = after;
        while count < cap
            && let Some(next) = self.next_after(last)
            && next <= until
        {
            count += 1;
            last = next;
        }
        count
    }

    /// The longest time between two occurrences to expect: among those of a month, and among the
    /// next four.
    ///
    /// This is work of up to some milliseconds for a dense cron expression, to be done once and not
    /// for every scrape.
    #[must_use]
    pub fn interval(&self, now: DateTime<Utc>) -> Duration {
        if let Form::Every(interval) = &self.form {
            return Duration::from_secs(interval.unsigned_abs());
        }
        let mut longest = TimeDelta::zero();
        let mut last = self.next_after(now);
        for step in 0..MAX_STEPS {
            let Some(from) = last.filter(|from| step < MIN_DISTANCES || *from - now < HORIZON) else { break };
            // No pause within a stretch as long as the longest known can be longer, so such
            // stretches are leapt over.
            let leap = (step >= MIN_DISTANCES).then(|| self.last_until(from + longest)).flatten();
            last = leap.filter(|to| *to > from).or_else(|| {
                let next = self.next_after(from)?;
                longest = longest.max(next - from);
                Some(next)
            });
        }
        if longest.is_zero() { HORIZON } else { longest }.to_std().expect("a pause is not negative")
    }

    /// The time zone that it is read in, None for `every`.
    #[must_use]
    pub fn zone(&self) -> Option<Tz> {
        match &self.form {
            Form::Cron(cron) => Some(cron.zone()),
            Form::Every(_) => None,
        }
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    // The bound of ten thousand years keeps the arithmetic from overflowing.
    const MAX_SECONDS: u64 = 10_000 * 366 * 86_400;
    i64::try_from(duration.as_secs().min(MAX_SECONDS)).expect("the bound fits")
}

fn shifted(at: DateTime<Utc>, seconds: i64) -> Option<DateTime<Utc>> {
    at.checked_add_signed(TimeDelta::try_seconds(seconds)?)
}

impl fmt::Display for Schedule {
    /// As it was written; an interval in the spelling of the configuration.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Cron(cron) => formatter.write_str(cron.text()),
            Form::Every(interval) => {
                formatter.write_str("every ")?;
                let mut rest = *interval;
                for (unit, seconds, whole) in [
                    ("w", 604_800, true),
                    ("d", 86_400, false),
                    ("h", 3600, false),
                    ("m", 60, false),
                    ("s", 1, false),
                ] {
                    if rest >= seconds && (!whole || rest % seconds == 0) {
                        write!(formatter, "{}{unit}", rest / seconds)?;
                        rest %= seconds;
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Schedule({self}")?;
        if let Some(zone) = self.zone() {
            write!(formatter, " {zone}")?;
        }
        write!(formatter, " +{}s)", self.shift)
    }
}
