//! Which rows a retention takes, for each way to write a time and each way to write that there is none.

use std::time::SystemTime;

use chrono::DateTime;
use libtest_mimic::Trial;
use rusqlite::types::Value;

use crate::maintenance::configure;
use crate::maintenance::number;
use crate::maintenance::run;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("only_expired_times_go_in_each_format", only_expired_times_go_in_each_format),
        test("a_column_without_a_time_keeps_its_rows", a_column_without_a_time_keeps_its_rows),
        test("a_misread_format_deletes_nothing", a_misread_format_deletes_nothing),
        test("rows_go_once_their_time_has_passed", rows_go_once_their_time_has_passed),
    ]
}

const DAY: i64 = 86_400;
const EXPIRED: i64 = 40;
const FRESH: i64 = 5;

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

fn spelled(seconds: i64, pattern: &str) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap().format(pattern).to_string()
}

fn text(seconds: i64, pattern: &str) -> Value {
    Value::Text(spelled(seconds, pattern))
}

type Writes = fn(i64) -> Value;

/// The name of a format in the configuration, whether it is detected too, the column's type, and how it writes a time.
const FORMATS: [(&str, bool, &str, Writes); 25] = [
    ("iso8601", true, "TEXT", |s| text(s, "%Y-%m-%d %H:%M:%S")),
    ("iso8601", true, "", |s| text(s, "%Y-%m-%dT%H:%M:%S.250Z")),
    ("iso8601", true, "TEXT", |s| text(s, "%Y-%m-%d %H:%M:%S.123 +0000 UTC")),
    ("iso8601", true, "TEXT", |s| text(s + 3600, "%Y-%m-%d %H:%M:%S.123456 +0100 CET m=+0.000012")),
    ("iso8601", true, "TEXT", |s| text(s, "%Y-%m-%d %H:%M:%S UTC")),
    ("iso8601", true, "TEXT", |s| text(s, "%Y%m%dT%H%M%SZ")),
    // Two spellings, whose order as texts is not that of their times.
    ("iso8601", true, "TEXT", |s| text(s, if s % 2 == 0 { "%Y%m%dT%H%M%SZ" } else { "%Y-%m-%d %H:%M" })),
    ("iso8601", true, "TEXT", |s| {
        let zone = s % 3 - 1;
        text(
            s + zone * 36_000,
            ["%Y-%m-%dT%H:%M:%S-10:00", "%Y-%m-%d %H:%M:%SZ", "%Y-%m-%d %H:%M:%S+1000"][(s % 3) as usize],
        )
    }),
    ("rfc2822", true, "TEXT", |s| text(s, "%a, %d %b %Y %H:%M:%S GMT")),
    ("unix_seconds", true, "INTEGER", Value::Integer),
    ("unix_seconds", true, "REAL", |s| Value::Real(s as f64 + 0.5)),
    ("unix_seconds", true, "TEXT", |s| Value::Text(s.to_string())),
    ("unix_milliseconds", true, "INTEGER", |s| Value::Integer(s * 1000)),
    ("unix_microseconds", true, "INTEGER", |s| Value::Integer(s * 1_000_000)),
    ("unix_nanoseconds", true, "INTEGER", |s| Value::Integer(s * 1_000_000_000)),
    ("webkit_microseconds", true, "INTEGER", |s| Value::Integer((s + 11_644_473_600) * 1_000_000)),
    ("windows_filetime", true, "", |s| Value::Integer((s + 11_644_473_600) * 10_000_000)),
    ("dotnet_ticks", true, "INTEGER", |s| Value::Integer((s + 62_135_596_800) * 10_000_000)),
    ("apple_seconds", true, "TIMESTAMP", |s| Value::Real((s - 978_307_200) as f64 + 0.25)),
    ("julian_day", true, "REAL", |s| Value::Real(s as f64 / 86_400.0 + 2_440_587.5)),
    ("yyyymmdd", true, "INTEGER", |s| Value::Integer(spelled(s, "%Y%m%d").parse().unwrap())),
    ("yyyymmddhhmm", true, "", |s| Value::Integer(spelled(s, "%Y%m%d%H%M").parse().unwrap())),
    ("yyyymmddhhmmss", true, "TEXT", |s| text(s, "%Y%m%d%H%M%S")),
    ("{epoch: 2001-01-01, unit: 1ns}", false, "INTEGER", |s| {
        Value::Integer((s - 978_307_200) * 1_000_000_000)
    }),
    ("{epoch: 1970-01-01, unit: 1m}", false, "INTEGER", |s| Value::Integer(s / 60)),
];

