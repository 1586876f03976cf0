//! `litekeeper doctor`.

use std::fmt::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::config::Config;
use crate::database::Database;
use crate::discovery::discover_once;
use crate::doctor::Diagnosis;
use crate::doctor::FORMAT_VERSION;
use crate::doctor::Finding;
use crate::doctor::PriorState;
use crate::doctor::Severity;
use crate::doctor::Verdict;
use crate::doctor::database_of;
use crate::doctor::diagnose;
use crate::limits::QueryLimits;
use crate::sqlite;
use crate::state_store::StateStore;
use crate::worker_pool::run_blocking;

use super::escape::one_line;
use super::escape::print_error;
use super::exit::Exit;
use super::locks::locks_of;
use super::output::print;
use super::runtime::block_on;

/// Time limit per database.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Line width of the text output.
const WIDTH: usize = 100;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper doctor books.db
  litekeeper doctor --config /etc/litekeeper/litekeeper.yml --json | jq -r '.databases[].findings[].id'

Exit codes: 0 no finding above info, 1 warnings or critical findings, 2 usage error, 3 a database could not be examined. docs/DOCTOR.md lists all findings and describes the JSON format.")]
pub(super) struct Arguments {
    /// Database files; with --config the default is all databases of the configuration
    #[arg(required_unless_present = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Configuration file: also examines what its tasks need (indexes, free space, directories) and
    /// reports the last check results
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    format_version: u32,
    litekeeper_version: &'static str,
    sqlite_version: &'static str,
    verdict: Verdict,
    databases: &'a [Diagnosis],
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let (targets, history, state_file) = match targets(&arguments) {
        Ok(found) => found,
        Err(exit) => return Ok(exit),
    };
    block_on(async {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        let cancel = CancellationToken::new();
        let mut diagnoses = Vec::new();
        for (file, database) in targets {
            let limits = QueryLimits {
                busy_timeout: BUSY_TIMEOUT,
                cancel: cancel.clone(),
                ..QueryLimits::with_timeout(DATABASE_TIMEOUT)
            };
            let name = file.display().to_string();
            let mut known = prior_state(history.as_ref(), state_file.clone(), &database);
            let mut work = std::pin::pin!(run_blocking(move || {
                known.locks = locks_of(&file).map(Arc::new);
                diagnose(&file, &database, known, &limits)
            }));
            let finished = tokio::select! {
                finished = &mut work => finished,
                () = stop.cancelled() => {
                    cancel.cancel();
                    work.await
                }
            };
            let Some(diagnosis) = finished else { anyhow::bail!("{name}: the diagnosis panicked") };
            if !arguments.json {
                print(&text(&diagnosis));
            }
            diagnoses.push(diagnosis);
            if stop.is_cancelled() {
                break;
            }
        }
        let verdict = diagnoses.iter().map(|diagnosis| diagnosis.verdict).max().unwrap_or(Verdict::Unknown);
        if arguments.json {
            print(&json(&diagnoses, verdict)?);
        }
        Ok(match verdict {
            Verdict::Ok => Exit::Success,
            Verdict::Warning | Verdict::Critical => Exit::Problems,
            Verdict::Unknown => Exit::Failure,
        })
    })
}

/// The files to diagnose with their configured databases, the state store with past results, and
/// its file, which may not exist yet.
type Targets = (Vec<(PathBuf, Arc<Database>)>, Option<StateStore>, Option<PathBuf>);

