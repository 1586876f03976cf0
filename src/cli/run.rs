//! `litekeeper run`.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Args;
use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::database::Database;
use crate::humanize::counted;
use crate::limits::Cancel;
use crate::runner::RunRequest;
use crate::runner::RunResult;
use crate::runner::TaskExecutor;
use crate::sqlite;
use crate::task::Task;
use crate::tasks::BackupReport;
use crate::tasks::Details;
use crate::tasks::FailureReason;
use crate::tasks::Forecast;
use crate::tasks::LogCleaningReport;
use crate::tasks::Outcome;
use crate::tasks::Run;
use crate::tasks::SkipReason;
use crate::tasks::Trigger;
use crate::telemetry::RemoteContext;
use crate::telemetry::within;
use crate::worker_pool::run_blocking;

use super::Exit;
use super::block_on;
use super::check;
use super::common::CliContext;
use super::common::ConfigFile;
use super::common::run_json;
use super::dry_run::forecast_text;
use super::escape::one_line;
use super::escape::print_error;
use super::log::Log;
use super::print;
use super::progress::Progress;
use super::traces;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper run all --config litekeeper.yml
  litekeeper run log_cleaning --db books --dry-run
  litekeeper run vacuum --json | jq '.runs[].details.vacuum.saved_bytes'

Exit codes: 0 done or not needed, 1 a health check found problems, 2 usage or configuration, 3 failed, 4 not allowed now (paused, no space, another run, replicated, not writable, unhealthy, an unsafe version).")]
pub(super) struct Arguments {
    /// What to do
    task: Wanted,
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
enum Wanted {
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

impl Wanted {
    fn tasks(self) -> &'static [Task] {
        match self {
            Self::LogCleaning => &[Task::LogCleaning],
            Self::Vacuum => &[Task::Vacuum],
            Self::HealthCheck => &[Task::HealthCheck],
            Self::Backup => &[Task::Backup],
            Self::Checkpoint => &[Task::Checkpoint],
            Self::Optimize => &[Task::Optimize],
            Self::All => &[
                Task::Backup,
                Task::LogCleaning,
                Task::Vacuum,
                Task::Optimize,
                Task::Checkpoint,
                Task::HealthCheck,
            ],
        }
    }
}

/// What came of one task on one database.
enum Result {
    Forecast(Box<Forecast>),
    Run(Box<Run>, Box<Outcome>),
    NotDone(Box<Outcome>),
}

pub(super) fn run(arguments: Arguments, log: &Log) -> anyhow::Result<Exit> {
    let CliContext { databases, workshop, tracing } = match arguments.config.open(&arguments.db)? {
        Ok(premises) => premises,
        Err(exit) => return Ok(exit),
    };
    let telemetry = match traces(&tracing, log) {
        Ok(telemetry) => telemetry,
        Err(exit) => return Ok(exit),
    };
    let orders = orders(&arguments, &databases);
    if orders.is_empty() {
        print_error!(
            "litekeeper: none of these databases has this task in the configuration; name it under `tasks`, as in \
             `tasks: {{vacuum: {{}}}}`"
        );
        return Ok(Exit::Usage);
    }
    sqlite::limit_heap()?;
    block_on(async {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        let mut worst = Exit::Success;
        let mut results = Vec::new();
        for order in orders {
            let result = execute(&workshop, &order, arguments.dry_run, &stop).await?;
            worst = worse(worst, exit_of(&result));
            if !arguments.json {
                print(&text(&order, &result));
            }
            results.push(json(&order, &result));
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
fn orders(arguments: &Arguments, databases: &[Arc<Database>]) -> Vec<RunRequest> {
    let mut orders = Vec::new();
    for database in databases {
        for &task in arguments.task.tasks() {
            if database.settings.tasks.timings().any(|(configured, _)| configured == task) {
                orders.push(RunRequest {
                    database: Arc::clone(database),
                    task,
                    trigger: Trigger::Manual,
                    due_at: None,
                    must_end_by: None,
                    cancel: Cancel::default(),
                });
            }
        }
    }
    orders
}

/// The trace that the calling program is in, as OpenTelemetry has it handed on to programs that are started.
fn parent() -> Option<RemoteContext> {
    let traceparent = std::env::var("TRACEPARENT").ok()?;
    RemoteContext::named(&traceparent, std::env::var("TRACESTATE").ok().as_deref())
}

async fn execute(
    workshop: &TaskExecutor,
    order: &RunRequest,
    dry_run: bool,
    stop: &CancellationToken,
) -> anyhow::Result<Result> {
    let progress = Progress::new();
    let (observer, workshop, ordered) = (Arc::new(progress.clone()), workshop.clone(), order.clone());
    let parent = parent();
    let mut work = std::pin::pin!(run_blocking(move || {
        if dry_run {
            return match workshop.forecast(&ordered, observer) {
                Ok(forecast) => Result::Forecast(Box::new(forecast)),
                Err(outcome) => Result::NotDone(Box::new(outcome)),
            };
        }
        match within(parent.as_ref(), || workshop.execute(&ordered, observer)) {
            RunResult::Done(run, outcome) => Result::Run(run, outcome),
            RunResult::HeldElsewhere => {
                let detail =
                    "another litekeeper process is at work on the database; try again when it is done";
                Result::NotDone(Box::new(Outcome::skipped(SkipReason::Overlap, detail)))
            }
        }
    }));
    let done = tokio::select! {
        done = &mut work => done,
        () = stop.cancelled() => {
            order.cancel.cancel();
            let patience = std::time::Duration::from_secs(1);
            match tokio::time::timeout(patience, &mut work).await {
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
    done.ok_or_else(|| anyhow::anyhow!("{}: {} panicked", order.database.name, order.task))
}

fn exit_of(result: &Result) -> Exit {
    let outcome = match result {
        Result::Forecast(_) => return Exit::Success,
        Result::Run(_, outcome) | Result::NotDone(outcome) => outcome,
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

fn json(order: &RunRequest, result: &Result) -> serde_json::Value {
    let heading = serde_json::json!({
        "database": order.database.name.as_str(),
        "path": order.database.path.to_string_lossy(),
        "task": order.task.label(),
    });
    let mut object = match result {
        Result::Run(run, _) => return run_json(run),
        Result::Forecast(forecast) => serde_json::json!({ "dry_run": true, "forecast": forecast }),
        Result::NotDone(outcome) => serde_json::json!({
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
fn text(order: &RunRequest, result: &Result) -> String {
    let head = format!("{}: {}", one_line(order.database.name.as_str()), order.task);
    match result {
        Result::Forecast(forecast) => format!("{head}, dry run\n{}", forecast_text(forecast)),
        Result::NotDone(outcome) => outcome_line(&head, outcome, ""),
        Result::Run(run, outcome) => {
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
                if order.task.writes() {
                    let hold = report.max_hold.as_secs_f64() * 1e3;
                    let is_backup = order.task == Task::Backup;
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
