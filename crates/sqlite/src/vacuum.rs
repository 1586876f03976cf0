//! Giving pages back: slices of an incremental vacuum, and the full VACUUM.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rusqlite::Connection;

use super::error::SqliteError;
use super::header::AutoVacuum;
use super::writer::Locked;
use super::writer::Writer;

impl Writer {
    /// Moves up to `pages` free pages to the end of the file and cuts them off.
    ///
    /// # Errors
    /// `Busy`, `Full`, `Corrupt` and so on; `DeadlineExceeded` when it took longer than `limit`.
    /// Nothing is changed then.
    pub fn incremental_vacuum(&mut self, pages: u32, limit: Duration) -> Result<Locked<()>, SqliteError> {
        let sql = format!("PRAGMA main.incremental_vacuum({pages})");
        self.transaction("incremental vacuum", limit, |connection| run_to_the_end(connection, &sql))
    }

    /// Rewrites the whole database without free pages, and with another kind of auto-vacuum if
    /// asked to.
    ///
    /// It holds the write lock all the time, and in rollback mode keeps readers out too. It ends
    /// early with the limits until it copies the result back, which SQLite cannot interrupt.
    ///
    /// # Errors
    /// `Busy` when somebody holds the lock; `Full` when a disk has not enough free space: nothing
    /// is changed then.
    pub fn vacuum(
        &mut self,
        convert: Option<AutoVacuum>,
        observe: impl FnMut(Duration) + Send + 'static,
    ) -> Result<Locked<()>, SqliteError> {
        let failed = self.failed("vacuum");
        if let Some(kind) = convert {
            let sql = format!("PRAGMA main.auto_vacuum = {}", kind.label());
            self.connection().execute_batch(&sql).map_err(&failed)?;
        }
        let begun = Instant::now();
        self.tell(begun, observe)?;
        let result = self.connection().execute_batch("VACUUM main");
        let hold = begun.elapsed();
        self.arm(None)?;
        result.map(|()| Locked { value: (), hold, commit: Duration::ZERO }).map_err(failed)
    }
}

/// Steps a pragma to its end: `incremental_vacuum` frees a page a step, and `execute` would take
/// one alone.
fn run_to_the_end(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(())?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Where SQLite puts its temporary files, such as the copy that a VACUUM makes: as
/// `unixTempFileDir` chooses.
#[must_use]
pub fn temporary_directory() -> PathBuf {
    let set = Connection::open_in_memory()
        .and_then(|connection| {
            connection.query_row("PRAGMA temp_store_directory", (), |row| row.get::<_, String>(0))
        })
        .ok()
        .map(PathBuf::from);
    let named = ["SQLITE_TMPDIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let usual = ["/var/tmp", "/usr/tmp", "/tmp", "."].into_iter().map(PathBuf::from);
    set.into_iter()
        .chain(named)
        .chain(usual)
        .find(|directory| directory.is_dir())
        .unwrap_or_else(|| PathBuf::from("."))
}

/// Has SQLite put its temporary files, such as the copy that a VACUUM makes, into a directory of
/// the user's choice, in the whole process. To be called before any connection is opened
/// (<https://www.sqlite.org/c3ref/temp_directory.html>).
///
/// # Errors
/// The directory cannot be written.
pub fn set_temporary_directory(directory: &Path) -> Result<(), rusqlite::Error> {
    let connection = Connection::open_in_memory()?;
    let text = directory.to_string_lossy().replace('\'', "''");
    connection.execute_batch(&format!("PRAGMA temp_store_directory = '{text}'"))
}
