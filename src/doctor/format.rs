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

/// A WAL is large if it exceeds both this size and this fraction of the database.
const LARGE_WAL_BYTES: u64 = 64 * 1024 * 1024;
const LARGE_WAL_DIVISOR: u64 = 4;
/// SQLite's default since 3.12.0.
const USUAL_PAGE_BYTES: u64 = 4096;
const SMALLEST_PAGE_BYTES: u32 = 512;

/// Adds the findings of these rules.
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
    facts.companion("-wal").map_or(0, |wal| wal.size)
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
        "The file has {} bytes, but its {} of {} bytes have {} bytes.",
        count(actual),
        counted(u64::from(header.pages), "page"),
        header.page_size,
        count(expected)
    );
    if actual > expected {
        let finding = Finding::new(FindingKind::FileSizeMismatch, Severity::Info, what);
        return Some(finding.remediation(
            "If the application sets a chunk size (SQLITE_FCNTL_CHUNK_SIZE), as Firefox does, nothing needs to be done; otherwise \
             find out which program appended to the file.",
        ));
    }
    let finding = Finding::new(FindingKind::FileSizeMismatch, Severity::Critical, what);
    let finding = finding.remediation(
        "First copy all files of the database; then check it, and restore a backup if the check fails.",
    );
    Some(finding.command(format!("litekeeper check {}", shell_quote::path(&facts.path))))
}

fn damaged(facts: &Facts, words: &str) -> Finding {
    Finding::new(FindingKind::Damaged, Severity::Critical, format!("SQLite reports: {words}."))
        .remediation(
            "Copy all files of the database, then restore a backup. The sqlite3 shell's .recover writes the rows that can still be \
             read as SQL.",
        )
        .command(format!("sqlite3 {} .recover > recovered.sql", shell_quote::path(&facts.path)))
}

fn unreadable_schema(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    match inside.schema.as_ref().err()? {
        ReadFailure::Damaged(words) => Some(damaged(facts, words)),
        ReadFailure::HotJournal | ReadFailure::Denied(_) | ReadFailure::Other(_) => None,
    }
}

fn hot_journal(facts: &Facts) -> Finding {
    let what =
        "The last writer ended during a transaction, and its journal is not rolled back yet.".to_owned();
    Finding::new(FindingKind::HotJournal, Severity::Critical, what)
        .remediation(
            "Start the application, or open the database once with the command. Never delete the -journal, and always copy it together \
             with the main file.",
        )
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
        "Update SQLite in every program that opens the database to 3.51.3 or later (or to 3.50.7 or 3.44.6); until then, let only one \
         process write and checkpoint.",
    ))
}

fn rollback_journal(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    let local = facts.filesystem.as_ref().is_some_and(|filesystem| !filesystem.network);
    // A leftover WAL must be handled first.
    if inside.header.journal_mode != JournalMode::Rollback || !local || wal_bytes(facts) > 0 {
        return None;
    }
    let finding = Finding::new(
        FindingKind::RollbackJournal,
        Severity::Info,
        "The database is in rollback mode.".to_owned(),
    );
    let finding = finding.remediation(
        "WAL mode suits most applications whose processes run on one machine. The mode is stored in the file; from then on, -wal and \
         -shm are part of the database.",
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
        "The change from FULL to INCREMENTAL needs no VACUUM. Afterwards litekeeper's task vacuum can return free pages in small steps.",
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
    let what =
        format!("The page size is {page} bytes, but the block size of the file system is {block} bytes.");
    let finding = Finding::new(FindingKind::SmallPages, severity, what);
    let finding = finding.remediation(
        "A VACUUM changes the page size, but not in WAL mode. It blocks all writers, and no other process may have the database open.",
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
    // A WAL of another file has a finding of its own.
    if inside.header.journal_mode == JournalMode::Rollback {
        return Vec::new();
    }
    let mut found = Vec::new();
    if facts.companion("-shm").is_none() && facts.companion("-tshm").is_none() {
        let what = format!("There is a -wal of {} without a -shm.", bytes(size));
        found.push(
            Finding::new(FindingKind::AbandonedWal, Severity::Warning, what)
                .remediation(
                    "Start the application, or open the database once with the command: SQLite then recovers the WAL. Never delete a \
                     -wal, and always copy it together with the main file.",
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
    let what = format!("There is a -wal of {}, but the database is not in WAL mode.", bytes(size));
    let finding = Finding::new(FindingKind::StrayWal, Severity::Critical, what);
    let finding = finding.remediation(
        "Find out where the -wal comes from. If it belongs to an earlier state of the file, stop every program that uses the database \
         and move the -wal away. Do not delete it until you know that no data is missing.",
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
                "; {} of the WAL's {} frames are not yet checkpointed",
                count(u64::from(wal.total - wal.checkpointed)),
                count(u64::from(wal.total))
            ),
            "A reader that stays open, or a writer without pauses, prevents checkpoints from finishing: look for a transaction that \
             does not end.",
        ),
        Some(_) | None => (
            String::new(),
            "All frames are checkpointed, but the file does not shrink by itself. Set PRAGMA journal_size_limit in the application to \
             limit its size.",
        ),
    };
    let what = format!("The -wal has {} and the database {}{state}.", bytes(size), bytes(database));
    let finding = Finding::new(FindingKind::LargeWal, Severity::Warning, what).remediation(remediation);
    // A replicated database must not be checkpointed by others, and with the WAL-reset bug only a
    // passive checkpoint is safe.
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
            "Write to the database only through the application, or with a SQLite that has the checksum VFS loaded; the application must \
             vacuum and clean it. litekeeper's backups keep the checksums, and its full check verifies them.",
        ),
        OwnerFormat::Turso => (
            FindingKind::Turso,
            "Write to the database only through Turso: do not open it for writing with the sqlite3 shell or another SQLite program while \
             the application runs.",
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

/// Reports reserved bytes that are not checksums.
fn reserved_bytes(inside: &DatabaseFacts) -> Option<Finding> {
    let reserved = inside.header.reserved_bytes;
    if reserved == 0 || inside.owner_format.is_some() {
        return None;
    }
    let what = format!("Each page has {reserved} reserved bytes.");
    let finding = Finding::new(FindingKind::ReservedBytes, Severity::Info, what);
    Some(finding.remediation("Nothing needs to be done: SQLite does not change these bytes."))
}

fn replicated(facts: &Facts, inside: &DatabaseFacts) -> Option<Finding> {
    let program = inside.replicator.as_ref()?;
    let skipped = facts.configured.vacuum == Some(false);
    let severity = if skipped { Severity::Warning } else { Severity::Info };
    let consequence = if skipped { ", so that the configured vacuum is skipped" } else { "" };
    let what = format!("{program} replicates the database{consequence}.");
    let finding = Finding::new(FindingKind::Replicated, severity, what);
    Some(finding.remediation(
        "Leave checkpoints to the replicator. If a vacuum is worth a new snapshot, set `allow_replicated: on`.",
    ))
}
