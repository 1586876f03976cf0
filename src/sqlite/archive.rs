//! A SQLite file that takes rows before they are deleted.

use std::path::Path;
use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use crate::budget::Budget;

use super::error::SqliteError;
use super::reader::uri_of;
use super::shape::TableShape;
use super::tables::quoted;
use super::walk::Cursor;
use super::walk::Walk;

/// Rows of one table of one run. The file comes with the first row.
pub struct Archive {
    path: PathBuf,
    table: String,
    create: String,
    insert: String,
    connection: Option<Connection>,
    rows: u64,
    /// Rows of the last batch, which go again when the batch is rolled back.
    last: u64,
}

impl Archive {
    /// An archive for rows of a table, with columns of the same names and types, and without constraints:
    /// what the application could store must fit.
    #[must_use]
    pub fn new(path: &Path, shape: &TableShape) -> Self {
        let columns: Vec<String> = shape
            .columns
            .iter()
            .map(|column| format!("{} {}", quoted(&column.name), type_name(&column.declared)))
            .collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let table = quoted(&shape.name);
        Self {
            path: path.to_owned(),
            create: format!("CREATE TABLE {table} ({})", columns.join(", ")),
            insert: format!("INSERT INTO {table} VALUES ({marks})"),
            table,
            connection: None,
            rows: 0,
            last: 0,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows written and synced so far. After a kill between the archive's commit and the
    /// database's, the last batch is in this archive and, deleted by a later run, in the next.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes one row; the first of a batch begins its transaction.
    fn put(&mut self, values: Vec<Value>, first: bool) -> rusqlite::Result<()> {
        self.open()?;
        let Some(connection) = &self.connection else { return Ok(()) };
        if first {
            // What an earlier batch began and did not end is not in the archive.
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            connection.execute_batch("BEGIN")?;
        }
        connection.prepare_cached(&self.insert)?.execute(params_from_iter(values))?;
        Ok(())
    }

    /// Writes a batch's rows, and returns when they are on the disk.
    pub(super) fn take(
        &mut self,
        source: &Connection,
        walk: &Walk,
        after: Option<&Cursor>,
        upto: Option<&Cursor>,
    ) -> rusqlite::Result<()> {
        let mut written = 0;
        self.last = 0;
        for (sql, parameters) in walk.selects(after, upto) {
            let mut statement = source.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(parameters))?;
            while let Some(row) = rows.next()? {
                let values: Vec<Value> =
                    (0..walk.columns.len()).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?;
                self.put(values, written == 0)?;
                written += 1;
            }
        }
        if let Some(connection) = self.connection.as_ref().filter(|_| written > 0) {
            connection.execute_batch("COMMIT")?;
        }
        self.rows += written;
        self.last = written;
        Ok(())
    }

    /// Takes the last batch's rows out again: the database has kept them.
    pub(super) fn forget_last(&mut self) -> rusqlite::Result<()> {
        let last = std::mem::take(&mut self.last);
        let Some(connection) = self.connection.as_ref().filter(|_| last > 0) else { return Ok(()) };
        self.rows -= last;
        let sql = format!("DELETE FROM {} WHERE rowid > ?1", self.table);
        connection.execute(&sql, [i64::try_from(self.rows).unwrap_or(i64::MAX)])?;
        Ok(())
    }

    fn open(&mut self) -> rusqlite::Result<()> {
        if self.connection.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_URI;
            #[expect(clippy::disallowed_methods, reason = "the archive is our own file")]
            let connection = Connection::open_with_flags(uri_of(&self.path), flags)?;
            // EXTRA also syncs the directory, after the journal is gone from it.
            connection.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA")?;
            connection.execute_batch(&self.create)?;
            self.connection = Some(connection);
        }
        Ok(())
    }

    /// Reads the archive back: the rows in it, and whether it is sound.
    ///
    /// # Errors
    /// It cannot be read, or it is damaged.
    pub fn verify(&self, budget: &Budget) -> Result<u64, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("verify the archive", &error, budget);
        let Some(connection) = &self.connection else { return Ok(0) };
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            let code = rusqlite::ffi::SQLITE_CORRUPT;
            return Err(SqliteError::from_code("verify the archive", code, verdict));
        }
        Ok(self.rows)
    }
}

/// A declared type as `CREATE TABLE` takes it: it may be any text.
fn type_name(declared: &str) -> String {
    let plain = declared.chars().all(|c| c.is_ascii_alphanumeric() || "_ (),".contains(c));
    if plain { declared.to_owned() } else { quoted(declared) }
}