fn targets(arguments: &Arguments) -> Result<Targets, Exit> {
    let (mut known, mut history, mut state_file) = (Vec::new(), None, None);
    if let Some(file) = &arguments.config {
        let config = Config::load(file).map_err(|errors| {
            print_error!("litekeeper: the configuration is invalid\n{errors}");
            Exit::Usage
        })?;
        if let Some(directory) = &config.maintenance.temp_directory
            && let Err(error) = sqlite::set_temporary_directory(directory)
        {
            print_error!("litekeeper: temp_directory {}: {error}", directory.display());
        }
        let (databases, errors) = discover_once(&config, &app::given_names(&config));
        errors.iter().for_each(|error| print_error!("litekeeper: {error}"));
        known = databases;
        state_file = app::state_file(&config);
        history = state_file.as_deref().and_then(open_state_store);
    }
    let targets = if arguments.files.is_empty() {
        known.into_iter().map(|database| (database.path.clone(), database)).collect()
    } else {
        arguments.files.iter().map(|file| (file.clone(), database_of(file, &known))).collect()
    };
    Ok((targets, history, state_file))
}

/// Opens the state file, if it exists. Prints an error if it cannot be read.
fn open_state_store(file: &Path) -> Option<StateStore> {
    StateStore::read(file).unwrap_or_else(|error| {
        print_error!("litekeeper: {error}; past check results are not available");
        None
    })
}

/// What the state file knows of a database.
fn prior_state(history: Option<&StateStore>, state_file: Option<PathBuf>, database: &Database) -> PriorState {
    let mut known = PriorState { state_file, ..PriorState::default() };
    let Some(history) = history else { return known };
    match history
        .check_statuses(&database.path)
        .and_then(|checks| Ok((checks, history.scrub_status(&database.path)?)))
    {
        Ok((checks, scrub)) => {
            known.check_statuses = checks.into_iter().collect();
            known.scrub = scrub;
        }
        Err(error) => {
            print_error!("litekeeper: {error}; past check results of {} are not available", database.name);
        }
    }
    known
}

fn json(diagnoses: &[Diagnosis], verdict: Verdict) -> anyhow::Result<String> {
    let document = Document {
        format_version: FORMAT_VERSION,
        litekeeper_version: env!("CARGO_PKG_VERSION"),
        sqlite_version: sqlite::sqlite_version(),
        verdict,
        databases: diagnoses,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// Formats a diagnosis as text.
fn text(diagnosis: &Diagnosis) -> String {
    let mut text = format!("{}: {}\n", one_line(&diagnosis.path), summary(diagnosis));
    if let Some(error) = &diagnosis.error {
        let all = if diagnosis.findings.is_empty() { "" } else { "Incomplete: " };
        wrap(&mut text, "  ", &format!("{all}{error}"));
    }
    for Finding { id, severity, what, why, remediation, command } in &diagnosis.findings {
        let severity = match severity {
            Severity::Critical => "CRITICAL",
            Severity::Warning => "WARNING",
            Severity::Info => "info",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n  {severity}  {id}");
        for words in [Some(what.as_str()), Some(why), *remediation].into_iter().flatten() {
            wrap(&mut text, "    ", words);
        }
        if let Some(command) = command {
            let _ = writeln!(text, "      {}", one_line(command));
        }
    }
    text.push('\n');
    text
}

fn summary(diagnosis: &Diagnosis) -> String {
    let kinds = [
        (Severity::Critical, "critical", "critical"),
        (Severity::Warning, "warning", "warnings"),
        (Severity::Info, "note", "notes"),
    ];
    let counts = kinds.iter().filter_map(|(severity, one, several)| {
        let count = diagnosis.findings.iter().filter(|finding| finding.severity == *severity).count();
        (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { several }))
    });
    let counts: Vec<String> = counts.collect();
    match (diagnosis.verdict, counts.is_empty()) {
        (Verdict::Unknown, true) => "could not be examined".to_owned(),
        (Verdict::Ok | Verdict::Warning | Verdict::Critical, true) => "nothing found".to_owned(),
        (_, false) => counts.join(", "),
    }
}

/// Appends text, wrapped to the line width.
fn wrap(text: &mut String, indent: &str, words: &str) {
    let mut width = 0;
    for word in one_line(words).split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            text.push('\n');
            width = 0;
        }
        text.push_str(if width == 0 { indent } else { " " });
        width += if width == 0 { indent.len() + length } else { 1 + length };
        text.push_str(word);
    }
    text.push('\n');
}
