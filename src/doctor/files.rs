//! Rules on files: owners, permissions and names.

use crate::os::Ownership;

use super::facts::Facts;
use super::finding::Finding;
use super::remediation;
use super::rules::FindingKind;
use super::rules::Severity;
use super::shell_quote;

const ROOT: u32 = 0;
const READ: u32 = 0o4;
const WRITE: u32 = 0o2;
const SEARCH: u32 = 0o1;
const STICKY: u32 = 0o1000;

/// Whether owner, group and mode of `file` permit access to the owner of the main file. The owner
/// is assumed to be a member of the main file's group.
fn owner_may(main: &Ownership, file: &Ownership, bits: u32) -> bool {
    let allows = |shift: u32| file.mode >> shift & bits == bits;
    if main.user == ROOT {
        true
    } else if file.user == main.user {
        allows(6)
    } else {
        allows(0) || file.group == main.group && allows(3)
    }
}

/// Adds the findings of these rules.
pub(super) fn findings(facts: &Facts, found: &mut Vec<Finding>) {
    let Some(main) = facts.main else { return };
    found.extend(agent_cannot_read(facts, &main));
    found.extend(
        facts.companions.iter().filter_map(|(suffix, file)| owner_locked_out(facts, &main, suffix, file)),
    );
    found.extend(owner_cannot_write(facts, &main));
    world_writable(facts, &main, found);
    found.extend(agent_cannot_maintain(facts));
    found.extend(hard_links(facts, &main));
    found.extend(mounted_alone(facts));
    found.extend(symlink(facts));
}

fn agent_cannot_read(facts: &Facts, main: &Ownership) -> Option<Finding> {
    let (what, error) = facts.read_denied.as_ref()?;
    let message = format!("User {} may not read the {what}: {error}.", facts.user);
    let finding = Finding::new(FindingKind::AgentCannotRead, Severity::Critical, message);
    let suffix = match *what {
        "-wal file" => "-wal",
        "-shm file" => "-shm",
        _ => "",
    };
    let owner = facts.companion(suffix).map_or(main.user, |file| file.user);
    let finding = finding.remediation(
        "Run litekeeper as the owner of the file, or make the file readable for its group and add litekeeper's user to that group.",
    );
    Some(finding.command(remediation::chmod(facts, owner, "g+r", &facts.beside(suffix))))
}

fn owner_locked_out(facts: &Facts, main: &Ownership, suffix: &str, file: &Ownership) -> Option<Finding> {
    if owner_may(main, file, READ | WRITE) || !owner_may(main, main, READ | WRITE) {
        return None;
    }
    let what = format!(
        "The {suffix} file belongs to user {} and has mode {:04o}: user {}, who owns the database, cannot read and write it.",
        file.user, file.mode, main.user
    );
    let finding = Finding::new(FindingKind::OwnerLockedOut, Severity::Critical, what);
    Some(finding.command(remediation::like_main(facts, suffix)))
}

fn owner_cannot_write(facts: &Facts, main: &Ownership) -> Option<Finding> {
    let finding = |what: String| Finding::new(FindingKind::OwnerCannotWrite, Severity::Warning, what);
    if !owner_may(main, main, READ | WRITE) {
        let what =
            format!("User {}, who owns the main file, may not write it (mode {:04o}).", main.user, main.mode);
        let finding = finding(what).remediation("If the database is intended to be read-only, ignore this.");
        return Some(finding.command(remediation::chmod(facts, main.user, "u+rw", &facts.path)));
    }
    let directory = facts.directory?;
    if owner_may(main, &directory, WRITE | SEARCH) {
        return None;
    }
    let path = facts.path.parent().unwrap_or(&facts.path);
    let what = format!(
        "User {}, who owns the database, may not create files in its directory (owner {}, mode {:04o}).",
        main.user, directory.user, directory.mode
    );
    let command = remediation::as_root(facts, &format!("chown {} {}", main.user, shell_quote::path(path)));
    Some(finding(what).command(command))
}

