//! `litekeeper history`.

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::state_store::RunQuery;
use crate::task::TaskKind;
use crate::tasks::Run;

use super::common::CliContext;
use super::common::ConfigFile;
use super::common::run_json;
use super::common::table;
use super::escape::one_line;
use super::exit::Exit;
use super::output::print;
use crate::humanize::rfc3339;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper history --db books --task vacuum
  litekeeper history --json | jq '.runs[] | select(.outcome == \"failed\")'

Exit codes: 0 shown, 2 usage or configuration error, 3 the state file could not be read.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Only runs of this database, which may be removed; may be repeated
    #[arg(long, value_name = "NAME")]
    db: Vec<String>,
    /// Only runs of this task; may be repeated
    #[arg(long, value_name = "TASK", value_parser = PossibleValuesParser::new(TaskKind::labels()))]
    task: Vec<String>,
    /// Maximum number of runs; the newest are shown first
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let CliContext { executor, .. } = match arguments.config.open(&[])? {
        Ok(context) => context,
        Err(exit) => return Ok(exit),
    };
    let question =
        RunQuery { databases: arguments.db.clone(), tasks: arguments.task.clone(), limit: arguments.limit };
    let runs = executor.state_store.runs(&question)?;
    if arguments.json {
        let runs: Vec<_> = runs.iter().map(|past| run_json(&past.run)).collect();
        return Ok(print(&(serde_json::to_string_pretty(&serde_json::json!({ "runs": runs }))? + "\n")));
    }
    if runs.is_empty() {
        return Ok(print("no runs are recorded\n"));
    }
    let mut table = table(["STARTED", "DATABASE", "TASK", "TRIGGER", "SECONDS", "OUTCOME", "WHAT"]);
    for past in &runs {
        let run = &past.run;
        table.add_row([
            rfc3339(run.started_at),
            one_line(run.database.as_str()).into_owned(),
            run.task.to_string(),
            run.trigger.label().to_owned(),
            format!("{:.2}", run.elapsed.as_secs_f64()),
            outcome(run),
            one_line(&run.message.clone().unwrap_or_else(|| run.summary())).into_owned(),
        ]);
    }
    Ok(print(&format!("{}\n", table.trim_fmt())))
}

fn outcome(run: &Run) -> String {
    match run.status.reason() {
        // A stopped run is not a failure, as in the log.
        Some(_) if run.is_stopped() => "stopped".to_owned(),
        Some(reason) => format!("{}: {reason}", run.status.outcome()),
        None => run.status.outcome().to_owned(),
    }
}
