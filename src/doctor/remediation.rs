//! Commands that solve a problem, quoted for a shell, with sudo where another user is needed.

use std::path::Path;

use super::facts::Facts;
use super::shell_quote;

const ROOT: u32 = 0;

/// A command that only the owner of a file, or root, may run.
fn as_user(facts: &Facts, owner: Option<u32>, command: &str) -> String {
    let may = facts.user == ROOT || owner == Some(facts.user);
    if may { command.to_owned() } else { format!("sudo {command}") }
}

/// SQL on the database, as its owner: sidecars that somebody else makes could lock the owner out.
/// SQLite gives those that root makes to the owner by itself.
pub(super) fn sql(facts: &Facts, text: &str) -> String {
    let command = format!("sqlite3 {} {}", shell_quote::path(&facts.path), shell_quote::word(text));
    match facts.main {
        Some(main) if facts.user != ROOT && main.user != facts.user => {
            format!("sudo -u {} {command}", shell_quote::word(&format!("#{}", main.user)))
        }
        Some(_) | None => command,
    }
}

/// Gives a sidecar the owner and the mode of the main file.
pub(super) fn like_main(facts: &Facts, suffix: &str) -> String {
    let (main, sidecar) = (shell_quote::path(&facts.path), shell_quote::path(&facts.beside(suffix)));
    let sudo = if facts.user == ROOT { "" } else { "sudo " };
    format!("{sudo}chown --reference={main} {sidecar} && {sudo}chmod --reference={main} {sidecar}")
}

/// Changes the mode of a file.
pub(super) fn chmod(facts: &Facts, owner: u32, change: &str, path: &Path) -> String {
    as_user(facts, Some(owner), &format!("chmod {change} {}", shell_quote::path(path)))
}

/// A command that root alone may run.
pub(super) fn as_root(facts: &Facts, command: &str) -> String {
    as_user(facts, None, command)
}
