//! The time columns of log tables, and how they write a time.

use chrono::DateTime;
use chrono::NaiveDate;
use chrono::NaiveTime;
use chrono::Utc;
use serde::Serialize;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::kinds::Required;
use crate::config::messages::quoted;
use crate::config::section::Section;
use crate::config::section::read_section;
use crate::config::section::section;
use crate::config::tree::Node;
use crate::config::values::Serialized;
use crate::config::values::Text;

section! {
    /// A log table's time column.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TimestampColumn {
        /// The table.
        pub table: String = String::new() => Required("table: logs", Text),
        /// Its column.
        pub column: String = String::new() => Required("column: created_at", Text),
        /// How the column writes a time.
        pub format: TimestampFormat = TimestampFormat::Auto => Serialized(read_format),
    }
}

/// How a column writes a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Detected from the data, refused when mixed or unclear.
    Auto,
    /// ISO-8601 text, extended or basic; UTC where it names no zone.
    Iso8601,
    /// Text as in mails and HTTP: `Thu, 26 Nov 2026 15:30:00 GMT`.
    Rfc2822,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
    /// Microseconds since 1970; Firefox's PRTime.
    UnixMicroseconds,
    /// Nanoseconds since 1970.
    UnixNanoseconds,
    /// Julian day number, with a fraction or without.
    JulianDay,
    /// Microseconds since 1601, as Chromium and WebKit write them.
    WebkitMicroseconds,
    /// Seconds since 2001, as Apple's Core Data writes them.
    AppleSeconds,
    /// Ticks of 100 ns since the year 1, as .NET's `DateTime.Ticks`.
    DotnetTicks,
    /// Intervals of 100 ns since 1601, as Windows' FILETIME.
    WindowsFiletime,
    /// The decimal digits of a date: 20261126.
    Yyyymmdd,
    /// The decimal digits of a date and a time: 202611261530.
    Yyyymmddhhmm,
    /// The decimal digits of a date and a time with seconds: 20261126153000.
    Yyyymmddhhmmss,
    /// Units since an epoch of the application's own.
    Epoch {
        /// The epoch, in seconds since 1970.
        seconds: i64,
        /// The unit in nanoseconds.
        unit_nanoseconds: u64,
    },
}

impl TimestampFormat {
    /// The formats that a configuration names by a word, with that word.
    pub const WORDS: [(&'static str, Self); 15] = [
        ("auto", Self::Auto),
        ("iso8601", Self::Iso8601),
        ("rfc2822", Self::Rfc2822),
        ("unix_seconds", Self::UnixSeconds),
        ("unix_milliseconds", Self::UnixMilliseconds),
        ("unix_microseconds", Self::UnixMicroseconds),
        ("unix_nanoseconds", Self::UnixNanoseconds),
        ("julian_day", Self::JulianDay),
        ("webkit_microseconds", Self::WebkitMicroseconds),
        ("apple_seconds", Self::AppleSeconds),
        ("dotnet_ticks", Self::DotnetTicks),
        ("windows_filetime", Self::WindowsFiletime),
        ("yyyymmdd", Self::Yyyymmdd),
        ("yyyymmddhhmm", Self::Yyyymmddhhmm),
        ("yyyymmddhhmmss", Self::Yyyymmddhhmmss),
    ];

    /// The word in the configuration; `epoch` for one of the application's own.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, format)| *format == self).map_or("epoch", |(name, _)| name)
    }
}

/// The units of an epoch of the application's own, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Reads a unit such as `1ns`, `100ns` or `1s`, in nanoseconds.
fn parse_unit(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let count: u64 = digits.parse().ok().filter(|count| *count > 0)?;
    count.checked_mul(*nanoseconds).filter(|unit| *unit <= 1000 * 86_400_000_000_000)
}

/// Reads an epoch such as `2001-01-01` or `2001-01-01T12:00:00Z`, in seconds since 1970.
fn parse_epoch(text: &str) -> Option<i64> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(date.and_time(NaiveTime::MIN).and_utc().timestamp());
    }
    DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.timestamp())
}

impl Serialize for TimestampFormat {
    /// As the configuration spells it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Epoch {
            epoch: String,
            unit: String,
        }
        let Self::Epoch { seconds, unit_nanoseconds } = *self else {
            return serializer.serialize_str(self.name());
        };
        let moment = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
        let (unit, nanoseconds) =
            UNITS.iter().rev().find(|(_, size)| unit_nanoseconds.is_multiple_of(*size)).unwrap_or(&UNITS[0]);
        let epoch = moment.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        Epoch { epoch, unit: format!("{}{unit}", unit_nanoseconds / nanoseconds) }.serialize(serializer)
    }
}

/// Reads a list of time columns.
pub(super) fn read_timestamps(
    value: &Value<'_>,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Vec<TimestampColumn>> {
    let mut columns: Vec<TimestampColumn> = Vec::new();
    for item in decoder.items(value)? {
        let Some(fields) = decoder.fields(&item, &TimestampColumn::keys()) else { continue };
        let Some(column) = read_section::<TimestampColumn>(&fields, context, decoder) else { continue };
        // The series have the table as their only label: a second column would be the same series.
        if columns.iter().any(|other| other.table == column.table) {
            let message =
                format!("the table {} is already listed; a table has one time column", quoted(&column.table));
            decoder.refuse_value(&item, message);
            continue;
        }
        columns.push(column);
    }
    Some(columns)
}

/// How a column writes a time: a word, or an epoch of the application's own with its unit.
pub(super) fn read_format(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<TimestampFormat> {
    if !matches!(value.tree.node, Node::Mapping(_)) {
        return decoder.choice(value, &TimestampFormat::WORDS);
    }
    let fields = decoder.fields(value, &["epoch", "unit"])?;
    let epoch = decoder.require(&fields, "epoch", "epoch: 2001-01-01");
    let unit = decoder.require(&fields, "unit", "unit: 1s");
    let seconds = epoch.and_then(|value| {
        let text = decoder.text(&value)?;
        let seconds = parse_epoch(&text);
        if seconds.is_none() {
            let words = "is not a date; write it as in `2001-01-01` or `2001-01-01T12:00:00Z`";
            decoder.refuse_value(&value, format!("`{text}` {words}"));
        }
        seconds
    });
    let unit_nanoseconds = unit.and_then(|value| {
        let text = decoder.text(&value)?;
        let unit = parse_unit(&text);
        if unit.is_none() {
            let words =
                "is not a unit; write it as in `1ns`, `100ns`, `1us`, `1ms`, `1s`, `1m`, `1h` or `1d`";
            decoder.refuse_value(&value, format!("`{text}` {words}"));
        }
        unit
    });
    Some(TimestampFormat::Epoch { seconds: seconds?, unit_nanoseconds: unit_nanoseconds? })
}