/// What stands for no time, or for one that never comes.
fn no_times() -> Vec<Value> {
    let texts = [
        "",
        "never",
        "null",
        "n/a",
        "soon",
        "0000-00-00 00:00:00",
        "0001-01-01 00:00:00",
        "0001-01-01T00:00:00Z",
        "1970-01-01",
        "1970-01-01 00:00:01",
        "1970-01-01T00:00:00Z",
        "1970-01-01 00:00:00 +0000 UTC",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "1601-01-01 00:00:00",
        "1980-01-01 00:00:00",
        "2025-02-30 00:00:00",
        "9999-12-31",
        "9999-12-31 23:59:59",
        "+275760-09-13T00:00:00.000Z",
    ];
    let mut values: Vec<Value> = texts.into_iter().map(|text| Value::Text(text.to_owned())).collect();
    values.extend([0, -1, 1, 3600, i64::MIN, i64::MAX, i64::from(i32::MAX)].map(Value::Integer));
    values.extend([0.0, -1.0, 1e300, f64::INFINITY].map(Value::Real));
    values.extend([Value::Null, Value::Blob(b"2020-01-01".to_vec())]);
    values
}

/// A table whose expired rows are called `old`, its fresh ones `new`, and the rest `none`.
fn table(declared: &str, index: bool, writes: Writes, no_times: &[Value]) -> TestDatabase {
    let index = if index { "CREATE INDEX logs_at ON logs (at);" } else { "" };
    let fixture = TestDatabase::new("app")
        .wal()
        .sql(&format!("CREATE TABLE logs (id INTEGER PRIMARY KEY, at {declared}, text TEXT); {index}"))
        .make();
    let connection = fixture.connect();
    let insert = |value: Value, kind: &str| {
        connection.execute("INSERT INTO logs (at, text) VALUES (?1, ?2)", (value, kind)).unwrap();
    };
    for value in no_times {
        insert(value.clone(), "none");
    }
    // Also just on either side of the cutoff, as far as the coarsest format tells them apart.
    for row in 0..EXPIRED {
        insert(writes(now() - 32 * DAY - row * 3 * DAY - row), "old");
    }
    for row in 0..FRESH {
        insert(writes(now() - 60 - row * 7 * DAY + row), "new");
    }
    for value in no_times {
        insert(value.clone(), "none");
    }
    fixture
}

fn left(fixture: &TestDatabase, kind: &str) -> i64 {
    number(&fixture.connect(), &format!("SELECT count(*) FROM logs WHERE text = '{kind}'"))
}

fn only_expired_times_go_in_each_format() {
    let no_times = no_times();
    let others = 2 * no_times.len() as i64;
    for (name, detected, declared, writes) in FORMATS {
        for (format, index) in [("auto", true), ("auto", false), (name, true), (name, false)] {
            if format == "auto" && !detected {
                continue;
            }
            let fixture = table(declared, index, writes, &no_times);
            let tasks = format!(
                "{{log_cleaning: {{tables: [{{table: logs, column: at, retention: 30d, format: {format}}}]}}}}"
            );
            let config = configure(&fixture, &tasks);
            let which = format!("{name} in {declared:?} as {format}, index {index}");
            let dry = Output::of(&["run", "log_cleaning", "--dry-run", "--config", &config]);
            assert!(dry.stdout.contains("logs: 40 rows would be deleted"), "{which}: {}", dry.stdout);
            assert!(dry.stdout.contains("not understood (such as"), "{which}: {}", dry.stdout);
            let (code, runs) = run("log_cleaning", &config);
            assert_eq!(code, Some(0), "{which}: {runs:#?}");
            let counts = ["old", "new", "none"].map(|kind| left(&fixture, kind));
            assert_eq!(counts, [0, FRESH, others], "{which}: {runs:#?}");
            let table = &runs[0]["details"]["log_cleaning"]["tables"][0];
            let times = &table["times"];
            let of = |key: &str| times[key].as_i64().unwrap();
            assert_eq!(
                (table["complete"].as_bool(), of("expired")),
                (Some(true), EXPIRED),
                "{which}: {table}"
            );
            let reported = of("null") + of("not_set") + of("never") + of("not_understood");
            assert_eq!((reported, of("null")), (others, 2), "{which}: {times}");
            assert!(of("not_set") > 0 && of("never") > 0 && of("not_understood") > 0, "{which}: {times}");
        }
    }
}

