//! Rules on the file system and on space.

use crate::humanize::bytes;
use crate::os::FilesystemFacts;
use crate::sqlite::AutoVacuum;
use crate::sqlite::JournalMode;
use crate::tasks::DirectoryError;

use super::facts::DatabaseFacts;
use super::facts::Facts;
use super::facts::LedgerDirectory;
use super::finding::Finding;
use super::remediation;
use super::rules::FindingKind;
use super::rules::Severity;
use super::shell_quote;

/// With less free space than this, larger transactions fail.
const FULL_BYTES: u64 = 16 * 1024 * 1024;
/// Free pages are reported if they exceed both limits.
const BLOATED_BYTES: u64 = 10 * 1024 * 1024;
const BLOATED_SHARE: f64 = 0.25;

/// Adds the findings of these rules.
pub(super) fn findings(facts: &Facts, found: &mut Vec<Finding>) {
    let inside = facts.inside.as_ref().ok();
    if let Some(filesystem) = &facts.filesystem {
        found.extend(network(inside, filesystem));
        found.extend(disk_full(facts, filesystem));
    }
    found.extend(read_only(facts));
    found.extend(backup_impossible(facts));
    found.extend(scrub_impossible(facts));
    found.extend(scrub_blind(facts));
    if let Some(inside) = inside {
        let bloated = bloated(facts, inside);
        found.extend(vacuum_lacks_space(facts, inside, bloated.is_some()));
        found.extend(bloated);
    }
}

fn network(inside: Option<&DatabaseFacts>, filesystem: &FilesystemFacts) -> Option<Finding> {
    if !filesystem.network {
        return None;
    }
    let mode = inside.map(|inside| inside.header.journal_mode);
    let (severity, words) = match mode {
        Some(JournalMode::Wal) => (Severity::Critical, ", and the database is in WAL mode"),
        Some(JournalMode::Rollback) | None => (Severity::Warning, ""),
    };
    let what = format!("The file system is {}{words}.", filesystem.fstype);
    let finding = Finding::new(FindingKind::NetworkFilesystem, severity, what);
    Some(finding.remediation(
        "Move the database to a local disk. If that is impossible, use it from one machine only, and in rollback mode.",
    ))
}

fn read_only(facts: &Facts) -> Option<Finding> {
    facts.mount.filter(|mount| mount.read_only)?;
    let directory = facts.path.parent().unwrap_or(&facts.path);
    let what = format!("The file system of {} is mounted read-only.", directory.display());
    let finding = Finding::new(FindingKind::ReadOnlyMount, Severity::Warning, what);
    let finding = finding.remediation(
        "If this is intended, ignore it. Otherwise look for a disk error in the kernel's log before you remount it writable.",
    );
    Some(finding.command(format!("findmnt --target {}", shell_quote::path(directory))))
}

fn disk_full(facts: &Facts, filesystem: &FilesystemFacts) -> Option<Finding> {
    // A file system without a size, as of some virtual ones, does not report its space.
    if filesystem.size_bytes == 0 || filesystem.available_bytes >= FULL_BYTES {
        return None;
    }
    if facts.mount.is_some_and(|mount| mount.read_only) {
        return None;
    }
    let what = format!(
        "{} of {} are free on the file system.",
        bytes(filesystem.available_bytes),
        bytes(filesystem.size_bytes)
    );
    let directory = facts.path.parent().unwrap_or(&facts.path);
    let finding = Finding::new(FindingKind::DiskFull, Severity::Critical, what);
    let finding = finding.remediation(
        "Delete or move files that do not belong to the database. Its -wal and -journal are part of it: never delete them.",
    );
    Some(finding.command(format!("du -xh --max-depth=1 {}", shell_quote::path(directory))))
}

fn bloated(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    let header = &inside.header;
    let free = u64::from(header.freelist_pages) * u64::from(header.page_size);
    let share = f64::from(header.freelist_pages) / f64::from(header.pages.max(1));
    if free < BLOATED_BYTES || share < BLOATED_SHARE {
        return None;
    }
    let what = format!("{} ({:.0} %) of the file are free pages.", bytes(free), share * 100.0);
    let finding = Finding::new(FindingKind::Bloated, Severity::Warning, what);
    if inside.replicator.is_some() {
        return Some(finding.remediation(
            "The database is replicated: after a vacuum the replicator transfers all of it again.",
        ));
    }
    Some(match header.auto_vacuum {
        AutoVacuum::Incremental => finding
            .remediation(
                "Run an incremental vacuum. litekeeper's task vacuum does so regularly, in steps that hold the write lock only briefly.",
            )
            .command(remediation::sql(facts, "PRAGMA incremental_vacuum;")),
        AutoVacuum::None | AutoVacuum::Full => finding
            .remediation(
                "A VACUUM blocks all writers until it ends. litekeeper's task vacuum runs it in a time window; with \
                 `convert_auto_vacuum: incremental`, later vacuums are incremental and hold the write lock only briefly.",
            )
            .command(remediation::sql(facts, "VACUUM;")),
    })
}

