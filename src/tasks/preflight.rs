//! Checks whether a task may write to a database that other processes use.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::database::Database;
use crate::database_files::DatabaseFiles;
use crate::os::FileKind;
use crate::os::Loss;
use crate::os::LostLocks;
use crate::os::MountTable;
use crate::os::companion_obstacle;
use crate::os::filesystem_facts;
use crate::os::lock_holders;
use crate::os::lost_locks;
use crate::os::mapped_sqlite;
use crate::os::may_be_open_elsewhere;
use crate::os::stat;
use crate::os::write_denied;
use crate::sqlite::JournalMode;
use crate::sqlite::SqliteError;
use crate::sqlite::Writer;
use crate::tasks::access::Access;

use crate::tasks::context::TaskContext;
use crate::tasks::reason::FailureReason;
use crate::tasks::reason::SkipReason;
use crate::tasks::space::directory_of;
use crate::tasks::space::filesystem;
use crate::tasks::stop::Stop;

/// Checks whether a task may write to the database at all.
///
/// # Errors
/// The reason why the run is skipped or fails.
pub(super) fn check_writable(
    database: &Database,
    journal_mode: JournalMode,
    allow_network_filesystem: bool,
) -> Result<(), Stop> {
    let directory = directory_of(&database.path);
    if let Some((what, error)) = write_denied(&database.files, &directory) {
        let detail = format!("litekeeper may not write the {what}: {error}");
        return Err(Stop::skipped(SkipReason::ReadOnly, detail));
    }
    let obstacle = companion_obstacle(&database.files.main, &directory)
        .map_err(|error| Stop::failed(FailureReason::Io, format!("stat: {error}")))?;
    if let Some(obstacle) = obstacle {
        return Err(Stop::skipped(SkipReason::ReadOnly, obstacle.words()));
    }
    let facts = filesystem(&directory)?;
    if facts.network && journal_mode == JournalMode::Wal && !allow_network_filesystem {
        let message = format!(
            "the database is in WAL mode on {}, a network or virtual file system, where SQLite's locks do not protect it from \
             other machines; if only this machine uses it, set `allow_network_filesystem: on` in the task",
            facts.fstype
        );
        return Err(Stop::failed(FailureReason::Config, message));
    }
    Ok(())
}

/// Skips a task that could lose commits of a process that has lost its locks on the database. A
/// backup, which only reads, is skipped only if the process writes to a deleted file, whose content
/// the copy would lack.
///
/// # Errors
/// The reason why the run is skipped or fails.
pub(super) fn check_locks(access: Access, database: &Database) -> Result<(), Stop> {
    if access == Access::Reads {
        return Ok(());
    }
    let lost = lost_locks(&database.files);
    let stops = |one: &&LostLocks| access == Access::Writes || one.writes_to_deleted_file();
    let Some(first) = lost.iter().find(stops) else { return Ok(()) };
    let rescue = match first.loss {
        Loss::Locks => {
            "the next program that closes the database may delete the -wal that the process uses; back the database up now, then \
             restart that process"
        }
        Loss::Name(..) => {
            "what it commits is lost when it ends; before you stop it, save that content as described by `litekeeper runbook \
             SqliteOwnerLostLocks`"
        }
    };
    Err(Stop::skipped(SkipReason::OwnerLostLocks, format!("{first}; {rescue}")))
}

/// Opens a database for writing. When it is closed, SQLite removes the companion files only if
/// nobody else can have it open.
///
/// # Errors
/// Those of [`Writer::open`].
pub(super) fn open_writer(context: &TaskContext<'_>, lock_timeout: Duration) -> Result<Writer, SqliteError> {
    let path = &context.database.path;
    let is_alone = |path: &Path| !may_be_open_elsewhere(&DatabaseFiles::of(path));
    Ok(Writer::open(path, lock_timeout, context.limits)?.checkpoint_on_close_if(is_alone))
}

/// Detects the program that replicates a database. After a vacuum or a checkpoint by another
/// process, it would transfer the whole database again.
///
/// Litestream keeps its state in `.NAME-litestream` beside the database and, in older versions, in
/// tables of its own (<https://litestream.io/how-it-works/>); LiteFS is a FUSE file system.
#[must_use]
pub fn replicator(database: &Database, tables: &[String]) -> Option<String> {
    const TABLES: [&str; 2] = ["_litestream_seq", "_litestream_lock"];
    if let Some(table) = tables.iter().find(|table| TABLES.contains(&table.as_str())) {
        return Some(format!("Litestream (it has the table {table})"));
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(database.path.file_name()?);
    name.push("-litestream");
    let mark = database.path.with_file_name(name);
    let mark = CString::new(mark.as_os_str().as_bytes()).ok()?;
    if stat(&mark).ok().flatten().is_some_and(|found| found.kind == FileKind::Directory) {
        return Some(format!("Litestream (it has the directory {})", mark.to_string_lossy()));
    }
    let facts = filesystem_facts(&directory_of(&database.path), &MountTable::read()).ok()?;
    facts.fstype.contains("litefs").then(|| "LiteFS (the database is on its file system)".to_owned())
}

/// The version of SQLite that determines whether the WAL-reset bug can occur: a version with the bug
/// in a process that has the database open, which may checkpoint next, or else that of the last
/// writer.
pub(super) fn checkpointer_version(files: &DatabaseFiles, writer: u32) -> u32 {
    if has_wal_reset_bug(writer) {
        return writer;
    }
    let mapped = mapped_sqlite(&lock_holders(files));
    mapped.into_iter().map(|one| one.version).find(|version| has_wal_reset_bug(*version)).unwrap_or(writer)
}

/// Whether a SQLite version has the bug by which a WAL can be reset while another process
/// checkpoints it: 3.7.0 to 3.51.2, but for the versions with the fix
/// (<https://www.sqlite.org/wal.html#walresetbug>).
#[must_use]
pub fn has_wal_reset_bug(version: u32) -> bool {
    const FIRST: u32 = 3_007_000;
    const FIXED: u32 = 3_051_003;
    // 3.44.6 and 3.50.7 carry the fix too, each up to the end of its branch.
    let patched = (3_044_006..3_045_000).contains(&version) || (3_050_007..3_051_000).contains(&version);
    (FIRST..FIXED).contains(&version) && !patched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_with_the_bug_are_known() {
        for (version, bug) in [
            (3_006_023, false),
            (3_007_000, true),
            (3_044_005, true),
            (3_044_006, false),
            (3_045_000, true),
            (3_050_006, true),
            (3_050_007, false),
            (3_051_000, true),
            (3_051_002, true),
            (3_051_003, false),
            (3_054_001, false),
        ] {
            assert_eq!(has_wal_reset_bug(version), bug, "{version}");
        }
    }
}
