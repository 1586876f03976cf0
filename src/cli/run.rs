//! `litekeeper run`.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Args;
use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::database::Database;
use crate::humanize::counted;
use crate::runner::RunRequest;
use crate::runner::RunResult;
use crate::runner::TaskExecutor;
use crate::task::TaskKind;
use crate::tasks::BackupReport;
use crate::tasks::Details;
use crate::tasks::DryRun;
use crate::tasks::FailureReason;
use crate::tasks::LogCleaningReport;
use crate::tasks::Outcome;
use crate::tasks::Run;
use crate::tasks::SkipReason;
use crate::tasks::Trigger;
use crate::telemetry::RemoteContext;
use crate::telemetry::within;
use crate::worker_pool::run_blocking;

use super::check;
use super::common::CliContext;
use super::common::ConfigFile;
use super::common::run_json;
use super::dry_run::dry_run_text;
use super::escape::one_line;
use super::escape::print_error;
use super::exit::Exit;
use super::log::Log;
use super::output::print;
use super::progress::TerminalProgress;
use super::runtime::block_on;
use super::runtime::traces;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper run all --config litekeeper.yml
  litekeeper run log_cleaning --db books --dry-run
  litekeeper run vacuum --json | jq '.runs[].details.vacuum.saved_bytes'

Exit codes: 0 done or not needed, 1 a health check found problems, 2 usage or configuration, 3 failed, 4 not allowed now (paused, no space, another run, replicated, not writable, unhealthy, an unsafe version).")]
pub(super) struct Arguments {
    /// What to do
    task: TaskSelection,
    #[command(flatten)]
    config: ConfigFile,
    /// Databases, by name; all that have the task when none is given
    #[arg(long, value_name = "NAME")]
    db: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum TaskSelection {
    /// Delete rows older than their retention
    LogCleaning,
    /// Give free pages back to the file system
    Vacuum,
    /// Run every check and show the statistics
    HealthCheck,
    /// Copy the database into a directory, prove the copy, and let the oldest go
    Backup,
    /// Copy the WAL into the main file
    Checkpoint,
    /// Bring the statistics of the query planner up to date
    Optimize,
    /// Everything that is configured: backup, log cleaning, vacuum, optimize, checkpoint, health check
    All,
}

impl TaskSelection {
    fn tasks(self) -> &'static [TaskKind] {
        match self {
            Self::LogCleaning => &[TaskKind::LogCleaning],
            Self::Vacuum => &[TaskKind::Vacuum],
            Self::HealthCheck => &[TaskKind::HealthCheck],
            Self::Backup => &[TaskKind::Backup],
            Self::Checkpoint => &[TaskKind::Checkpoint],
            Self::Optimize => &[TaskKind::Optimize],
            Self::All => &[
                TaskKind::Backup,
                TaskKind::LogCleaning,
                TaskKind::Vacuum,
                TaskKind::Optimize,
                TaskKind::Checkpoint,
                TaskKind::HealthCheck,
            ],
        }
    }
}

/// What came of one task on one database.
enum TaskResult {
    DryRun(Box<DryRun>),
    Run(Box<Run>, Box<Outcome>),
    NotDone(Box<Outcome>),
}

pub(super) fn run(arguments: Arguments, log: &Log) -> anyhow::Result<Exit> {
    let CliContext { databases, executor, tracing } = match arguments.config.open(&arguments.db)? {
        Ok(context) => context,
        Err(exit) => return Ok(exit),
    };
    let telemetry = match traces(&tracing, log) {
        Ok(telemetry) => telemetry,
        Err(exit) => return Ok(exit),
    };
    let requests = requests(&arguments, &databases);
    if requests.is_empty() {
        print_error!(
            "litekeeper: none of these databases has this task in the configuration; name it under `tasks`, as in \
             `tasks: {{vacuum: {{}}}}`"
        );
        return Ok(Exit::Usage);
    }
    block_on(async {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        let mut worst = Exit::Success;
        let mut results = Vec::new();
        for request in requests {
            let result = execute(&executor, &request, arguments.dry_run, &stop).await?;
            worst = worse(worst, exit_of(&result));
            if !arguments.json {
                print(&text(&request, &result));
            }
            results.push(json(&request, &result));
            if stop.is_cancelled() {
                break;
            }
        }
        telemetry.end().await;
        if arguments.json {
            print(&(serde_json::to_string_pretty(&serde_json::json!({ "runs": results }))? + "\n"));
        }
        Ok(worst)
    })
}

