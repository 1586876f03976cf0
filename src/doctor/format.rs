//! Rules on the file's format, the journal and the WAL.

use crate::humanize::bytes;
use crate::humanize::count;
use crate::humanize::counted;
use crate::sqlite::AutoVacuum;
use crate::sqlite::JournalMode;
use crate::sqlite::version_text;
use crate::tasks::OwnerFormat;
use crate::tasks::has_wal_reset_bug;

use super::facts::DatabaseFacts;
use super::facts::Facts;
use super::facts::ReadFailure;
use super::finding::Finding;
use super::remediation;
use super::rules::FindingKind;
use super::rules::Severity;
use super::shell_quote;

/// A WAL is large from here on, and from this part of the database.
const LARGE_WAL_BYTES: u64 = 64 * 1024 * 1024;
const LARGE_WAL_DIVISOR: u64 = 4;
/// SQLite's default since 3.12.0.
const USUAL_PAGE_BYTES: u64 = 4096;
const SMALLEST_PAGE_BYTES: u32 = 512;

/// What is wrong with the format and the journal.
pub(super) fn findings(facts: &Facts, found: &mut Vec<Finding>) {
    found.extend(stray_wal(facts));
    match &facts.inside {
        Ok(inside) => {
            found.extend(file_size(facts, inside));
            found.extend(unreadable_schema(facts, inside));
            found.extend(wal_reset_bug(facts, inside));
            found.extend(rollback_journal(facts, inside));
            found.extend(auto_vacuum_full(facts, inside));
            found.extend(small_pages(facts, inside));
            found.extend(wal(facts, inside));
            found.extend(replicated(facts, inside));
            found.extend(owner_format(facts, inside));
            found.extend(reserved_bytes(inside));
        }
        Err(ReadFailure::HotJournal) => found.push(hot_journal(facts)),
        Err(ReadFailure::Damaged(words)) => found.push(damaged(facts, words)),
        Err(ReadFailure::Denied(_) | ReadFailure::Other(_)) => {}
    }
}

fn wal_bytes(facts: &Facts) -> u64 {
    facts.sidecar("-wal").map_or(0, |wal| wal.size)
}

fn file_size(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    let header = &inside.header;
    let read_consistently = match header.journal_mode {
        JournalMode::Rollback => wal_bytes(facts) == 0,
        JournalMode::Wal => inside.wal.is_some_and(|wal| wal.total == 0),
    };
    let actual = inside.file_bytes.filter(|_| read_consistently)?;
    let expected = u64::from(header.pages) * u64::from(header.page_size);
    if actual == expected {
        return None;
    }
    let what = format!(
        "The file has {} bytes; its {} of {} bytes make {}.",
        count(actual),
        counted(u64::from(header.pages), "page"),
        header.page_size,
        count(expected)
    );
    if actual > expected {
        let finding = Finding::new(FindingKind::FileSizeMismatch, Severity::Info, what);
        return Some(finding.remediation(
            "Nothing needs to be done where the application sets a chunk size (SQLITE_FCNTL_CHUNK_SIZE), as Firefox does; else \
             find out what appended to the file.",
        ));
    }
    let finding = Finding::new(FindingKind::FileSizeMismatch, Severity::Critical, what);
    let finding = finding.remediation(
        "Keep a copy of all its files first; then have it checked, and restore a backup if that fails.",
    );
    Some(finding.command(format!("litekeeper check {}", shell_quote::path(&facts.path))))
}

fn damaged(facts: &Facts, words: &str) -> Finding {
    Finding::new(FindingKind::Damaged, Severity::Critical, format!("SQLite says: {words}."))
        .remediation("Keep a copy of all its files, and restore a backup. What can still be read, .recover writes as SQL.")
        .command(format!("sqlite3 {} .recover > recovered.sql", shell_quote::path(&facts.path)))
}

fn unreadable_schema(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    match inside.schema.as_ref().err()? {
        ReadFailure::Damaged(words) => Some(damaged(facts, words)),
        ReadFailure::HotJournal | ReadFailure::Denied(_) | ReadFailure::Other(_) => None,
    }
}

fn hot_journal(facts: &Facts) -> Finding {
    let what = "The last writer died in a transaction; its journal waits to be rolled back.".to_owned();
    Finding::new(FindingKind::HotJournal, Severity::Critical, what)
        .remediation("Start the application, or open the database once by the command. Never delete the -journal, and copy both files together.")
        .command(remediation::sql(facts, "PRAGMA schema_version;"))
}

