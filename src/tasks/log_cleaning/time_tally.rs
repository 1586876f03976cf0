//! What the values of a time column were taken for: counts, examples, oldest and newest.

use serde::Deserialize;
use serde::Serialize;

use crate::collectors::Iso;
use crate::collectors::Judge;
use crate::collectors::Reading;
use crate::collectors::date;
use crate::collectors::describe;
use crate::collectors::iso;
use crate::config::TimestampFormat;
use crate::humanize::count;
use crate::sqlite::TimeValue;

/// What the values of a time column were taken for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeValues {
    /// The format as which they were read.
    pub format: String,
    /// Whether every row was looked at; else all counts are those of a sample.
    pub all_rows: bool,
    /// Rows looked at.
    pub rows: u64,
    /// The oldest time.
    pub oldest: Option<String>,
    /// The newest time.
    pub newest: Option<String>,
    /// Rows whose time has expired, a `condition` not regarded.
    pub expired: u64,
    /// Rows that are NULL.
    pub null: u64,
    /// Rows with a value that stands for "not set", such as 0 or 1970-01-01; they stay.
    pub not_set: u64,
    /// One of them.
    pub not_set_example: Option<String>,
    /// Rows with a time so far ahead that it stands for "never"; they stay.
    pub never: u64,
    /// One of them.
    pub never_example: Option<String>,
    /// Rows whose value is no time in the format; they stay.
    pub not_understood: u64,
    /// One of them.
    pub not_understood_example: Option<String>,
}

impl TimeValues {
    /// The values in words, for a message.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut words = format!("times read as {}", self.format);
        if let (Some(oldest), Some(newest)) = (&self.oldest, &self.newest) {
            words.push_str(&format!(", oldest {oldest}, newest {newest}"));
        }
        words.push_str(&format!(", {} expired", count(self.expired)));
        for (number, name, example) in [
            (self.not_set, "not set", &self.not_set_example),
            (self.never, "far in the future", &self.never_example),
            (self.not_understood, "not understood", &self.not_understood_example),
        ] {
            if number > 0 {
                let example = example.as_deref().unwrap_or_default();
                words.push_str(&format!(", {} {name} (such as {example})", count(number)));
            }
        }
        if self.null > 0 {
            words.push_str(&format!(", {} NULL", count(self.null)));
        }
        let of = if self.all_rows { "all" } else { "a sample of" };
        format!("{words}; of {of} {} rows", count(self.rows))
    }
}

/// How texts in ISO 8601 are written, as far as their order depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Spelling {
    /// All alike: hyphens in the date, separator and offset from UTC.
    Same { extended: bool, separator: Option<char>, offset: Option<f64> },
    /// The dates have hyphens in all of them or in none, and all else differs.
    Various { extended: bool },
    /// Their order says nothing.
    Unordered,
}

/// Counts the values of a column.
#[derive(Debug)]
pub(super) struct Tally {
    judge: Judge,
    kind: TimestampFormat,
    cutoff: f64,
    values: TimeValues,
    /// The oldest time, in seconds since 1970.
    pub oldest: Option<f64>,
    /// The newest time.
    pub newest: Option<f64>,
    /// How the ISO 8601 texts among them are written.
    pub spelling: Option<Spelling>,
    /// Whether times are written as text.
    pub texts: bool,
}

impl Tally {
    pub(super) fn new(judge: Judge, kind: TimestampFormat, cutoff: f64) -> Self {
        let values = TimeValues { all_rows: true, ..TimeValues::default() };
        Self { judge, kind, cutoff, values, oldest: None, newest: None, spelling: None, texts: false }
    }

