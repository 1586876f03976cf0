//! What is read out of tables: their time columns, and the user's own SQL.

use std::time::Duration;

use serde::Serialize;

use super::units;

/// A log table's time column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimestampColumn {
    /// The table.
    pub table: String,
    /// Its column.
    pub column: String,
    /// How the column writes a time.
    pub format: TimestampFormat,
}

/// How a column writes a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampFormat {
    /// Detected from the data, refused when mixed or unclear.
    Auto,
    /// ISO-8601 text, with a space or a `T`; UTC where it names no zone.
    Iso8601,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
    /// Microseconds since 1970.
    UnixMicroseconds,
    /// Julian day number.
    JulianDay,
}

/// A metric from the user's own read-only SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustomMetric {
    /// The name after `sqlite_custom_`, without `_total`.
    pub name: String,
    /// Gauge or counter.
    #[serde(rename = "type")]
    pub kind: CustomKind,
    /// HELP.
    pub help: String,
    /// One SELECT.
    pub sql: String,
    /// The column with the value.
    pub value: String,
    /// Columns that become labels.
    pub labels: Vec<String>,
    /// How often it is asked.
    #[serde(serialize_with = "duration_text")]
    pub interval: Duration,
    /// How long one answer may take.
    #[serde(serialize_with = "duration_text")]
    pub budget: Duration,
    /// The most rows taken.
    pub max_rows: usize,
}

fn duration_text<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&units::format_duration(*duration))
}

/// The type of a custom metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomKind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
}
