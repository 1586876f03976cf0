//! Durations as Prometheus writes them: `250ms`, `15s`, `1h30m`, `2d`, `1w`.

use std::time::Duration;

/// Milliseconds of each unit, largest first.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration; `None` for what is none.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut milliseconds = 0_u64;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len());
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == &rest[..letters])?;
        rest = &rest[letters..];
        // Each unit once, from large to small, as Prometheus wants it.
        if unit >= smallest {
            return None;
        }
        smallest = unit;
        milliseconds = milliseconds.checked_add(number.checked_mul(unit)?)?;
    }
    (smallest != u64::MAX).then(|| Duration::from_millis(milliseconds))
}

/// Writes a duration in its shortest exact form, to the millisecond.
#[must_use]
pub(super) fn write(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, unit) in UNITS {
        if rest >= unit {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_prometheus_does() {
        for (text, milliseconds, written) in [
            ("250ms", 250, "250ms"),
            ("15s", 15_000, "15s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("2d", 172_800_000, "2d"),
            ("1w", 604_800_000, "1w"),
            ("0s", 0, "0s"),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(text), Some(duration), "{text}");
            assert_eq!(write(duration), written);
        }
        for wrong in ["", "15", "s", "1.5h", "-1s", "1m1h", "1s1s", "1 s", "1y", "99999999999999w"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
