//! Code that the maintenance commands share.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use comfy_table::ContentArrangement;
use comfy_table::Table;
use comfy_table::presets;

use crate::app;
use crate::config::Config;
use crate::config::TracingSettings;
use crate::database::Database;
use crate::discovery::discover_once;
use crate::humanize::rfc3339;
use crate::runner::TaskExecutor;
use crate::tasks::Run;
use crate::tasks::RunStatus;
use crate::tasks::Stop;

use super::escape::print_error;
use super::exit::Exit;

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// Configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "LITEKEEPER_CONFIG",
        default_value = "/etc/litekeeper/litekeeper.yml"
    )]
    config: PathBuf,
}

/// The databases of a configuration, and the executor with its state file.
pub(super) struct CliContext {
    pub databases: Vec<Arc<Database>>,
    pub executor: TaskExecutor,
    pub tracing: TracingSettings,
}

impl ConfigFile {
    /// Loads the configuration; prints its errors.
    pub(super) fn load(&self) -> Result<Config, Exit> {
        Config::load(&self.config).map_err(|errors| {
            print_error!("litekeeper: the configuration is invalid\n{errors}");
            Exit::Usage
        })
    }

    /// Loads the configuration, discovers its databases and opens the state file.
    pub(super) fn open(&self, names: &[String]) -> anyhow::Result<Result<CliContext, Exit>> {
        let config = match self.load() {
            Ok(config) => config,
            Err(exit) => return Ok(Err(exit)),
        };
        let (mut databases, errors) = discover_once(&config, &app::given_names(&config));
        for error in errors {
            print_error!("litekeeper: {error}");
        }
        for name in names {
            if !databases.iter().any(|database| database.name.as_str() == name) {
                let known: Vec<&str> =
                    databases.iter().map(|database| database.name.as_str()).take(20).collect();
                print_error!("litekeeper: unknown database {name}; known databases: {}", known.join(", "));
                return Ok(Err(Exit::Usage));
            }
        }
        if !names.is_empty() {
            databases.retain(|database| names.iter().any(|name| name == database.name.as_str()));
        }
        let executor = app::build_executor(&config)?;
        Ok(Ok(CliContext { databases, executor, tracing: config.tracing }))
    }
}

/// A table without borders, readable by people and by `awk`.
pub(super) fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

/// Formats a run as JSON, as documented in docs/MAINTENANCE.md.
pub(super) fn run_json(run: &Run) -> serde_json::Value {
    serde_json::json!({
        "database": run.database.as_str(),
        "path": run.path.to_string_lossy(),
        "task": run.task.label(),
        "quick": run.task == crate::task::TaskKind::QuickCheck,
        "trigger": run.trigger.label(),
        "due_at": run.due_at.map(rfc3339),
        "started_at": rfc3339(run.started_at),
        "elapsed_seconds": run.elapsed.as_secs_f64(),
        "outcome": run.status.outcome(),
        "reason": run.status.reason(),
        "message": run.message,
        "details": run.details,
    })
}

/// Formats a run that was not started, or a failed restore, as JSON.
pub(super) fn stop_json(stop: &Stop) -> serde_json::Value {
    let status = RunStatus::from(stop.reason);
    serde_json::json!({
        "outcome": status.outcome(),
        "reason": status.reason(),
        "message": stop.message,
    })
}
