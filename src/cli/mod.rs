//! The command-line interface: one file per subcommand.

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::Parser;
use clap::Subcommand;
mod check;
mod checked_file;
mod common;
mod config;
mod demo;
mod doctor;
mod dry_run;
mod escape;
mod exit;
mod healthcheck;
mod history;
mod locks;
mod log;
mod output;
mod pause;
mod progress;
mod restore;
mod run;
mod runbook;
mod runtime;
mod schedule;
mod scrub;
mod scrub_reasons;
mod sealed;
mod serve;

use crate::sqlite;

use escape::print_error;
use exit::Exit;
use log::Log;
use output::print;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} (revision {}, rustc {}, SQLite {})",
        env!("CARGO_PKG_VERSION"),
        env!("LITEKEEPER_REVISION"),
        env!("LITEKEEPER_RUSTC"),
        sqlite::sqlite_version()
    )
});

/// Monitors and maintains SQLite databases that other programs own.
///
/// Reads them without changing them, exports their health to Prometheus, and runs the maintenance
/// that the configuration defines: health checks, vacuum, log cleaning, backups, checkpoints,
/// statistics.
#[derive(Debug, Parser)]
#[command(
    name = "litekeeper",
    version = VERSION.as_str(),
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "\
Exit codes: 0 ok, 1 problems found, 2 usage or configuration error, 3 failed, 4 skipped. `litekeeper COMMAND --help` \
explains them for each command; a command that cannot write its output exits with 3."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: log::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Monitor databases and serve their metrics
    ///
    /// Each argument is a file, a directory (searched for *.db, *.sqlite, *.sqlite3 and *.db3) or a
    /// quoted pattern. The server listens on 127.0.0.1:10321 by default, with /metrics, the web
    /// page and /-/healthy.
    Serve(serve::Arguments),
    /// Check the health of databases once
    ///
    /// Reports size, pages, free space, journal mode, WAL, row counts, and the results of SQLite's
    /// integrity and foreign-key checks. Reads only. A check can briefly block commits to a database
    /// in rollback mode, and keeps a WAL from being reset: see docs/CHECK.md.
    Check(check::Arguments),
    /// Diagnose databases and their environment and suggest fixes
    ///
    /// Examines permissions, links, file system, journal and WAL, disk space, statistics and missing
    /// indexes. Reads only: it suggests a command for each problem, but never runs it.
    Doctor(doctor::Arguments),
    /// Show which processes hold locks on databases, and which keep a WAL from being checkpointed
    ///
    /// Lists the process, user and command line of every reader, writer and checkpointer, as found
    /// in /proc/locks (Linux). Takes a lock only to read the header, and never waits for one.
    Locks(locks::Arguments),
    /// Run one or all configured maintenance tasks now
    ///
    /// Runs them as the scheduler does, with the same settings and the same history. The agent may
    /// be running at the same time.
    Run(run::Arguments),
    /// Find damage that no check of SQLite detects, by comparing pages with their earlier hashes
    ///
    /// Reads every page from the disk and compares it with its hash of the last scrub, where nobody
    /// can have written it since. Reads only: docs/SCRUB.md.
    Scrub(scrub::Arguments),
    /// Restore a backup to a new file, or verify that backups can be restored
    ///
    /// Verifies the restored file after copying. Never overwrites a file.
    Restore(restore::Arguments),
    /// Compare sealed rows with their hashes, and seal those that are new
    ///
    /// Sealed rows are final, such as closed vouchers: `sealed` in the configuration says which. Finds
    /// rows that were changed, deleted or unsealed since the last comparison. Reads only, in short
    /// pieces.
    Sealed(sealed::Arguments),
    /// Show past maintenance runs and why each was skipped or failed
    History(history::Arguments),
    /// Show the next scheduled run of each task, in its time zone
    Schedule(schedule::Arguments),
    /// Pause maintenance: no task starts, and a running one stops at its next safe point
    Pause(pause::Arguments),
    /// Resume paused maintenance
    Resume(pause::Arguments),
    /// Check or show a configuration file
    #[command(subcommand)]
    Config(config::Command),
    /// Check that the local agent is running, for use as a container health check
    Healthcheck(healthcheck::Arguments),
    /// Monitor a set of demo databases: healthy, busy, bloated and damaged ones
    ///
    /// Creates the databases in a temporary directory, which is removed when the demo ends.
    Demo(demo::Arguments),
    /// Write to a demo database
    #[command(name = crate::demo::WRITER_COMMAND, hide = true)]
    DemoWriter {
        /// The database
        path: std::path::PathBuf,
        /// Pause between two inserts
        #[arg(long, default_value_t = 50)]
        pause_milliseconds: u64,
    },
    /// Make a demo database and have it open
    #[command(name = crate::demo::OWNER_COMMAND, hide = true)]
    DemoOwner {
        /// The database
        path: std::path::PathBuf,
    },
    /// Read a demo database in a long transaction
    #[command(name = crate::demo::READER_COMMAND, hide = true)]
    DemoReader {
        /// The database
        path: std::path::PathBuf,
    },
    /// Reads databases for scrubs
    #[command(name = crate::scrub::READER_COMMAND, hide = true)]
    ScrubReader,
    /// Print the reference of all metrics, as Markdown
    #[command(after_help = "Exit codes: 0 printed, 2 usage error.")]
    Metrics,
    /// Print what to do when an alert fires
    Runbook(runbook::Arguments),
    /// Print shell completions
    #[command(after_help = "\
