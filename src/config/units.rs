//! Durations, as Prometheus writes them: `250ms`, `15s`, `1h30m`, `2d`; and sizes: `10MiB`.

use std::time::Duration;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// The units in milliseconds, from the largest, in the order in which a duration may name them. The
/// flag says that a unit is printed only when nothing remains: `1w`, but `8d`.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 24 * 3_600_000, true),
    ("w", 7 * 24 * 3_600_000, true),
    ("d", 24 * 3_600_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

/// What is wrong with a duration or a size, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnitError {
    #[error("`{0}` is not a duration; write it as in `250ms`, `15s`, `5m`, `1h30m` or `2d`")]
    Duration(String),
    #[error("`{0}` has no unit; write `{0}s` for seconds, or use ms, m, h, d or w")]
    NoUnit(String),
    #[error("`{0}` is not a size; write it as in `4096`, `512KiB`, `10MiB` or `2GB`")]
    Size(String),
}

/// Reads a duration.
///
/// # Errors
/// It is none, or does not fit.
pub(super) fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || UnitError::Duration(text.to_owned());
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UnitError::NoUnit(text.to_owned()));
    }
    let mut milliseconds: u64 = 0;
    let mut allowed = &UNITS[..];
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        let index = allowed.iter().position(|(name, ..)| *name == unit).ok_or_else(wrong)?;
        let part = count.checked_mul(allowed[index].1).ok_or_else(wrong)?;
        milliseconds = milliseconds.checked_add(part).ok_or_else(wrong)?;
        allowed = &allowed[index + 1..];
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(milliseconds)) }
}

/// Writes a duration in the shortest form that is exact to the millisecond, as Prometheus does.
pub(super) fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut parts = Vec::new();
    for (unit, milliseconds, exact) in UNITS {
        let fits = if exact { rest.is_multiple_of(milliseconds) } else { rest >= milliseconds };
        if fits && rest > 0 {
            parts.push(format!("{}{unit}", rest / milliseconds));
            rest %= milliseconds;
        }
    }
    parts.concat()
}

/// The units of sizes, from the largest.
const BYTE_UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a size.
///
/// # Errors
/// It is none, or does not fit.
pub(super) fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Size(text.to_owned());
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = unit.trim_start();
    let factor = match BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err(wrong()),
    };
    count.checked_mul(factor).ok_or_else(wrong)
}

/// Writes a size with the largest unit that is exact.
pub(super) fn format_bytes(bytes: u64) -> String {
    let exact = BYTE_UNITS[..4].iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    exact.map_or_else(|| bytes.to_string(), |(unit, factor)| format!("{}{unit}", bytes / factor))
}
