//! `litekeeper config`.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use clap::Subcommand;

use crate::app;
use crate::auth::AccessControl;
use crate::config::Config;
use crate::config::DirectoryReference;
use crate::config::WebSettings;
use crate::discovery::discover_once;
use crate::humanize::counted;
use crate::limits::QueryLimits;
use crate::sealed::sealed_problems;
use crate::tasks::ExpectedProblem;
use crate::tasks::directory_error;
use crate::tasks::expected_problems;

use super::escape::print_error;
use super::exit::Exit;
use super::output::print;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a configuration file and list all its errors
    ///
    /// Also warns of problems on this machine that do not make the file invalid: a directory that
    /// cannot store backups, and a task that would currently fail, be slow or keep expired rows.
    #[command(after_help = "Exit codes: 0 valid, 2 invalid.")]
    Check {
        /// The configuration file
        file: PathBuf,
    },
    /// Check a web configuration file (TLS and users) with the certificates and keys that it names
    #[command(name = "check-web", after_help = "Exit codes: 0 valid, 2 invalid.")]
    CheckWeb {
        /// The web configuration file
        file: PathBuf,
    },
    /// Print the effective configuration with all defaults; settings without a value are `null` or
    /// `off`
    #[command(after_help = "Exit codes: 0 printed, 2 invalid.")]
    Show {
        /// The configuration file
        file: PathBuf,
    },
}

pub(super) fn run(command: &Command) -> Exit {
    match command {
        Command::Check { file } => with_config(file, |config, directories| {
            warn_of_directories(directories);
            warn_of_tasks(config);
            let sources = config.sources.len();
            print(&format!(
                "{}: valid, {sources} entr{}\n",
                file.display(),
                if sources == 1 { "y" } else { "ies" }
            ))
        }),
        Command::CheckWeb { file } => check_web(file),
        Command::Show { file } => with_config(file, |config, _| print(&config.to_yaml())),
    }
}

/// Warns of directories that cannot store backups. The configuration is valid nevertheless, because
/// it may be used on another machine.
fn warn_of_directories(directories: &[DirectoryReference]) {
    for directory in directories {
        if let Some(problem) = directory_error(&directory.path) {
            let words = format!(
                "warning: on this machine every backup would fail: {}: {problem}",
                directory.path.display()
            );
            print_error!("{}", directory.with_message(words));
        }
    }
}

/// Warns of problems that the tasks would currently have.
fn warn_of_tasks(config: &Config) {
    /// Time limit for all databases together.
    const LIMIT: Duration = Duration::from_secs(30);
    let until = Instant::now() + LIMIT;
    let (databases, errors) = discover_once(config, &app::given_names(config));
    errors.iter().for_each(|error| print_error!("warning: {error}"));
    for (place, database) in databases.iter().enumerate() {
        if Instant::now() >= until {
            print_error!(
                "warning: the tasks of {} were not checked within {LIMIT:?}; use `litekeeper doctor` to check a single database",
                counted((databases.len() - place) as u64, "more database")
            );
            break;
        }
        let limits = QueryLimits::with_timeout(until.saturating_duration_since(Instant::now()));
        for problem in sealed_problems(database, &limits) {
            print_error!("warning: {}: sealed rows: {problem}", database.name);
        }
        match expected_problems(database, &limits) {
            Ok(found) => found.iter().for_each(|ExpectedProblem { task, kind, message }| {
                print_error!("warning: {}: {task} {}: {message}", database.name, kind.effect());
            }),
            Err(stop) => print_error!("warning: {}: its tasks were not checked: {stop}", database.name),
        }
    }
}

/// Loads the web configuration file and its certificates as the server does.
fn check_web(file: &Path) -> Exit {
    let settings = WebSettings { config_file: Some(file.to_owned()), ..WebSettings::default() };
    match AccessControl::open(&settings) {
        Ok(auth) => {
            let tls = if auth.has_tls() { "TLS" } else { "plain text" };
            let users = match auth.users() {
                0 => "no authentication".to_owned(),
                users => counted(users as u64, "user"),
            };
            print(&format!("{}: valid, {tls}, {users}\n", file.display()))
        }
        Err(errors) => {
            print_error!("{errors}");
            Exit::Usage
        }
    }
}

fn with_config(file: &Path, work: impl FnOnce(&Config, &[DirectoryReference]) -> Exit) -> Exit {
    match Config::load_with_directories(file) {
        Ok((config, directories)) => work(&config, &directories),
        Err(errors) => {
            print_error!("{errors}");
            Exit::Usage
        }
    }
}
