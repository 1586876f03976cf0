//! `litekeeper config`.

use std::path::Path;
use std::path::PathBuf;

use clap::Subcommand;

use crate::config::Config;

use super::Exit;
use super::print;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a configuration file and name all its errors
    #[command(after_help = "Exit codes: 0 valid, 2 not valid.")]
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the effective configuration, every default filled in
    Show {
        /// The file
        file: PathBuf,
    },
}

pub(super) fn run(command: &Command) -> Exit {
    match command {
        Command::Check { file } => with_config(file, |config| {
            let sources = config.sources.len();
            print(&format!(
                "{}: valid, {sources} entr{}\n",
                file.display(),
                if sources == 1 { "y" } else { "ies" }
            ))
        }),
        Command::Show { file } => with_config(file, |config| print(&config.to_yaml())),
    }
}

fn with_config(file: &Path, work: impl FnOnce(&Config) -> Exit) -> Exit {
    match Config::load(file) {
        Ok(config) => work(&config),
        Err(errors) => {
            eprintln!("{errors}");
            Exit::Usage
        }
    }
}