fn a_column_without_a_time_keeps_its_rows() {
    let unset: Vec<Value> = no_times()
        .into_iter()
        .filter(|value| !matches!(value, Value::Blob(_)))
        .filter(|value| !matches!(value, Value::Text(text) if text == "soon" || text.starts_with("2025")))
        .collect();
    for format in ["auto", "iso8601", "unix_seconds", "apple_seconds", "dotnet_ticks"] {
        let fixture = table("", true, Value::Integer, &unset);
        fixture.connect().execute("DELETE FROM logs WHERE text <> 'none'", ()).unwrap();
        let tasks = format!(
            "{{log_cleaning: {{tables: [{{table: logs, column: at, retention: 30d, format: {format}}}]}}}}"
        );
        let (_, runs) = run("log_cleaning", &configure(&fixture, &tasks));
        assert_eq!(left(&fixture, "none"), 2 * unset.len() as i64, "{format}: {runs:#?}");
    }
}

fn a_misread_format_deletes_nothing() {
    let apple: Writes = |s| Value::Integer(s - 978_307_200);
    let milliseconds: Writes = |s| Value::Integer(s * 1000);
    // Seconds since 1980, which look like Unix seconds of ten years ago.
    let unknown: Writes = |s| Value::Integer(s - 315_964_800);
    let nanoseconds: Writes = |s| Value::Integer((s - 978_307_200) * 1_000_000_000);
    for (writes, format, code, words) in [
        (apple, "unix_seconds", 3, "as apple_seconds"),
        (milliseconds, "unix_seconds", 3, "as unix_milliseconds"),
        (Value::Integer, "unix_milliseconds", 3, "as unix_seconds"),
        (Value::Integer, "iso8601", 3, "as unix_seconds"),
        (unknown, "auto", 0, "would be deleted too"),
        (nanoseconds, "auto", 3, "which would be"),
        (nanoseconds, "unix_nanoseconds", 3, "before SQLite existed"),
    ] {
        let fixture = table("INTEGER", true, writes, &[]);
        // The bound of the newest row's age that people raise to get rid of a message.
        let tasks = format!(
            "{{log_cleaning: {{tables: [{{table: logs, column: at, retention: 30d, format: {format}, max_newest_age: 36000d}}]}}}}"
        );
        let config = configure(&fixture, &tasks);
        let dry = Output::of(&["run", "log_cleaning", "--dry-run", "--config", &config]);
        assert!(dry.stdout.contains(words), "{format}: {}", dry.stdout);
        let (exit, runs) = run("log_cleaning", &config);
        let note = runs[0]["details"]["log_cleaning"]["tables"][0]["note"].as_str().unwrap_or_default();
        assert!(exit == Some(code) && note.contains(words), "{format}: {runs:#?}");
        assert!(!note.contains("max_newest_age"), "{note}");
        assert_eq!((left(&fixture, "old"), left(&fixture, "new")), (EXPIRED, FRESH), "{format}");
    }
}

fn rows_go_once_their_time_has_passed() {
    let iso: Writes = |s| text(s, "%Y-%m-%d %H:%M:%S.123456");
    for (declared, writes) in [("TEXT", iso), ("INTEGER", Value::Integer as Writes)] {
        for (grace, kept) in [("", 0), (", grace: 2d", 2)] {
            let fixture = table(declared, true, writes, &no_times());
            let connection = fixture.connect();
            connection.execute("DELETE FROM logs WHERE text <> 'none'", ()).unwrap();
            for (days, kind) in
                [(-40, "old"), (-3, "old"), (-1, "soon"), (-1, "soon"), (1, "new"), (4000, "new")]
            {
                let insert = "INSERT INTO logs (at, text) VALUES (?1, ?2)";
                connection.execute(insert, (writes(now() + days * DAY), kind)).unwrap();
            }
            let tasks =
                format!("{{log_cleaning: {{tables: [{{table: logs, column: at, expires: on{grace}}}]}}}}");
            let (code, runs) = run("log_cleaning", &configure(&fixture, &tasks));
            assert_eq!(code, Some(0), "{runs:#?}");
            let counts = ["old", "soon", "new", "none"].map(|kind| left(&fixture, kind));
            assert_eq!(counts, [0, kept, 2, 2 * no_times().len() as i64], "{declared}{grace}: {runs:#?}");
        }
    }
}