    pub(super) fn add(&mut self, value: Option<&TimeValue>) {
        self.values.rows += 1;
        let Some(value) = value else {
            self.values.null += 1;
            return;
        };
        let values = &mut self.values;
        let (number, example) = match self.judge.read(value, self.kind) {
            Reading::Time(seconds) => {
                self.oldest = Some(self.oldest.map_or(seconds, |oldest| oldest.min(seconds)));
                self.newest = Some(self.newest.map_or(seconds, |newest| newest.max(seconds)));
                values.expired += u64::from(seconds < self.cutoff);
                if let TimeValue::Text(text) = value {
                    self.texts = true;
                    // Nothing brings order back, so the text need not be read again.
                    if self.spelling != Some(Spelling::Unordered) {
                        let padded = text.starts_with(char::is_whitespace);
                        let found = iso(text).filter(|_| !padded);
                        self.spelling = Some(merge_spelling(self.spelling, found));
                    }
                }
                return;
            }
            Reading::NotSet => (&mut values.not_set, &mut values.not_set_example),
            Reading::Never => (&mut values.never, &mut values.never_example),
            Reading::NotUnderstood => (&mut values.not_understood, &mut values.not_understood_example),
        };
        *number += 1;
        if example.is_none() {
            *example = Some(describe(value));
        }
    }

    /// Takes the counts of a sample for those that a look at all rows did not end with.
    pub(super) fn of_sample(&mut self, sample: &[TimeValue]) {
        let (oldest, newest) = (self.oldest, self.newest);
        self.values = TimeValues::default();
        for value in sample {
            self.add(Some(value));
        }
        self.oldest = oldest.into_iter().chain(self.oldest).reduce(f64::min);
        self.newest = newest.into_iter().chain(self.newest).reduce(f64::max);
    }

    /// What was found.
    pub(super) fn values(&self) -> TimeValues {
        let mut values = self.values.clone();
        values.format = self.format();
        (values.oldest, values.newest) = (self.oldest.map(date), self.newest.map(date));
        values
    }

    /// How the column writes a time, in words.
    pub(super) fn format(&self) -> String {
        let detail = match (self.kind, self.spelling) {
            (TimestampFormat::Iso8601, Some(Spelling::Same { separator: None, .. })) => {
                "dates alone".to_owned()
            }
            (TimestampFormat::Iso8601, Some(Spelling::Same { offset: None, .. })) => {
                "no zone, taken as UTC".to_owned()
            }
            (TimestampFormat::Iso8601, Some(Spelling::Same { offset: Some(offset), .. })) => zone(offset),
            (TimestampFormat::Iso8601, Some(_)) => "various spellings or zones".to_owned(),
            (TimestampFormat::Epoch { seconds, unit_nanoseconds }, _) => {
                format!("units of {unit_nanoseconds} ns since {}", date(seconds as f64))
            }
            (_, Some(_)) if self.kind != TimestampFormat::Rfc2822 => "numbers as text".to_owned(),
            (kind, _) => return kind.name().to_owned(),
        };
        format!("{}, {detail}", self.kind.name())
    }

    /// How many rows have expired by their time.
    pub(super) fn expired(&self) -> u64 {
        self.values.expired
    }

    /// How many rows have a value that is no time in the format.
    pub(super) fn not_understood(&self) -> u64 {
        self.values.not_understood
    }
}

fn zone(offset: f64) -> String {
    let minutes = (offset.abs() / 60.0) as i64;
    let sign = if offset < 0.0 { '-' } else { '+' };
    format!("zone {sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The spelling of all values, the next one among them; `None` stands for a text that is no ISO
/// 8601.
fn merge_spelling(before: Option<Spelling>, next: Option<Iso>) -> Spelling {
    let Some(Iso { extended, separator, offset, .. }) = next else { return Spelling::Unordered };
    let same = Spelling::Same { extended, separator, offset };
    match before {
        None => same,
        Some(before) if before == same => same,
        Some(Spelling::Same { extended: other, .. } | Spelling::Various { extended: other })
            if other == extended =>
        {
            Spelling::Various { extended }
        }
        Some(_) => Spelling::Unordered,
    }
}
