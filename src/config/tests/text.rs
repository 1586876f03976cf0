//! Durations and patterns, in both directions.

use std::path::Path;
use std::time::Duration;

use crate::config::compile_pattern;
use crate::config::paths::resolve_pattern;
use crate::config::units::format_duration;
use crate::config::units::parse_duration;

#[test]
fn durations_are_read_and_printed_as_prometheus_does() {
    let (second, day) = (1000, 86_400_000);
    let cases = [
        ("0s", 0, "0s"),
        ("0ms", 0, "0s"),
        ("250ms", 250, "250ms"),
        ("1500ms", 1500, "1s500ms"),
        ("15s", 15 * second, "15s"),
        ("90s", 90 * second, "1m30s"),
        ("5m", 300 * second, "5m"),
        ("1h30m", 5400 * second, "1h30m"),
        ("90m", 5400 * second, "1h30m"),
        ("24h", day, "1d"),
        ("2d", 2 * day, "2d"),
        ("7d", 7 * day, "1w"),
        ("8d", 8 * day, "8d"),
        ("1w1d", 8 * day, "8d"),
        ("1w12h", 7 * day + day / 2, "7d12h"),
        ("365d", 365 * day, "1y"),
        ("1y1w1d1h1m1s1ms", 373 * day + 3_661_001, "373d1h1m1s1ms"),
    ];
    for (text, milliseconds, printed) in cases {
        let duration = Duration::from_millis(milliseconds);
        assert_eq!(parse_duration(text), Ok(duration), "{text}");
        assert_eq!(format_duration(duration), printed, "{text}");
        assert_eq!(parse_duration(printed), Ok(duration), "{printed}");
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    for text in
        ["", " ", "s", "5", "-5s", "+5s", "5 s", "5S", "5min", "1.5h", "5s5m", "5s5s", "5s5", "5ms5s", "٣s"]
    {
        assert!(parse_duration(text).is_err(), "{text:?}");
    }
    for text in
        ["18446744073709551616ms", "18446744073709551615s", "584942418y", "584542046y18446744073709551615ms"]
    {
        assert!(parse_duration(text).is_err(), "{text} does not fit");
    }
}

#[test]
fn patterns_stop_at_a_slash() {
    let cases = [
        ("/a/*.db", "/a/x.db", true),
        ("/a/*.db", "/a/b/x.db", false),
        ("/a/**/*.db", "/a/b/c/x.db", true),
        ("/a/{x,y}?.db", "/a/y1.db", true),
        ("/a/[0-9].db", "/a/x.db", false),
    ];
    for (pattern, path, expected) in cases {
        assert_eq!(compile_pattern(pattern).unwrap().is_match(path), expected, "{pattern} on {path}");
    }
}

#[test]
fn a_relative_pattern_begins_at_a_directory_that_matches_itself() {
    let cases = [
        ("/etc", "*.db", "/etc/*.db"),
        ("/etc", "./*.db", "/etc/*.db"),
        ("/", "*.db", "/*.db"),
        ("", "*.db", "*.db"),
        ("/etc", "/srv/*.db", "/srv/*.db"),
        ("/a[1]", "*.db", "/a[[]1[]]/*.db"),
    ];
    for (base, pattern, expected) in cases {
        assert_eq!(resolve_pattern(Path::new(base), pattern), expected);
    }
}