fn vacuum_lacks_space(facts: &Facts, inside: &DatabaseFacts, bloated: bool) -> Option<Finding> {
    if inside.header.auto_vacuum == AutoVacuum::Incremental {
        return None;
    }
    let short = inside.vacuum_needs.iter().find(|need| need.available_bytes < need.bytes)?;
    let wanted = bloated || facts.configured.vacuum.is_some();
    let severity = if wanted { Severity::Warning } else { Severity::Info };
    let what = format!(
        "A VACUUM needs {} in {} ({}), but {} are free.",
        bytes(short.bytes),
        short.directory,
        short.purpose,
        bytes(short.available_bytes)
    );
    let finding = Finding::new(FindingKind::NoRoomForVacuum, severity, what);
    Some(finding.remediation(
        "Free some space, or make SQLite use another disk for the copy: set SQLITE_TMPDIR, or temp_directory in litekeeper's configuration.",
    ))
}

fn scrub_impossible(facts: &Facts) -> Option<Finding> {
    let finding = |what| Finding::new(FindingKind::ScrubImpossible, Severity::Warning, what);
    match facts.configured.scrub.as_ref()? {
        LedgerDirectory::InMemory => Some(
            finding("A scrub is configured, and the state is in memory only.".to_owned())
                .remediation("Name a state file by `state` in the configuration."),
        ),
        LedgerDirectory::Path(_, None) => None,
        LedgerDirectory::Path(directory, Some(problem)) => {
            let finding =
                finding(format!("Scrubs keep their ledgers in {}: {problem}.", directory.display()));
            let command = format!("install -d -m 750 -o {} {}", facts.user, shell_quote::path(directory));
            Some(
                finding
                    .remediation("Make the directory writable, or name a state file in another directory.")
                    .command(remediation::as_root(facts, &command)),
            )
        }
    }
}

fn scrub_blind(facts: &Facts) -> Option<Finding> {
    facts.configured.scrub.as_ref()?;
    let filesystem = facts.filesystem.as_ref().filter(|filesystem| filesystem.network)?;
    let what = format!("A scrub is configured, and the file system is {}.", filesystem.fstype);
    let finding = Finding::new(FindingKind::ScrubBlind, Severity::Warning, what);
    Some(finding.remediation(
        "Run litekeeper on the machine that has the disk, or rely on the verified manifests of backups and write `scrub: off`.",
    ))
}

fn backup_impossible(facts: &Facts) -> Option<Finding> {
    let (directory, problem) = facts.configured.backup.as_ref()?;
    let problem = problem.as_ref()?;
    let what = format!("The backup directory {} cannot be used: {problem}.", directory.display());
    let finding = Finding::new(FindingKind::BackupImpossible, Severity::Warning, what);
    let path = shell_quote::path(directory);
    Some(match problem {
        DirectoryError::Missing => {
            let command = format!("install -d -m 750 -o {} {path}", facts.user);
            finding
                .remediation("If it is a mount point, mount the disk instead.")
                .command(remediation::as_root(facts, &command))
        }
        DirectoryError::NoDirectory(_) => finding
            .remediation("Change `to` of the task backup in the configuration to a directory.")
            .command(format!("ls -ld {path}")),
        DirectoryError::ReadOnly => finding.command(format!("findmnt --target {path}")),
        DirectoryError::Denied(_) => {
            let chown = remediation::as_root(facts, &format!("chown {} {path}", facts.user));
            let chmod = remediation::as_root(facts, &format!("chmod u+rwx {path}"));
            finding
                .remediation("Alternatively, configure a directory that belongs to litekeeper's user.")
                .command(format!("{chown} && {chmod}"))
        }
        // The usual cause is a parent directory without search permission.
        DirectoryError::Unknown(_) => {
            finding.command(remediation::as_root(facts, &format!("namei -l {path}")))
        }
    })
}
