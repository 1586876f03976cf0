//! The command line: one file a subcommand.

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::Parser;
use clap::Subcommand;
mod check;
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

/// Keeps watch over SQLite databases that other programs own.
///
/// It reads them without leaving a trace, serves their health to Prometheus, and maintains those for which the
/// configuration asks for it: health checks, vacuum, log cleaning, backups, checkpoints, statistics.
#[derive(Debug, Parser)]
#[command(
    name = "litekeeper",
    version = VERSION.as_str(),
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "\
Exit codes: 0 ok, 1 problems found, 2 usage or configuration, 3 failed, 4 not allowed now. `litekeeper COMMAND --help` says what \
they mean for the command, and a command that could not write its output ends with 3."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: log::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch databases and serve their metrics
    ///
    /// What is named on the command line is a file, a directory (searched for *.db, *.sqlite, *.sqlite3 and *.db3) or
    /// a quoted pattern. /metrics, the page and /-/healthy are at 127.0.0.1:10321 unless another address is given.
    Serve(serve::Arguments),
    /// Report on the health of databases, once
    ///
    /// Size, pages, free space, journal mode, WAL, row counts, and the verdict of SQLite's integrity and foreign-key
    /// checks. It reads only. While a check runs, a writer of a database in rollback mode waits with its commit, and
    /// the WAL of one in WAL mode cannot start anew.
    Check(check::Arguments),
    /// Say what is wrong around databases, why it matters, and what mends it
    ///
    /// Permissions, links, file system, journal and WAL, space, statistics, indexes that are missed. It reads only, and
    /// mends nothing itself: each finding comes with the command to copy.
    Doctor(doctor::Arguments),
    /// Show who holds which lock on databases, and who keeps a WAL from being checkpointed
    ///
    /// Process, user and command line of every reader, writer and checkpointer, from /proc/locks (Linux). No lock is
    /// taken for it but for reading the header, and none is waited for.
    Locks(locks::Arguments),
    /// Do maintenance now: one task of those that are configured, or all of them
    ///
    /// What the configuration names for each database, by the same code and with the same record as a scheduled run,
    /// also while the agent serves.
    Run(run::Arguments),
    /// Restore a backup under a new name, or prove that backups can be restored
    ///
    /// A backup is checked before and after, and nothing is ever overwritten.
    Restore(restore::Arguments),
    /// Show the last runs of maintenance, and why each was skipped or failed
    History(history::Arguments),
    /// Show what runs next, when, and in which time zone
    Schedule(schedule::Arguments),
    /// Pause maintenance: no job starts, and one that runs ends at its next safe point
    Pause(pause::Arguments),
    /// End a pause
    Resume(pause::Arguments),
    /// Check or show a configuration file
    #[command(subcommand)]
    Config(config::Command),
    /// Ask whether the agent that serves here is alive, as a container's health check does
    Healthcheck(healthcheck::Arguments),
    /// Watch a set of demo databases: healthy, busy, bloated and damaged ones
    ///
    /// They are made in a directory of their own, which is removed at the end.
    Demo(demo::Arguments),
    /// The program that writes to one of the demo's databases
    #[command(name = crate::demo::WRITER_COMMAND, hide = true)]
    DemoWriter {
        /// The database
        path: std::path::PathBuf,
        /// Pause between two rows
        #[arg(long, default_value_t = 50)]
        pause_milliseconds: u64,
    },
    /// The program that reads one of the demo's databases for minutes
    #[command(name = crate::demo::READER_COMMAND, hide = true)]
    DemoReader {
        /// The database
        path: std::path::PathBuf,
    },
    /// Print the reference of all metrics, as Markdown
    #[command(after_help = "Exit codes: 0 printed, 2 usage.")]
    Metrics,
    /// Print what to do when an alert fires
    Runbook(runbook::Arguments),
    /// Print the completions for a shell
    #[command(after_help = "\
For bash:  litekeeper completions bash > ~/.local/share/bash-completion/completions/litekeeper

Exit codes: 0 printed, 2 usage.")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = match Log::new(&cli.log) {
        Ok(log) => log,
        Err(message) => {
            print_error!("litekeeper: {message}");
            return Exit::Usage.into();
        }
    };
    // First of all, while there is one thread.
    if let Err(error) = sqlite::init() {
        print_error!("litekeeper: {error}");
        return Exit::Failure.into();
    }
    // A command that has traces begins the log when it knows where these go.
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
        Command::Restore(arguments) => restore::run(arguments),
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

    /// Every command that a user can give, with its name.
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
    fn every_command_says_how_it_can_end() {
        let all = commands(&Cli::command());
        assert!(all.len() > 15, "{all:#?}");
        for mut command in all.into_iter().chain([Cli::command()]) {
            let help = command.render_long_help().to_string();
            let codes = help.split("\nExit codes: 0 ").nth(1).unwrap_or_default();
            // A wrong argument ends each with 2.
            assert!(codes.contains(" 2 "), "{}:\n{help}", command.get_name());
        }
    }
}
