//! `litekeeper sealed`.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::sealed::SealedTableReport;
use crate::sealed::compare_sealed;
use crate::sealed::sealed_directory;
use crate::worker_pool::run_blocking;

use super::common::ConfigFile;
use super::escape::one_line;
use super::escape::print_error;
use super::exit::Exit;
use super::output::print;
use super::progress::TerminalProgress;
use super::runtime::block_on;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper sealed --config litekeeper.yml
  litekeeper sealed --db books --json | jq '.databases[].tables[].findings'
  litekeeper sealed --db books --accept

--accept takes the rows as they are now: changed rows are sealed with their present content, and deleted and unsealed ones \
are not sealed any more. It is logged, and the store remembers when it happened. Look at the findings first.

Exit codes: 0 every row is as it was sealed, 1 rows were changed, deleted or unsealed, 2 usage or configuration error, 3 a \
table could not be compared. docs/SEALED.md explains the findings and the JSON.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of a database; may be repeated; the default is all databases that have sealed rows
    #[arg(long, value_name = "NAME")]
    db: Vec<String>,
    /// Accept what was changed, deleted or unsealed
    #[arg(long)]
    accept: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Document {
    format_version: u32,
    litekeeper_version: &'static str,
    databases: Vec<ComparedDatabase>,
}

/// The comparison of one database.
#[derive(Debug, Serialize)]
struct ComparedDatabase {
    database: String,
    path: String,
    tables: Vec<SealedTableReport>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let config = match arguments.config.load() {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let Some(state) = app::state_file(&config) else {
        print_error!(
            "litekeeper: the hashes of sealed rows are stored beside the state file, but there is none; set `state` to a file"
        );
        return Ok(Exit::Usage);
    };
    let databases = match arguments.config.open(&arguments.db)? {
        Ok(context) => context.databases,
        Err(exit) => return Ok(exit),
    };
    let databases: Vec<_> =
        databases.into_iter().filter(|database| !database.settings.sealed.is_empty()).collect();
    if databases.is_empty() {
        print_error!(
            "litekeeper: no selected database has sealed rows; add them to a database, as in `sealed: [{{table: vouchers, where: \
             closed = 1}}]`"
        );
        return Ok(Exit::Usage);
    }
    let databases = compare_all(databases, &sealed_directory(&state), arguments.accept)?;
    let exit = exit_of(&databases);
    let output = if arguments.json {
        let litekeeper_version = env!("CARGO_PKG_VERSION");
        let document = Document { format_version: 1, litekeeper_version, databases };
        serde_json::to_string_pretty(&document)? + "\n"
    } else {
        databases.iter().map(|compared| text_of(compared, arguments.accept)).collect()
    };
    Ok(if print(&output) == Exit::Success { exit } else { Exit::Failure })
}

fn compare_all(
    databases: Vec<Arc<Database>>,
    directory: &Path,
    accept: bool,
) -> anyhow::Result<Vec<ComparedDatabase>> {
    block_on(async {
        let cancel = CancellationToken::new();
        app::stop_on_signals(cancel.clone())?;
        let mut compared = Vec::new();
        for database in databases {
            let (work, directory) = (Arc::clone(&database), PathBuf::from(directory));
            let limits = QueryLimits { deadline: None, busy_timeout: Duration::ZERO, cancel: cancel.clone() };
            let progress = TerminalProgress::new();
            let observer = progress.clone();
            let tables = run_blocking(move || {
                compare_sealed(&work, &directory, &limits, accept, |share| {
                    crate::health_report::CheckProgress::done(&observer, share);
                })
            });
            let tables = tables.await;
            progress.clear();
            let Some(tables) = tables else { anyhow::bail!("{}: the comparison panicked", database.name) };
            compared.push(ComparedDatabase {
                database: database.name.to_string(),
                path: database.path.to_string_lossy().into_owned(),
                tables: tables?,
            });
        }
        Ok(compared)
    })
}

fn exit_of(databases: &[ComparedDatabase]) -> Exit {
    let mut tables = databases.iter().flat_map(|compared| &compared.tables);
    if tables.clone().any(|table| table.found.total() > 0) {
        Exit::Problems
    } else if tables.any(|table| table.problem.is_some()) {
        Exit::Failure
    } else {
        Exit::Success
    }
}

fn text_of(compared: &ComparedDatabase, accept: bool) -> String {
    let mut text = String::new();
    for table in &compared.tables {
        text.push_str(&one_line(&format!("{}: {}: {}", compared.database, table.table, table.summary())));
        text.push('\n');
        let mut line = |line: String| {
            text.push_str("  ");
            text.push_str(&one_line(&line));
            text.push('\n');
        };
        let accepted = if accept { "accepted: " } else { "" };
        table.findings.iter().map(|finding| format!("{accepted}{}", finding.line())).for_each(&mut line);
        let named = table.findings.len() as u64;
        if table.found.total() > named {
            line(format!("and {} more", table.found.total() - named));
        }
        table.notices.iter().map(|notice| format!("note: {notice}")).for_each(&mut line);
    }
    text
}