fn world_writable(facts: &Facts, main: &Ownership, found: &mut Vec<Finding>) {
    let is_world_writable = |file: &Ownership| file.mode & WRITE != 0;
    let files =
        std::iter::once(("", main)).chain(facts.companions.iter().map(|(suffix, file)| (*suffix, file)));
    let open: Vec<_> = files.filter(|(_, file)| is_world_writable(file)).collect();
    if let Some((_, first)) = open.first() {
        let names: Vec<&str> =
            open.iter().map(|(suffix, _)| if suffix.is_empty() { "main" } else { suffix }).collect();
        let paths: Vec<String> =
            open.iter().map(|(suffix, _)| shell_quote::path(&facts.beside(suffix))).collect();
        let what = format!("All users may write the {} file.", names.join(" and the "));
        let command = format!("chmod o-w {}", paths.join(" "));
        let command = if first.user == facts.user { command } else { remediation::as_root(facts, &command) };
        found.push(Finding::new(FindingKind::WorldWritable, Severity::Warning, what).command(command));
    }
    if let Some(directory) =
        facts.directory.filter(|directory| is_world_writable(directory) && directory.mode & STICKY == 0)
    {
        let path = facts.path.parent().unwrap_or(&facts.path);
        let what = format!(
            "All users may create, rename and delete files in the directory (mode {:04o}).",
            directory.mode
        );
        let command = remediation::chmod(facts, directory.user, "o-w", path);
        found.push(Finding::new(FindingKind::WorldWritable, Severity::Warning, what).command(command));
    }
}

fn agent_cannot_maintain(facts: &Facts) -> Option<Finding> {
    let what = match facts.write_denied {
        Some(what) => format!("User {} may not write the {what}.", facts.user),
        None => {
            let failure = facts.companion_obstacle?;
            format!("User {} may write the database, but {}.", facts.user, failure.words())
        }
    };
    // A read-only mount has a finding of its own.
    if facts.mount.is_some_and(|mount| mount.read_only) || facts.read_denied.is_some() {
        return None;
    }
    let severity = if facts.configured.writes { Severity::Warning } else { Severity::Info };
    let finding = Finding::new(FindingKind::AgentCannotMaintain, severity, what);
    Some(finding.remediation(
        "Run litekeeper as root or as the database's owner, or add its user to the group of file and directory and give the group \
         write access (g+rw). If litekeeper only monitors the database, nothing needs to be done.",
    ))
}

fn hard_links(facts: &Facts, main: &Ownership) -> Option<Finding> {
    if main.links < 2 {
        return None;
    }
    let what = format!("The file has {} names (hard links).", main.links);
    let finding = Finding::new(FindingKind::HardLinks, Severity::Critical, what);
    let finding = finding.remediation(
        "Find the other names, which may be anywhere on this file system, and remove all except the one that the programs use. To \
         copy a database, use .backup of the sqlite3 shell or VACUUM INTO instead of a link.",
    );
    let directory = facts.path.parent().unwrap_or(&facts.path);
    let command =
        format!("find {} -xdev -samefile {}", shell_quote::path(directory), shell_quote::path(&facts.path));
    Some(finding.command(command))
}

fn mounted_alone(facts: &Facts) -> Option<Finding> {
    if !facts.mounted_alone {
        return None;
    }
    let what = "The file is mounted without its directory: its -wal, -shm and -journal are not visible here."
        .to_owned();
    let finding = Finding::new(FindingKind::MountedAlone, Severity::Critical, what);
    Some(finding.remediation("Mount the directory of the database instead of the file."))
}

fn symlink(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref()?;
    let what = format!("{} is a symbolic link to {}.", link.display(), facts.path.display());
    let finding = Finding::new(FindingKind::Symlink, Severity::Info, what);
    Some(finding.remediation("Apply backups and permissions to the directory of the target."))
}