/// Every wanted task of every database that has it, database by database.
fn requests(arguments: &Arguments, databases: &[Arc<Database>]) -> Vec<RunRequest> {
    let mut requests = Vec::new();
    for database in databases {
        for &task in arguments.task.tasks() {
            if database.settings.tasks.timings().any(|(configured, _)| configured == task) {
                requests.push(RunRequest {
                    database: Arc::clone(database),
                    task,
                    trigger: Trigger::Manual,
                    due_at: None,
                    must_end_by: None,
                    cancel: CancellationToken::new(),
                });
            }
        }
    }
    requests
}

/// The trace that the calling program is in, as OpenTelemetry has it handed on to programs that are started.
fn parent() -> Option<RemoteContext> {
    let traceparent = std::env::var("TRACEPARENT").ok()?;
    RemoteContext::from_headers(&traceparent, std::env::var("TRACESTATE").ok().as_deref())
}

async fn execute(
    executor: &TaskExecutor,
    request: &RunRequest,
    dry_run: bool,
    stop: &CancellationToken,
) -> anyhow::Result<TaskResult> {
    let progress = TerminalProgress::new();
    let (observer, executor, owned_request) = (Arc::new(progress.clone()), executor.clone(), request.clone());
    let parent = parent();
    let mut work = std::pin::pin!(run_blocking(move || {
        if dry_run {
            return match executor.dry_run(&owned_request, observer) {
                Ok(forecast) => TaskResult::DryRun(Box::new(forecast)),
                Err(outcome) => TaskResult::NotDone(Box::new(outcome)),
            };
        }
        match within(parent.as_ref(), || executor.execute(&owned_request, observer)) {
            RunResult::Done(run, outcome) => TaskResult::Run(run, outcome),
            RunResult::LockedElsewhere => {
                let detail =
                    "another litekeeper process is at work on the database; try again when it is done";
                TaskResult::NotDone(Box::new(Outcome::skipped(SkipReason::Overlap, detail)))
            }
        }
    }));
    let done = tokio::select! {
        done = &mut work => done,
        () = stop.cancelled() => {
            request.cancel.cancel();
            let grace = std::time::Duration::from_secs(1);
            match tokio::time::timeout(grace, &mut work).await {
                Ok(done) => done,
                Err(_) => {
                    print_error!(
                        "litekeeper: waiting for the last part of the job, which cannot be stopped; Ctrl-C again ends \
                         litekeeper at once, and SQLite rolls the job back when the database is opened next"
                    );
                    work.await
                }
            }
        }
    };
    progress.clear();
    done.ok_or_else(|| anyhow::anyhow!("{}: {} panicked", request.database.name, request.task))
}

fn exit_of(result: &TaskResult) -> Exit {
    let outcome = match result {
        TaskResult::DryRun(_) => return Exit::Success,
        TaskResult::Run(_, outcome) | TaskResult::NotDone(outcome) => outcome,
    };
    match outcome.as_ref() {
        Outcome::Success(_) | Outcome::Skipped { reason: SkipReason::BelowThreshold, .. } => Exit::Success,
        Outcome::Skipped { .. } => Exit::Skipped,
        Outcome::Failed { reason, report, .. } => match report.as_ref().map(|report| &report.details) {
            Some(Details::HealthCheck(_))
                if [FailureReason::Corrupt, FailureReason::Constraint].contains(reason) =>
            {
                Exit::Problems
            }
            Some(_) | None => Exit::Failure,
        },
    }
}

fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Success => 0,
        Exit::Skipped => 1,
        Exit::Usage => 2,
        Exit::Failure => 3,
        Exit::Problems => 4,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn json(request: &RunRequest, result: &TaskResult) -> serde_json::Value {
    let heading = serde_json::json!({
        "database": request.database.name.as_str(),
        "path": request.database.path.to_string_lossy(),
        "task": request.task.label(),
    });
    let mut object = match result {
        TaskResult::Run(run, _) => return run_json(run),
        TaskResult::DryRun(forecast) => serde_json::json!({ "dry_run": true, "forecast": forecast }),
        TaskResult::NotDone(outcome) => serde_json::json!({
            "outcome": outcome.label(),
            "reason": outcome.reason(),
            "message": outcome.message(),
        }),
    };
    if let (Some(object), Some(heading)) = (object.as_object_mut(), heading.as_object()) {
        object.extend(heading.clone());
    }
    object
}

/// What happened, for a person.
fn text(request: &RunRequest, result: &TaskResult) -> String {
    let head = format!("{}: {}", one_line(request.database.name.as_str()), request.task);
    match result {
        TaskResult::DryRun(forecast) => format!("{head}, dry run\n{}", dry_run_text(forecast)),
        TaskResult::NotDone(outcome) => outcome_line(&head, outcome, ""),
        TaskResult::Run(run, outcome) => {
            let seconds = format!(" ({:.2} s)", run.elapsed.as_secs_f64());
            let mut text = outcome_line(&head, outcome, &seconds);
            let words = run.words();
            if !words.is_empty() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {}", one_line(&words));
            }
            if let Some(report) = outcome.report() {
                match &report.details {
                    Details::LogCleaning(report) => {
                        text.push_str(&tables_text(report, outcome.message().unwrap_or_default()));
                    }
                    Details::HealthCheck(health) => {
                        check::text(&health.report).lines().skip(1).for_each(|line| {
                            let _ = writeln!(text, "{line}");
                        });
                    }
                    Details::Backup(report) => text.push_str(&backup_text(report)),
                    Details::Vacuum(_) | Details::Checkpoint(_) | Details::Optimize(_) => {}
                }
                if request.task.writes() {
                    let hold = report.max_hold.as_secs_f64() * 1e3;
                    let is_backup = request.task == TaskKind::Backup;
                    let what =
                        if is_backup { "longest wait of a writer" } else { "longest hold of the write lock" };
                    let _ = writeln!(text, "  {what}: {hold:.1} ms");
                }
            }
            text
        }
    }
}

fn outcome_line(head: &str, outcome: &Outcome, seconds: &str) -> String {
    match (outcome.reason(), outcome.message()) {
        // As the log has it: nothing is wrong.
        (_, Some(message)) if outcome.is_stopped() => {
            format!("{head} stopped{seconds}: {}\n", one_line(message))
        }
        (Some(reason), Some(message)) => {
            format!("{head} {} ({reason}){seconds}: {}\n", outcome.label(), one_line(message))
        }
        _ => format!("{head} succeeded{seconds}\n"),
    }
}

fn backup_text(report: &BackupReport) -> String {
    let mut text = format!("  {}\n", report.path.display());
    for table in &report.not_compared {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  not counted in the database in time: {}", one_line(table));
    }
    for note in report.broken_constraints.iter().chain(&report.not_checked) {
        let _ = writeln!(text, "  {}", one_line(note));
    }
    for path in &report.removed {
        let _ = writeln!(text, "  removed: {}", path.display());
    }
    text
}

/// What was done to each table; a note that ends the line of the run already is not said again.
fn tables_text(report: &LogCleaningReport, said: &str) -> String {
    let mut text = String::new();
    for table in &report.tables {
        let state = if table.has_ended_early() { ", not complete" } else { "" };
        let older = table.cutoff.as_ref().map(|cutoff| format!(" older than {cutoff}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {}: {}{older} in {}{state}",
            one_line(&table.table),
            counted(table.deleted_rows, "row"),
            counted(table.batches, "transaction")
        );
        for other in &table.others {
            let _ = writeln!(text, "    with them: {}", other.words());
        }
        if let Some(archive) = &table.archive {
            let _ = writeln!(text, "    archived in {}", archive.display());
        }
        if let Some(note) = table.note.as_ref().filter(|note| !said.ends_with(note.as_str())) {
            let _ = writeln!(text, "    {}", one_line(note));
        }
    }
    text
}
