//! `litekeeper check`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::database_files::DatabaseFiles;
use crate::health_report::CheckReport;
use crate::health_report::FORMAT_VERSION;
use crate::health_report::FactsReport;
use crate::health_report::Report;
use crate::health_report::Request;
use crate::health_report::RowCountReport;
use crate::health_report::Status;
use crate::health_report::report;
use crate::humanize::bytes;
use crate::humanize::count;
use crate::humanize::counted;
use crate::limits::QueryLimits;
use crate::os::LostLocks;
use crate::os::owner_states;
use crate::sqlite;
use crate::sqlite::Check;
use crate::sqlite::FindingCategory;
use crate::worker_pool::run_blocking;

use super::checked_file::CheckedFile;
use super::checked_file::compare_with_manifest;
use super::escape::one_line;
use super::exit::Exit;
use super::output::print;
use super::progress::TerminalProgress;
use super::runtime::block_on;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper check books.db --rows companies,vouchers,logs
  litekeeper check --quick --json /srv/tenants/*.db | jq '.databases[] | select(.status != \"healthy\") | .path'

Exit codes: 0 healthy, 1 problems found (damage or violated constraints), 2 usage error, 3 something could not be checked. docs/CHECK.md describes the JSON format.")]
pub(super) struct Arguments {
    /// Database files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Tables whose rows are counted, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    rows: Vec<String>,
    /// Run the quick check only: several times faster, but does not verify indexes against tables
    /// or foreign keys
    #[arg(long)]
    quick: bool,
    /// Check each table in its own transaction: blocks writers less, but misses pages used by two
    /// tables or by none
    #[arg(long)]
    by_table: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Seconds to wait for a lock that another process holds
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = seconds)]
    busy_timeout: f64,
}

fn seconds(text: &str) -> anyhow::Result<f64> {
    const LIMIT: f64 = 86_400.0;
    match text.parse() {
        Ok(seconds) if (0.0..=LIMIT).contains(&seconds) => Ok(seconds),
        _ => anyhow::bail!("give a number of seconds from 0 to {LIMIT}"),
    }
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    format_version: u32,
    litekeeper_version: &'static str,
    sqlite_version: &'static str,
    status: Status,
    databases: &'a [CheckedFile],
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let checks = if arguments.quick { vec![Check::Quick] } else { vec![Check::Full, Check::ForeignKey] };
    let options = CheckOptions {
        rows: arguments.rows,
        checks,
        by_table: arguments.by_table,
        busy_timeout: Duration::from_secs_f64(arguments.busy_timeout),
        is_backup: false,
        json: arguments.json,
    };
    check_all(arguments.files, &options)
}

/// What to check, and the output format.
pub(super) struct CheckOptions {
    pub rows: Vec<String>,
    pub checks: Vec<Check>,
    pub by_table: bool,
    pub busy_timeout: Duration,
    /// Whether the files are backups, which are compared with their manifests.
    pub is_backup: bool,
    pub json: bool,
}

/// Checks the files one after the other and prints the reports.
pub(super) fn check_all(files: Vec<PathBuf>, options: &CheckOptions) -> anyhow::Result<Exit> {
    block_on(async {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        let cancel = CancellationToken::new();
        let mut reports = Vec::new();
        let mut owners = lost_locks_of(&files).await;
        for (index, path) in files.iter().enumerate() {
            let request = Request {
                path: path.clone(),
                rows: options.rows.clone(),
                checks: options.checks.clone(),
                by_table: options.by_table,
                impact_limits: None,
                limits: QueryLimits {
                    deadline: None,
                    busy_timeout: options.busy_timeout,
                    cancel: cancel.clone(),
                },
            };
            let progress = TerminalProgress::new();
            let observer = progress.clone();
            let is_backup = options.is_backup;
            let mut work = std::pin::pin!(run_blocking(move || {
                let manifest = is_backup.then(|| compare_with_manifest(&request, &observer));
                (manifest, report(&request, &observer))
            }));
            let reported = tokio::select! {
                reported = &mut work => reported,
                () = stop.cancelled() => {
                    cancel.cancel();
                    work.await
                }
            };
            progress.clear();
            let Some((manifest, mut reported)) = reported else {
                anyhow::bail!("{}: the check panicked", path.display())
            };
            add_lost_locks(&mut reported, owners.get_mut(index).map(std::mem::take).unwrap_or_default());
            let checked = CheckedFile::new(reported, manifest);
            if !options.json {
                print(&checked.text(text(&checked.report)));
            }
            reports.push(checked);
            if stop.is_cancelled() {
                break;
            }
        }
        let status = reports.iter().map(|checked| checked.report.status).max().unwrap_or(Status::Unknown);
        if options.json {
            print(&json(&reports, status)?);
        }
        Ok(match status {
            Status::Healthy => Exit::Success,
            Status::Problems => Exit::Problems,
            Status::Unknown => Exit::Failure,
        })
    })
}

/// Finds processes that have lost their locks, for each file.
async fn lost_locks_of(files: &[PathBuf]) -> Vec<Vec<LostLocks>> {
    let files: Vec<DatabaseFiles> = files
        .iter()
        .map(|file| DatabaseFiles::of(&std::fs::canonicalize(file).unwrap_or_else(|_| file.clone())))
        .collect();
    let look = move || owner_states(&files.iter().collect::<Vec<_>>());
    run_blocking(look).await.unwrap_or_default().into_iter().map(|state| state.lost).collect()
}

/// Adds processes that lost their locks. The status becomes unknown if one of them commits to a
/// deleted file, which could not be checked.
fn add_lost_locks(report: &mut Report, lost: Vec<LostLocks>) {
    if report.status == Status::Healthy && lost.iter().any(LostLocks::writes_to_deleted_file) {
        report.status = Status::Unknown;
        report.error = Some(
            "a process commits to a deleted file, which was not checked; see `litekeeper runbook SqliteOwnerLostLocks`"
                .to_owned(),
        );
    }
    report.lost_locks = lost.iter().map(ToString::to_string).collect();
}

fn json(reports: &[CheckedFile], status: Status) -> anyhow::Result<String> {
    let document = Document {
        format_version: FORMAT_VERSION,
        litekeeper_version: env!("CARGO_PKG_VERSION"),
        sqlite_version: sqlite::sqlite_version(),
        status,
        databases: reports,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// Formats a report as text.
pub(super) fn text(report: &Report) -> String {
    let verdict = match report.status {
        Status::Healthy => "healthy",
        Status::Problems if report.has(FindingCategory::Damage) => "DAMAGED",
        Status::Problems => "intact, but constraints are violated",
        Status::Unknown if report.checks.is_empty() => "could not be checked",
        Status::Unknown => "partly checked",
    };
    let mut text = format!("{}: {verdict}\n", one_line(&report.path));
    if let Some(error) = &report.error {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}", one_line(error));
    }
    for lost in &report.lost_locks {
        let words = one_line(lost);
        let _ = writeln!(
            text,
            "  URGENT: {words}; its commits are or will be lost: follow `litekeeper runbook SqliteOwnerLostLocks`"
        );
    }
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    if let Some(files) = &report.files {
        line("size", format!("{} ({} on disk)", bytes(files.main_bytes), bytes(files.allocated_bytes)));
    }
    if let Some(facts) = &report.facts {
        facts_lines(facts, &mut line);
    }
    if let Some(wal) = report.files.as_ref().and_then(|files| files.wal_bytes) {
        line("WAL", wal_text(wal, report.facts.as_ref()));
    }
    if let Some(journal) = report.files.as_ref().and_then(|files| files.journal_bytes) {
        line("rollback journal", bytes(journal));
    }
    for rows in &report.rows {
        line(&format!("rows of {}", one_line(&rows.table)), rows_text(rows));
    }
    for check in &report.checks {
        line(&format!("{} check", check.check.replace('_', " ")), check_text(check));
    }
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in &lines {
        let _ = writeln!(text, "  {name:<width$}  {}", one_line(value));
    }
    for check in &report.checks {
        for finding in &check.findings {
            let (kind, text_line) = (kind_text(finding.kind), one_line(&finding.text));
            let _ = writeln!(text, "  {}, {kind}: {text_line}", check.check);
        }
    }
    text
}

/// Describes a kind of finding.
fn kind_text(kind: FindingCategory) -> &'static str {
    match kind {
        FindingCategory::Damage => "damage",
        FindingCategory::Constraint => "violated constraint",
        FindingCategory::NotCheckable => "not checked",
        FindingCategory::Odd => "unusual but legal",
    }
}

fn facts_lines(facts: &FactsReport, line: &mut impl FnMut(&str, String)) {
    line("pages", format!("{} of {} bytes", count(u64::from(facts.pages)), facts.page_size_bytes));
    let share = 100.0 * f64::from(facts.freelist_pages) / f64::from(facts.pages.max(1));
    line(
        "free pages",
        format!(
            "{} ({share:.1} %, {} reclaimable)",
            count(u64::from(facts.freelist_pages)),
            bytes(facts.reclaimable_bytes)
        ),
    );
    line("journal mode", facts.journal_mode.to_owned());
    line("auto-vacuum", facts.auto_vacuum.to_owned());
    line("last writer", format!("SQLite {}", facts.writer_version));
    line(
        "versions",
        format!(
            "schema {}, user {}, application id {}",
            facts.schema_version, facts.user_version, facts.application_id
        ),
    );
}

fn wal_text(size: u64, facts: Option<&FactsReport>) -> String {
    let frames = facts.and_then(|facts| facts.wal_frames.zip(facts.wal_checkpointed_frames));
    match frames {
        Some((frames, done)) => format!(
            "{}, {}, {} checkpointed",
            bytes(size),
            counted(u64::from(frames), "frame"),
            count(u64::from(done))
        ),
        None => bytes(size),
    }
}

fn rows_text(rows: &RowCountReport) -> String {
    match (rows.rows, rows.method, &rows.error) {
        (Some(number), Some("estimate"), _) => format!("about {number}"),
        (Some(number), _, _) => count(u64::try_from(number).unwrap_or(0)),
        (None, _, Some(error)) => error.clone(),
        (None, _, None) => "unknown".to_owned(),
    }
}

fn check_text(check: &CheckReport) -> String {
    let mut text = match check.problems.len() {
        0 => format!("ok ({:.2} s)", check.elapsed_seconds),
        more => counted(more as u64, "problem"),
    };
    if check.btrees_checked < check.btrees {
        let _ = write!(text, ", {} of {} b-trees checked", count(check.btrees_checked), count(check.btrees));
    }
    text
}
