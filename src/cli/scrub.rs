//! `litekeeper scrub`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::config::Config;
use crate::config::StateLocation;
use crate::database_files::DatabaseFiles;
use crate::humanize::bytes;
use crate::humanize::count;
use crate::humanize::counted;
use crate::scrub::Error;
use crate::scrub::LedgerDirectory;
use crate::scrub::Mismatch;
use crate::scrub::MismatchKind;
use crate::scrub::Outcome;
use crate::scrub::Preview;
use crate::scrub::Progress;
use crate::scrub::Report;
use crate::scrub::ScrubRequest;
use crate::scrub::Source;
use crate::sqlite::PageName;
use crate::tasks::Progress as _;
use crate::tasks::ReaderPool;
use crate::tasks::ledger_directory;
use crate::tasks::name_pages;
use crate::worker_pool::run_blocking;

use super::escape::one_line;
use super::escape::print_error;
use super::exit::Exit;
use super::output::print;
use super::progress::TerminalProgress;
use super::runtime::block_on;
use super::scrub_reasons::reason_text;
use crate::humanize::rfc3339;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper scrub books.db
  litekeeper scrub --dry-run --rate 20M /srv/tenants/*.db

The first scrub of a file only records hashes. If a scrub is stopped, the next one continues at the same position. docs/SCRUB.md explains what can be verified and what a mismatch means.

Exit codes: 0 no damage found, 1 damage found, 2 usage error, 3 something could not be scrubbed, or the scrub was stopped.")]
pub(super) struct Arguments {
    /// Database files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show what would be read and verified, without reading any page
    #[arg(long, conflicts_with = "accept")]
    dry_run: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Bytes to read per second, such as 20M (K, M and G are powers of 1024); default: no limit
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<NonZeroU64>,
    /// Directory of the ledgers; default: `scrub` beside the state file of the agent
    #[arg(long, value_name = "DIRECTORY")]
    ledger_dir: Option<PathBuf>,
    /// Accept the pages that earlier scrubs reported: they get the hash of their current content,
    /// and are no longer reported. Use it after a repair or a restore over the same file
    #[arg(long)]
    accept: bool,
    /// Configuration file, for the default of --ledger-dir
    #[arg(
        long,
        value_name = "FILE",
        env = "LITEKEEPER_CONFIG",
        default_value = "/etc/litekeeper/litekeeper.yml"
    )]
    config: PathBuf,
}

fn rate(text: &str) -> Result<NonZeroU64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1_u64),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.and_then(NonZeroU64::new).ok_or_else(|| "give a number of bytes such as 500K or 20M".to_owned())
}

/// A mismatch with the name of its page.
#[derive(Debug, Serialize)]
struct NamedMismatch {
    kind: MismatchKind,
    page: u32,
    frame: Option<u32>,
    /// `None` where no b-tree leads to the page.
    name: Option<PageName>,
    expected: Option<String>,
    found: String,
    last_verified_at: Option<String>,
    found_at: String,
}

/// The result for one file.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum FileResult {
    Scrubbed { path: String, is_ok: bool, report: Report, mismatches: Vec<NamedMismatch> },
    Planned { path: String, plan: Preview },
    Stopped { path: String, bytes_done: u64, bytes_total: u64 },
    Failed { path: String, error: &'static str, message: String },
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    format_version: u32,
    litekeeper_version: &'static str,
    databases: &'a [FileResult],
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let Some(ledgers) = ledgers(&arguments) else {
        print_error!(
            "litekeeper: there is no configuration with a state file, so the directory of the ledgers is not known: add \
             --ledger-dir DIRECTORY"
        );
        return Ok(Exit::Usage);
    };
    block_on(async {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        let json = arguments.json;
        let work = run_blocking(move || scrub_all(&arguments, &ledgers, &stop));
        let Some(results) = work.await else { anyhow::bail!("the scrub panicked") };
        if json {
            let document = Document {
                format_version: 1,
                litekeeper_version: env!("CARGO_PKG_VERSION"),
                databases: &results,
            };
            print(&(serde_json::to_string_pretty(&document)? + "\n"));
        }
        let is_bad = |result: &FileResult| matches!(result, FileResult::Scrubbed { is_ok: false, .. });
        let is_incomplete =
            |result: &FileResult| matches!(result, FileResult::Stopped { .. } | FileResult::Failed { .. });
        Ok(if results.iter().any(is_bad) {
            Exit::Problems
        } else if results.iter().any(is_incomplete) {
            Exit::Failure
        } else {
            Exit::Success
        })
    })
}

/// The directory of the agent, so that both continue each other's work.
fn ledgers(arguments: &Arguments) -> Option<LedgerDirectory> {
    if let Some(directory) = &arguments.ledger_dir {
        return Some(LedgerDirectory::new(directory));
    }
    // An invalid configuration is no reason to refuse a scrub.
    let location =
        Config::load(&arguments.config).map_or(StateLocation::Default, |config| config.maintenance.state);
    let file = location.file(&|name| std::env::var(name).ok(), crate::os::is_root())?;
    Some(LedgerDirectory::new(ledger_directory(&file)))
}

fn scrub_all(arguments: &Arguments, ledgers: &LedgerDirectory, stop: &CancellationToken) -> Vec<FileResult> {
    let progress = TerminalProgress::new();
    let readers = ReaderPool::default();
    let mut results = Vec::new();
    for file in &arguments.files {
        let request = ScrubRequest {
            bytes_per_second: arguments.rate,
            accept: arguments.accept,
            ..ScrubRequest::new(file, ledgers.clone())
        };
        let result = if arguments.dry_run {
            readers.preview(&request).map(|plan| FileResult::Planned { path: path_text(file), plan })
        } else {
            progress.begin(&path_text(file));
            let mut show = |done: Progress| {
                let share = done.bytes_done as f64 / done.bytes_total.max(1) as f64;
                progress.update(share, "");
                if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            readers.scrub(&request, &mut show).map(|outcome| match outcome {
                Outcome::Completed(report) => scrubbed(file, report, stop),
                Outcome::Stopped(Progress { bytes_done, bytes_total }) => {
                    FileResult::Stopped { path: path_text(file), bytes_done, bytes_total }
                }
            })
        };
        progress.clear();
        let result = result.unwrap_or_else(|error| failed(file, &error));
        if !arguments.json {
            print(&text(&result));
        }
        results.push(result);
        if stop.is_cancelled() {
            break;
        }
    }
    results
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn failed(file: &Path, error: &Error) -> FileResult {
    FileResult::Failed { path: path_text(file), error: error.label(), message: error.to_string() }
}

fn scrubbed(file: &Path, mut report: Report, stop: &CancellationToken) -> FileResult {
    let names = names(file, &report.mismatches, stop);
    let mismatches = report
        .mismatches
        .iter()
        .map(|mismatch| NamedMismatch {
            kind: mismatch.kind,
            page: mismatch.page,
            frame: mismatch.frame,
            name: names.get(&mismatch.page).cloned(),
            expected: mismatch.expected.map(|hash| hash.to_string()),
            found: mismatch.found.to_string(),
            last_verified_at: mismatch.last_verified_at.map(rfc3339),
            found_at: rfc3339(mismatch.found_at),
        })
        .collect();
    // They are listed with their names.
    report.mismatches.clear();
    FileResult::Scrubbed { path: path_text(file), is_ok: report.is_ok(), report, mismatches }
}

/// Names the pages of mismatches; none where the database cannot be read.
fn names(file: &Path, mismatches: &[Mismatch], stop: &CancellationToken) -> BTreeMap<u32, PageName> {
    let wanted: BTreeSet<u32> = mismatches.iter().map(|mismatch| mismatch.page).collect();
    let path = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    name_pages(&path, &DatabaseFiles::of(&path), &wanted, stop)
}

fn text(result: &FileResult) -> String {
    match result {
        FileResult::Scrubbed { path, report, mismatches, .. } => report_text(path, report, mismatches),
        FileResult::Planned { path, plan } => plan_text(path, plan),
        FileResult::Stopped { path, bytes_done, bytes_total } => format!(
            "{}: stopped after {} of {}; the next scrub continues there\n",
            one_line(path),
            bytes(*bytes_done),
            bytes(*bytes_total)
        ),
        FileResult::Failed { message, .. } => format!("{}\n", one_line(message)),
    }
}

/// The result in one line. A scrub that could verify nothing does not say that all is well.
fn verdict(report: &Report) -> &'static str {
    match (report.is_ok(), report.verified_pages, report.unverified_total()) {
        (false, ..) => "SILENT DAMAGE",
        (true, 0, 1..) if report.previous_at.is_none() => {
            "nothing verified yet: the hashes of all pages are recorded for the next scrub"
        }
        (true, 0, 1..) => "nothing could be verified",
        (true, _, 0) => "no silent damage found: every page is as it was",
        (true, ..) => "no silent damage found in the pages that could be verified",
    }
}

fn report_text(path: &str, report: &Report, mismatches: &[NamedMismatch]) -> String {
    let mut text = format!("{}: {}\n", one_line(path), verdict(report));
    let source = match report.source {
        Source::Disk => "from the disk",
        Source::PageCache => "through the page cache, which this file system cannot bypass",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "  read        {}, {} in {:.1} s {source}",
        counted(u64::from(report.pages), "page"),
        bytes(report.bytes),
        report.elapsed.as_secs_f64()
    );
    let previous =
        report.previous_at.map_or_else(String::new, |time| format!(", last scrub {}", rfc3339(time)));
    let _ = writeln!(text, "  mode        {}{previous}", report.mode.label());
    let _ = writeln!(text, "  verified    {}", counted(u64::from(report.verified_pages), "page"));
    for (reason, pages) in &report.unverified_pages {
        let _ =
            writeln!(text, "  unverified  {}: {}", counted(u64::from(*pages), "page"), reason_text(*reason));
    }
    if report.wal_frames > 0 {
        let _ = writeln!(text, "  WAL         {} verified", counted(u64::from(report.wal_frames), "frame"));
    }
    for (number, what) in [(report.healed_pages, "match again"), (report.accepted_pages, "accepted")] {
        if number > 0 {
            let _ = writeln!(text, "  {what}  {}", counted(u64::from(number), "page"));
        }
    }
    for mismatch in mismatches {
        let _ = writeln!(text, "  {}", mismatch_text(mismatch));
    }
    if mismatches.len() < report.mismatches_total as usize {
        let _ = writeln!(
            text,
            "  … and {} more",
            count(u64::from(report.mismatches_total) - mismatches.len() as u64)
        );
    }
    if !report.is_ok() {
        text.push_str("  What to do: `litekeeper runbook SqliteScrubFoundDamage`\n");
    }
    text
}

fn mismatch_text(mismatch: &NamedMismatch) -> String {
    let page = match mismatch.frame {
        Some(frame) => format!("page {} (frame {frame} of the WAL)", mismatch.page),
        None => format!("page {}", mismatch.page),
    };
    let place =
        mismatch.name.as_ref().map_or_else(|| "no b-tree leads to it".to_owned(), PageName::to_string);
    let what = match mismatch.kind {
        MismatchKind::WalFrame => "a committed frame has the wrong checksum",
        MismatchKind::LostCheckpointWrite => "does not contain what a checkpoint wrote",
        MismatchKind::Page => "differs although nobody wrote it",
    };
    let since =
        mismatch.last_verified_at.as_ref().map_or_else(String::new, |time| format!("; last right at {time}"));
    one_line(&format!("{page}, {place}: {what}{since}, found {}", mismatch.found_at)).into_owned()
}

fn plan_text(path: &str, plan: &Preview) -> String {
    let mut text = format!("{}: would read {}", one_line(path), bytes(plan.bytes));
    if let Some(elapsed) = plan.elapsed {
        let _ = write!(text, " in {:.0} s", elapsed.as_secs_f64());
    }
    let _ = writeln!(
        text,
        ", and can verify {} of {}",
        count(u64::from(plan.verifiable_pages)),
        counted(u64::from(plan.pages), "page")
    );
    for (reason, pages) in &plan.unverifiable_pages {
        let _ = writeln!(text, "  not {}: {}", counted(u64::from(*pages), "page"), reason_text(*reason));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_bytes() {
        assert_eq!(rate("20M").map(NonZeroU64::get), Ok(20 << 20));
        assert_eq!(rate("512").map(NonZeroU64::get), Ok(512));
        for wrong in ["", "0", "M", "-1", "1.5M", "99999999999G"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
