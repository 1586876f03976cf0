//! Formats the result of a dry run as text.

use std::fmt::Write as _;

use crate::humanize::bytes;
use crate::humanize::counted;
use crate::tasks::DryRun;
use crate::tasks::ExpiredBy;
use crate::tasks::TableDryRun;

use super::escape::one_line;

/// Describes what a run would do.
pub(super) fn dry_run_text(forecast: &DryRun) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        let _ = writeln!(text, "  {}", one_line(&words));
    };
    if let Some(reason) = &forecast.would_not_run {
        line(format!("would not run: {reason}"));
    }
    if let Some(size) = forecast.size_bytes {
        line(format!("database: {}", bytes(size)));
    }
    if let Some(reclaimable) = forecast.reclaimable_bytes {
        line(format!("reclaimable: {}", bytes(reclaimable)));
    }
    if !forecast.checks.is_empty() {
        line(format!("checks: {}", forecast.checks.join(", ")));
    }
    for need in &forecast.needs {
        line(format!(
            "{} in {}: needs {}; {} are free",
            need.purpose,
            need.directory,
            bytes(need.bytes),
            bytes(need.available_bytes)
        ));
    }
    if let Some(words) = &forecast.checkpoint {
        line(words.clone());
    }
    if let Some(scrub) = &forecast.scrub {
        scrub.lines().into_iter().for_each(&mut line);
    }
    if !forecast.analyze.is_empty() {
        line(format!("would analyze: {}", forecast.analyze.join(", ")));
    }
    for table in &forecast.tables {
        table_lines(table).into_iter().for_each(&mut line);
    }
    if let Some(seconds) = forecast.expected_seconds {
        line(format!("expected duration: about {seconds:.1} s"));
    }
    if let Some(bound) = forecast.max_lock_hold_seconds {
        line(format!("the write lock would be held for the whole duration; max_lock_hold is {bound:.1} s"));
    }
    if let Some(words) = &forecast.owner {
        line(words.clone());
    }
    text
}

/// Describes what would be deleted from a table.
fn table_lines(table: &TableDryRun) -> Vec<String> {
    let rows = table.rows.map_or_else(|| "an unknown number of rows".to_owned(), |rows| counted(rows, "row"));
    let size = table.bytes.map(|size| format!(", about {}", bytes(size))).unwrap_or_default();
    let why = match table.expired_by {
        ExpiredBy::Age => "",
        ExpiredBy::MaxRows => " (max_rows)",
        ExpiredBy::MaxBytes => " (max_bytes)",
    };
    let mut lines = vec![match &table.would_fail {
        Some(words) => format!("{}: would fail: {words}", table.table),
        None => format!("{}: {rows} would be deleted{size}{why}", table.table),
    }];
    let details = [
        ("older than", &table.cutoff),
        ("oldest row to delete", &table.oldest),
        ("newest row to delete", &table.newest),
        ("time format", &table.format),
        ("index", &table.index),
    ];
    let known = details.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
    lines.extend(known.map(|(name, value)| format!("  {name}: {value}")));
    lines.extend(table.others.iter().map(|other| format!("  in other tables: {}", other.summary())));
    lines.extend(table.times.iter().map(|times| format!("  {}", times.summary())));
    lines.extend(table.note.iter().map(|note| format!("  {note}")));
    lines.extend(
        table
            .expected_seconds
            .iter()
            .map(|seconds| format!("  expected duration: about {seconds:.1} s, at the rate of the last run")),
    );
    lines
}