fn wal_reset_bug(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    let header = &inside.header;
    if header.journal_mode != JournalMode::Wal {
        return None;
    }
    let mut said = Vec::new();
    if has_wal_reset_bug(header.writer_version) {
        said.push(format!("The last writer was SQLite {}.", version_text(header.writer_version)));
    }
    for mapped in facts.mapped.iter().filter(|mapped| has_wal_reset_bug(mapped.version)) {
        said.push(format!(
            "Process {} ({}) has SQLite {} ({}).",
            mapped.pid,
            mapped.process,
            version_text(mapped.version),
            mapped.library.display()
        ));
    }
    if said.is_empty() {
        return None;
    }
    let what = said.join(" ");
    let finding = Finding::new(FindingKind::WalResetBug, Severity::Warning, what);
    Some(finding.remediation(
        "Update the SQLite of every program that opens the database to 3.51.3 or later, or 3.50.7 or 3.44.6 of their branches; \
         until then let one process alone write and checkpoint.",
    ))
}

fn rollback_journal(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    let local = facts.filesystem.as_ref().is_some_and(|filesystem| !filesystem.network);
    // A WAL that is left over must be dealt with first.
    if inside.header.journal_mode != JournalMode::Rollback || !local || wal_bytes(facts) > 0 {
        return None;
    }
    let finding = Finding::new(
        FindingKind::RollbackJournal,
        Severity::Info,
        "The database is in rollback mode.".to_owned(),
    );
    let finding = finding.remediation(
        "WAL suits most applications whose processes are on one machine. It stays set in the file; -wal and -shm then belong to it.",
    );
    Some(finding.command(remediation::sql(facts, "PRAGMA journal_mode = WAL;")))
}

fn auto_vacuum_full(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    if inside.header.auto_vacuum != AutoVacuum::Full {
        return None;
    }
    let finding =
        Finding::new(FindingKind::AutoVacuumFull, Severity::Info, "auto_vacuum is FULL.".to_owned());
    let finding = finding.remediation(
        "From FULL to INCREMENTAL no VACUUM is needed; litekeeper's task vacuum then does it in slices.",
    );
    Some(finding.command(remediation::sql(facts, "PRAGMA auto_vacuum = INCREMENTAL;")))
}

fn small_pages(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    let (page, block) = (u64::from(inside.header.page_size), facts.mount?.block_bytes);
    if page >= block.min(USUAL_PAGE_BYTES) {
        return None;
    }
    let tiny = inside.header.page_size == SMALLEST_PAGE_BYTES;
    let severity = if tiny { Severity::Warning } else { Severity::Info };
    let what = format!("Its pages have {page} bytes, the blocks of the file system {block}.");
    let finding = Finding::new(FindingKind::SmallPages, severity, what);
    let finding = finding.remediation(
        "The page size changes by a VACUUM, outside of WAL mode alone; it keeps every writer waiting, and nobody else may have the \
         database open.",
    );
    let change = "PRAGMA page_size = 4096; VACUUM;";
    let text = match inside.header.journal_mode {
        JournalMode::Rollback => change.to_owned(),
        JournalMode::Wal => format!("PRAGMA journal_mode = DELETE; {change} PRAGMA journal_mode = WAL;"),
    };
    Some(finding.command(remediation::sql(facts, &text)))
}

fn wal(facts: &Facts, inside: &DatabaseFacts) -> Vec<Finding> {
    let size = wal_bytes(facts);
    if size == 0 {
        return Vec::new();
    }
    // A WAL that does not belong here is found for itself.
    if inside.header.journal_mode == JournalMode::Rollback {
        return Vec::new();
    }
    let mut found = Vec::new();
    if facts.sidecar("-shm").is_none() && facts.sidecar("-tshm").is_none() {
        let what = format!("There is a -wal of {}, and no -shm.", bytes(size));
        found.push(
            Finding::new(FindingKind::AbandonedWal, Severity::Warning, what)
                .remediation(
                    "Start the application, or open the database once by the command: SQLite takes the WAL over. Never delete a \
                     -wal, and copy it together with the main file.",
                )
                .command(remediation::sql(facts, "PRAGMA wal_checkpoint(TRUNCATE);")),
        );
    }
    found.extend(large_wal(facts, inside, size));
    found
}