For bash:  litekeeper completions bash > ~/.local/share/bash-completion/completions/litekeeper

Exit codes: 0 printed, 2 usage error.")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = match Log::new(&cli.log) {
        Ok(log) => log,
        Err(message) => {
            print_error!("litekeeper: {message}");
            return Exit::Usage.into();
        }
    };
    // SQLite must be initialised before another thread starts.
    if let Err(error) = sqlite::init() {
        print_error!("litekeeper: {error}");
        return Exit::Failure.into();
    }
    // Commands that export traces start the log once the exporter is set up.
    if !matches!(cli.command, Command::Serve(_) | Command::Run(_) | Command::Demo(_)) {
        log.begin(None);
    }
    let result = match cli.command {
        Command::Serve(arguments) => serve::run(arguments, &log),
        Command::Run(arguments) => run::run(arguments, &log),
        Command::Demo(arguments) => demo::run(arguments, &log),
        Command::Check(arguments) => check::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Locks(arguments) => locks::run(arguments),
        Command::Scrub(arguments) => scrub::run(arguments),
        Command::ScrubReader => read_for_scrubs(),
        Command::Restore(arguments) => restore::run(arguments),
        Command::Sealed(arguments) => sealed::run(arguments),
        Command::History(arguments) => history::run(&arguments),
        Command::Schedule(arguments) => schedule::run(&arguments),
        Command::Pause(arguments) => pause::run(&arguments, true),
        Command::Resume(arguments) => pause::run(&arguments, false),
        Command::Config(command) => Ok(config::run(&command)),
        Command::Healthcheck(arguments) => healthcheck::run(arguments),
        Command::DemoWriter { path, pause_milliseconds } => {
            let pause = std::time::Duration::from_millis(pause_milliseconds);
            crate::demo::write_until_input_ends(&path, pause).map(|()| Exit::Success)
        }
        Command::DemoOwner { path } => crate::demo::own_until_input_ends(&path).map(|()| Exit::Success),
        Command::DemoReader { path } => crate::demo::read_until_input_ends(&path).map(|()| Exit::Success),
        Command::Metrics => Ok(print(&crate::metrics::reference())),
        Command::Runbook(arguments) => Ok(runbook::run(&arguments)),
        Command::Completions { shell } => Ok(completions(shell)),
    };
    let exit = result.unwrap_or_else(|error| {
        print_error!("litekeeper: {error:#}");
        Exit::Failure
    });
    exit.into()
}

/// Serves scrubs until its input ends.
fn read_for_scrubs() -> anyhow::Result<Exit> {
    sqlite::set_idle_io_priority();
    crate::scrub::serve(std::io::stdin(), &mut std::io::stdout().lock())?;
    Ok(Exit::Success)
}

fn completions(shell: clap_complete::Shell) -> Exit {
    use clap::CommandFactory as _;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "litekeeper", &mut script);
    print(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use clap::CommandFactory as _;

    use super::*;

    /// All leaf commands that `--help` lists.
    fn commands(parent: &Command) -> Vec<Command> {
        let shown = parent.get_subcommands().filter(|command| !command.is_hide_set());
        let below =
            shown.flat_map(
                |command| {
                    if command.has_subcommands() { commands(command) } else { vec![command.clone()] }
                },
            );
        below.collect()
    }

    #[test]
    fn every_command_documents_its_exit_codes() {
        let all = commands(&Cli::command());
        assert!(all.len() > 15, "{all:#?}");
        for mut command in all.into_iter().chain([Cli::command()]) {
            let help = command.render_long_help().to_string();
            let codes = help.split("\nExit codes: 0 ").nth(1).unwrap_or_default();
            // Each exits with 2 on a usage error.
            assert!(codes.contains(" 2 "), "{}:\n{help}", command.get_name());
        }
    }
}
