//! Shell commands that solve a problem, quoted, with sudo if another user must run them.

use std::path::Path;

use super::facts::Facts;
use super::shell_quote;

const ROOT: u32 = 0;

/// Prefixes a command with sudo unless this user is `owner` or root.
fn as_user(facts: &Facts, owner: Option<u32>, command: &str) -> String {
    let may = facts.user == ROOT || owner == Some(facts.user);
    if may { command.to_owned() } else { format!("sudo {command}") }
}

/// Builds a command that runs SQL as the owner of the database: the owner may be unable to use a
/// `-wal` or `-shm` that another user creates. SQLite changes the owner of such files if root
/// creates them.
pub(super) fn sql(facts: &Facts, text: &str) -> String {
    let command = format!("sqlite3 {} {}", shell_quote::path(&facts.path), shell_quote::word(text));
    match facts.main {
        Some(main) if facts.user != ROOT && main.user != facts.user => {
            format!("sudo -u {} {command}", shell_quote::word(&format!("#{}", main.user)))
        }
        Some(_) | None => command,
    }
}

/// Builds a command that gives a file beside the database the owner and mode of the main file.
pub(super) fn like_main(facts: &Facts, suffix: &str) -> String {
    let (main, companion) = (shell_quote::path(&facts.path), shell_quote::path(&facts.beside(suffix)));
    let sudo = if facts.user == ROOT { "" } else { "sudo " };
    format!("{sudo}chown --reference={main} {companion} && {sudo}chmod --reference={main} {companion}")
}

/// Builds a command that changes the mode of a file.
pub(super) fn chmod(facts: &Facts, owner: u32, change: &str, path: &Path) -> String {
    as_user(facts, Some(owner), &format!("chmod {change} {}", shell_quote::path(path)))
}

/// Prefixes a command that only root may run with sudo.
pub(super) fn as_root(facts: &Facts, command: &str) -> String {
    as_user(facts, None, command)
}
