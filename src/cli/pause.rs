//! `litekeeper pause` and `litekeeper resume`.

use std::time::SystemTime;

use clap::Args;

use super::common::CliContext;
use super::common::ConfigFile;
use super::escape::print_error;
use super::exit::Exit;
use super::output::print;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, 2 usage or configuration error, 3 the state file could not be written."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of a database; may be repeated; the default is all databases
    #[arg(long, value_name = "NAME")]
    db: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, pause: bool) -> anyhow::Result<Exit> {
    let CliContext { executor, .. } = match arguments.config.open(&arguments.db)? {
        Ok(context) => context,
        Err(exit) => return Ok(exit),
    };
    let history = &executor.state_store;
    let mut names: Vec<Option<&str>> = arguments.db.iter().map(|name| Some(name.as_str())).collect();
    if names.is_empty() {
        names.push(None);
    }
    for name in names {
        let what = name.unwrap_or("all maintenance");
        if pause {
            history.pause(name, SystemTime::now())?;
            print(&format!("{what} is paused; a running agent applies this within seconds\n"));
        } else {
            history.resume(name)?;
            let still = history.pauses()?.0;
            let note = if still {
                ", but all maintenance is still paused; run `litekeeper resume` without --db"
            } else {
                ""
            };
            print(&format!("{what} is resumed{note}\n"));
        }
    }
    if let Some(file) = executor.pause_file.filter(|file| !pause && file.exists()) {
        print_error!(
            "litekeeper: all maintenance is still paused, because the pause file {} exists; remove it",
            file.display()
        );
    }
    Ok(Exit::Success)
}
