//! `litekeeper runbook`.

use clap::Args;

use crate::config::messages::closest;
use crate::runbooks::RUNBOOKS;
use crate::runbooks::find;
use crate::runbooks::meaning;

use super::escape::print_error;
use super::exit::Exit;
use super::output::print;

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 printed, 2 unknown alert.")]
pub(super) struct Arguments {
    /// Name of the alert; without it, all alerts are listed
    alert: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let Some(name) = &arguments.alert else {
        let width = RUNBOOKS.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let lines = RUNBOOKS.iter().map(|(name, text)| format!("{name:width$}  {}\n", meaning(text)));
        return print(&lines.collect::<String>());
    };
    if let Some(text) = find(name) {
        return print(text);
    }
    let hint = match closest(name, RUNBOOKS.iter().map(|(known, _)| *known)) {
        Some(guess) => format!("did you mean {guess}?"),
        None => "`litekeeper runbook` lists all alerts".to_owned(),
    };
    print_error!("litekeeper: unknown alert {name}; {hint}");
    Exit::Usage
}