fn stray_wal(facts: &Facts) -> Option<Finding> {
    let size = wal_bytes(facts);
    if facts.main_file_journal_mode != Some(JournalMode::Rollback) || size == 0 {
        return None;
    }
    let what = format!("There is a -wal of {}, and the database is not in WAL mode.", bytes(size));
    let finding = Finding::new(FindingKind::StrayWal, Severity::Critical, what);
    let finding = finding.remediation(
        "Find out where it comes from. If it belongs to another state of the database, stop every program that uses this one and \
         move the -wal away; keep it until all is known to be there.",
    );
    let (from, to) =
        (shell_quote::path(&facts.beside("-wal")), shell_quote::path(&facts.beside("-wal.aside")));
    Some(finding.command(remediation::as_root(facts, &format!("mv --no-clobber {from} {to}"))))
}

fn large_wal(facts: &Facts, inside: &DatabaseFacts, size: u64) -> Option<Finding> {
    let database = u64::from(inside.header.pages) * u64::from(inside.header.page_size);
    if size <= LARGE_WAL_BYTES || size <= database / LARGE_WAL_DIVISOR {
        return None;
    }
    let (state, remediation) = match inside.wal {
        Some(wal) if wal.checkpointed < wal.total => (
            format!(
                "; {} of its {} frames are not yet in the database",
                count(u64::from(wal.total - wal.checkpointed)),
                count(u64::from(wal.total))
            ),
            "A reader that stays open, or a writer that never pauses, keeps checkpoints from finishing: look for a transaction that \
             is not ended.",
        ),
        Some(_) | None => (
            String::new(),
            "All of it is in the database; the file keeps the size of its worst day. PRAGMA journal_size_limit in the application \
             bounds it.",
        ),
    };
    let what = format!("The -wal has {}, the database {}{state}.", bytes(size), bytes(database));
    let finding = Finding::new(FindingKind::LargeWal, Severity::Warning, what).remediation(remediation);
    // A checkpoint of ours is not for a database that is replicated, and only the mildest kind is
    // safe beside the bug.
    Some(match (&inside.replicator, wal_reset_bug(facts, inside).is_some()) {
        (Some(_), _) => finding,
        (None, true) => finding.command(remediation::sql(facts, "PRAGMA wal_checkpoint(PASSIVE);")),
        (None, false) => finding.command(remediation::sql(facts, "PRAGMA wal_checkpoint(TRUNCATE);")),
    })
}

fn owner_format(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    let format = inside.owner_format?;
    let (kind, remediation) = match format {
        OwnerFormat::PageChecksums { .. } => (
            FindingKind::PageChecksums,
            "Write it through the application alone, or with a SQLite that has the checksum VFS loaded; vacuum and cleaning are the \
             application's. Backups of litekeeper keep the checksums, and a full check compares them.",
        ),
        OwnerFormat::Turso => (
            FindingKind::Turso,
            "Write it through Turso alone; let no sqlite3 shell and no other SQLite open it for writing while the application runs.",
        ),
    };
    let severity = if facts.configured.writes_database { Severity::Warning } else { Severity::Info };
    let words =
        if facts.configured.writes_database { " The configured tasks that write are skipped." } else { "" };
    let mut what = format.describe().to_owned();
    if let Some(first) = what.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Some(Finding::new(kind, severity, format!("{what}.{words}")).remediation(remediation))
}

/// Reserved bytes that are no checksums.
fn reserved_bytes(inside: &DatabaseFacts) -> Option<Finding> {
    let reserved = inside.header.reserved_bytes;
    if reserved == 0 || inside.owner_format.is_some() {
        return None;
    }
    let what = format!("Each page has {reserved} reserved bytes.");
    let finding = Finding::new(FindingKind::ReservedBytes, Severity::Info, what);
    Some(finding.remediation("Nothing needs to be done: SQLite leaves these bytes as they are."))
}

fn replicated(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    let program = inside.replicator.as_ref()?;
    let skipped = facts.configured.vacuum == Some(false);
    let severity = if skipped { Severity::Warning } else { Severity::Info };
    let words = if skipped { ", and the configured vacuum is skipped for that" } else { "" };
    let what = format!("It is replicated by {program}{words}.");
    let finding = Finding::new(FindingKind::Replicated, severity, what);
    Some(finding.remediation(
        "Leave checkpoints to the replicator. A vacuum that is worth a new snapshot runs with `allow_replicated: on`.",
    ))
}
