//! What each fuzz target does with its input, and what must be true afterwards. A panic is a
//! finding.
//!
//! `fuzz/run` calls these with mutated inputs, and `tests/it/fuzz_seeds.rs` calls them with every
//! file below `fuzz/seeds`, so that a finding that was committed there is a regression test.

use std::path::Path;
use std::sync::Arc;

use litekeeper::internals::collectors::Judge;
use litekeeper::internals::collectors::Reading;
use litekeeper::internals::collectors::TableSizes;
use litekeeper::internals::collectors::collect_table_sizes;
use litekeeper::internals::collectors::collect_tables;
use litekeeper::internals::collectors::convert;
use litekeeper::internals::collectors::describe;
use litekeeper::internals::collectors::sample_database;
use litekeeper::internals::config::Config;
use litekeeper::internals::config::DatabaseSettings;
use litekeeper::internals::config::TimestampColumn;
use litekeeper::internals::config::TimestampFormat;
use litekeeper::internals::config::WebConfig;
use litekeeper::internals::database::Database;
use litekeeper::internals::database::DatabaseName;
use litekeeper::internals::os::LockTable;
use litekeeper::internals::os::LockView;
use litekeeper::internals::sqlite::TimeValue;

/// A name and what it calls.
pub type Target = (&'static str, fn(&[u8]));

/// All targets; `fuzz/seeds` has a directory for each.
pub const TARGETS: [Target; 8] = [
    ("database_file", database_file),
    ("database_page", database_page),
    ("proc_locks", proc_locks),
    ("configuration", configuration),
    ("http_text", http_text),
    ("certificate", certificate),
    ("timestamps", timestamps),
    ("retention", retention),
];

/// A file that may be a database: it is sampled with all collectors, and is the same afterwards.
pub fn database_file(data: &[u8]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("fuzz.db");
    std::fs::write(&path, data).expect("a file to sample");
    let settings = DatabaseSettings {
        row_counts: vec!["*".to_owned()],
        timestamps: vec![TimestampColumn {
            table: "items".to_owned(),
            column: "at".to_owned(),
            format: TimestampFormat::Auto,
        }],
        ..DatabaseSettings::default()
    };
    let database = Database::new(DatabaseName::new("fuzz"), path.clone(), Arc::new(settings), 1);
    let _ = sample_database(&database, None);
    let _ = collect_tables(&database);
    let _ = collect_table_sizes(&database, &TableSizes::default());
    assert!(std::fs::read(&path).is_ok_and(|after| after == data), "the file has changed");
    let files = std::fs::read_dir(directory.path()).map(Iterator::count);
    assert!(files.is_ok_and(|files| files == 1), "there is another file beside it");
}

/// A page of a b-tree: what it refers to. Two bytes before it give its number and the reserved
/// bytes.
pub fn database_page(data: &[u8]) {
    let [number, reserved, page @ ..] = data else { return };
    let references =
        litekeeper::internals::sqlite::fuzzing::page(page, u32::from(*number), usize::from(*reserved));
    assert!(references <= page.len(), "{references} references from {} bytes", page.len());
}

/// The text of `/proc/locks`.
pub fn proc_locks(data: &[u8]) {
    let table = LockTable::parse(data, Some(4711), LockView::Whole);
    assert!(table.count() <= data.iter().filter(|byte| **byte == b'\n').count() + 1);
}

/// A configuration, and a web configuration.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(errors) = Config::parse(text, "fuzz.yml", &|name| (name != "UNSET").then(|| "7".to_owned())) {
        assert!(!errors.to_string().is_empty(), "an error without words");
    }
    if let Err(errors) = WebConfig::parse(text, "web.yml", Path::new("/nowhere")) {
        assert!(!errors.to_string().is_empty(), "an error without words");
    }
}

/// What a client sends: a query or form in the first line, then values of `Accept` and
/// `Accept-Encoding`.
pub fn http_text(data: &[u8]) {
    litekeeper::internals::http::fuzzing::request_text(data);
}

/// A certificate in DER: its subject alternative names, each of which takes at least a tag and a
/// length.
pub fn certificate(data: &[u8]) {
    let names = litekeeper::internals::tls::fuzzing::certificate(data);
    assert!(names.is_none_or(|names| names * 2 <= data.len()), "{names:?} names from {} bytes", data.len());
}

/// A value of a time column, as text, integer and real number, in every format.
pub fn timestamps(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut values = vec![TimeValue::Text(text.to_owned())];
    values.extend(text.trim().parse().map(TimeValue::Integer));
    values.extend(text.trim().parse().map(TimeValue::Real));
    for expires in [false, true] {
        let judge = Judge { now: 1_795_000_000.0, expires };
        for value in &values {
            for (name, format) in TimestampFormat::WORDS {
                let seconds = convert(value, format);
                assert!(seconds.is_none_or(f64::is_finite), "{name}: {seconds:?}");
                if let Reading::Time(seconds) = judge.read(value, format) {
                    assert!(seconds.is_finite() && seconds < judge.never(), "{name}: {seconds}");
                }
            }
            let _ = describe(value);
        }
        let _ = judge.detect(&values);
    }
}

/// Formats of retention: durations, sizes, epochs and conditions, each a line, as scalars of a
/// valid configuration.
pub fn retention(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    // A string of JSON is one of YAML too.
    let mut line = || serde_json::Value::from(lines.next().unwrap_or("1d")).to_string();
    let text = format!(
        "databases:\n- path: fuzz.db\n  tasks:\n    log_cleaning:\n      tables:\n      \
         - {{table: logs, column: at, retention: {}, max_bytes: {}, keep_latest: {}, \
         format: {{epoch: {}, unit: {}}}}}\n",
        line(),
        line(),
        line(),
        line(),
        line()
    );
    configuration(text.as_bytes());
}
