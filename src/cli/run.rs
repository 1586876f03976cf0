//! `litekeeper run`.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Args;
use clap::builder::PossibleValue;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::database::Database;
use crate::runner::RunRequest;
use crate::runner::RunResult;
use crate::runner::TaskExecutor;
use crate::task::TaskKind;
use crate::tasks::DryRun;
use crate::tasks::FailureReason;
use crate::tasks::Run;
use crate::tasks::RunStatus;
use crate::tasks::SkipReason;
use crate::tasks::Stop;
use crate::tasks::TASKS;
use crate::tasks::Task;
use crate::tasks::Trigger;
use crate::tasks::task;
use crate::telemetry::RemoteContext;
use crate::telemetry::within;
use crate::worker_pool::run_blocking;

use super::check;
use super::common::CliContext;
use super::common::ConfigFile;
use super::common::run_json;
use super::common::stop_json;
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

Exit codes: 0 done, or nothing to do, 1 a health check found problems, 2 usage or configuration error, 3 failed, 4 skipped (for example paused, no free space, another run active, replicated, not writable, or damaged). docs/MAINTENANCE.md lists the reasons.")]
pub(super) struct Arguments {
    /// The task to run
    #[arg(value_parser = task_parser())]
    task: TaskSelection,
    #[command(flatten)]
    config: ConfigFile,
    /// Name of a database; may be repeated; the default is all databases that have the task
    #[arg(long, value_name = "NAME")]
    db: Vec<String>,
    /// Report what the run would do, without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// The task that a user names, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TaskSelection {
    One(TaskKind),
    All,
}

/// The name for all tasks.
const ALL: &str = "all";

/// Parses the name of a registered task, or `all`.
fn task_parser() -> impl TypedValueParser<Value = TaskSelection> {
    let tasks = selectable().map(|task| PossibleValue::new(task.kind().label()).help(task.help()));
    let all = PossibleValue::new(ALL).help("All configured tasks, one after the other");
    PossibleValuesParser::new(tasks.chain([all]))
        .map(|name| TaskKind::from_label(&name).map_or(TaskSelection::All, TaskSelection::One))
}

/// The tasks that can be run manually. The quick check is part of the full one.
fn selectable() -> impl Iterator<Item = &'static dyn Task> {
    TASKS.into_iter().filter(|task| task.kind() != TaskKind::QuickCheck)
}

impl TaskSelection {
    fn tasks(self) -> Vec<TaskKind> {
        match self {
            Self::One(kind) => vec![kind],
            Self::All => selectable().map(Task::kind).collect(),
        }
    }
}

/// The result of one task on one database.
enum TaskResult {
    DryRun(Box<DryRun>),
    Run(Box<Run>),
    NotStarted(Box<Stop>),
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
            "litekeeper: no selected database has this task in the configuration; add it under `tasks`, as in \
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

/// Lists the selected tasks of each database that has them configured, database by database.
fn requests(arguments: &Arguments, databases: &[Arc<Database>]) -> Vec<RunRequest> {
    let mut requests = Vec::new();
    for database in databases {
        for task in arguments.task.tasks() {
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

/// Reads the trace context of the calling program from the environment, as OpenTelemetry specifies.
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
                Ok(dry_run) => TaskResult::DryRun(Box::new(dry_run)),
                Err(stop) => TaskResult::NotStarted(Box::new(stop)),
            };
        }
        match within(parent.as_ref(), || executor.execute(&owned_request, observer)) {
            RunResult::Done(run) => TaskResult::Run(run),
            RunResult::LockedElsewhere => {
                let detail = "another litekeeper process is running a task on the database; try again when it has finished";
                TaskResult::NotStarted(Box::new(Stop::skipped(SkipReason::Overlap, detail)))
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
                        "litekeeper: waiting for the last phase of the run, which cannot be stopped. A second Ctrl-C ends \
                         litekeeper immediately; SQLite then rolls the run back when the database is opened next"
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
    let (status, is_finding) = match result {
        TaskResult::DryRun(_) => return Exit::Success,
        TaskResult::Run(run) => (run.status, run.report.is_some() && task(run.task).is_check()),
        TaskResult::NotStarted(stop) => (stop.reason.into(), false),
    };
    match status {
        RunStatus::Success | RunStatus::Skipped(SkipReason::BelowThreshold) => Exit::Success,
        RunStatus::Skipped(_) => Exit::Skipped,
        RunStatus::Failed(FailureReason::Corrupt | FailureReason::Constraint) if is_finding => Exit::Problems,
        RunStatus::Failed(_) => Exit::Failure,
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
        TaskResult::Run(run) => return run_json(run),
        TaskResult::DryRun(dry_run) => serde_json::json!({ "dry_run": true, "forecast": dry_run }),
        TaskResult::NotStarted(stop) => stop_json(stop),
    };
    if let (Some(object), Some(heading)) = (object.as_object_mut(), heading.as_object()) {
        object.extend(heading.clone());
    }
    object
}

/// Formats the result as text.
fn text(request: &RunRequest, result: &TaskResult) -> String {
    let head = format!("{}: {}", one_line(request.database.name.as_str()), request.task);
    match result {
        TaskResult::DryRun(dry_run) => format!("{head}, dry run\n{}", dry_run_text(dry_run)),
        TaskResult::NotStarted(stop) => status_line(&head, stop.reason.into(), &stop.message, ""),
        TaskResult::Run(run) => {
            let seconds = format!(" ({:.2} s)", run.elapsed.as_secs_f64());
            let message = run.message.as_deref().unwrap_or_default();
            let mut text = status_line(&head, run.status, message, &seconds);
            let Some(report) = &run.report else { return text };
            let summary = Some(report.details.summary()).filter(|summary| !summary.is_empty());
            for line in summary.into_iter().chain(report.details.lines(message)) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {}", one_line(&line));
            }
            if let Some(health) = report.details.health() {
                check::text(health).lines().skip(1).for_each(|line| {
                    let _ = writeln!(text, "{line}");
                });
            }
            if let Some(label) = task(run.task).hold_label() {
                let _ = writeln!(text, "  {label}: {:.1} ms", report.max_hold.as_secs_f64() * 1e3);
            }
            text
        }
    }
}

fn status_line(head: &str, status: RunStatus, message: &str, seconds: &str) -> String {
    match status.reason() {
        // A stopped run is not a failure, as in the log.
        _ if status == RunStatus::Failed(FailureReason::Canceled) => {
            format!("{head} stopped{seconds}: {}\n", one_line(message))
        }
        Some(reason) => format!("{head} {} ({reason}){seconds}: {}\n", status.outcome(), one_line(message)),
        None => format!("{head} succeeded{seconds}\n"),
    }
}
