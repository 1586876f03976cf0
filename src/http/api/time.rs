//! Times in responses.

use std::time::Duration;
use std::time::SystemTime;

/// A time in RFC 3339 format.
pub(super) fn iso(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Formats seconds since 1970.
pub(super) fn at(seconds: f64) -> String {
    iso(SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
