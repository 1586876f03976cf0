//! A SQLite file that takes rows before they are deleted.

use std::path::Path;
use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::params_from_iter;

use crate::limits::QueryLimits;

use super::error::SqliteError;
use super::keyset_scan::KeysetScan;
use super::reader::uri_of;
use super::scan_key::Cursor;
use super::scan_table::ScanTable;
use super::schema::Column;
use super::stored_value::StoredValue;
use super::tables::quoted;

/// Rows of one table of one run. The file comes with the first row.
pub struct Archive {
    path: PathBuf,
    table: String,
    /// A name of the row id that no column takes.
    row_id: &'static str,
    create: String,
    insert: String,
    connection: Option<Connection>,
    rows: u64,
    /// The keys of the last batch's rows, in the order in which they were written.
    keys: Vec<Cursor>,
    /// The last row id before that batch.
    before: i64,
    /// Rows of the last batch, which go again when the batch is rolled back.
    last: u64,
    /// What went wrong with the archive itself: SQLite's code and words.
    failure: Option<(i32, String)>,
}

impl Archive {
    /// An archive for rows of a table, with columns of the same names and types, and without
    /// constraints: what the application could store must fit.
    #[must_use]
    pub fn new(path: &Path, shape: &ScanTable) -> Self {
        let columns: Vec<String> = shape
            .columns
            .iter()
            .map(|column| format!("{} {}", quoted(&column.name), type_of(column, shape.strict)))
            .collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let table = quoted(&shape.name);
        Self {
            path: path.to_owned(),
            create: format!("CREATE TABLE {table} ({})", columns.join(", ")),
            insert: format!("INSERT INTO {table} VALUES ({marks})"),
            table,
            row_id: free_row_id(&shape.columns),
            connection: None,
            rows: 0,
            keys: Vec::new(),
            before: 0,
            last: 0,
            failure: None,
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

    /// Whether the archive, and not the database, kept a batch from being deleted.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// What went wrong with the archive, as an error that names it. It says nothing of the
    /// database's own state.
    pub(super) fn error(&self) -> Option<SqliteError> {
        let (code, words) = self.failure.as_ref()?;
        let code = match code & 0xff {
            // These are the archive's, and no verdict on the database.
            rusqlite::ffi::SQLITE_CORRUPT | rusqlite::ffi::SQLITE_NOTADB => rusqlite::ffi::SQLITE_IOERR,
            _ => *code,
        };
        let message = format!("{}: {words}; no row that is not in it was deleted", self.path.display());
        Some(SqliteError::from_code("write the archive", code, message))
    }

    /// Notes what the archive's own work ended with.
    fn noted<T>(&mut self, result: rusqlite::Result<T>) -> rusqlite::Result<T> {
        if let Err(error) = &result {
            let code = match error {
                rusqlite::Error::SqliteFailure(failure, _) => failure.extended_code,
                _ => rusqlite::ffi::SQLITE_IOERR,
            };
            self.failure = Some((code, error.to_string()));
        }
        result
    }

    /// Writes one row; the first of a batch begins its transaction.
    fn put(&mut self, values: Vec<StoredValue>, first: bool) -> rusqlite::Result<()> {
        let result = self.put_row(values, first);
        self.noted(result)
    }

    fn put_row(&mut self, values: Vec<StoredValue>, first: bool) -> rusqlite::Result<()> {
        self.open()?;
        let Some(connection) = &self.connection else { return Ok(()) };
        if first {
            connection.execute_batch("BEGIN")?;
            let sql = format!("SELECT ifnull(max({}), 0) FROM {}", self.row_id, self.table);
            self.before = connection.query_row(&sql, (), |row| row.get(0))?;
        }
        connection.prepare_cached(&self.insert)?.execute(params_from_iter(values))?;
        Ok(())
    }

    /// Begins a batch, before its transaction in the database. From here on
    /// [`Archive::forget_last`] concerns the rows of this batch alone: those of an earlier one are
    /// gone from the database, and must stay here although this batch does not even get the
    /// database's lock.
    pub(super) fn begin_batch(&mut self) -> rusqlite::Result<()> {
        (self.last, self.failure) = (0, None);
        self.keys.clear();
        // What an earlier batch wrote and did not commit, because the database rolled it back.
        let open = self.connection.as_ref().filter(|connection| !connection.is_autocommit());
        match open.map(|connection| connection.execute_batch("ROLLBACK")) {
            Some(result) => self.noted(result),
            None => Ok(()),
        }
    }

    /// Writes a batch's rows. They are kept by [`Archive::commit`] alone.
    pub(super) fn take(
        &mut self,
        source: &Connection,
        scan: &KeysetScan,
        after: Option<&Cursor>,
        upto: Option<&Cursor>,
    ) -> rusqlite::Result<()> {
        for (sql, parameters) in scan.selects(after, upto) {
            let mut statement = source.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(parameters))?;
            while let Some(row) = rows.next()? {
                let columns = scan.columns.len();
                let values: Vec<StoredValue> =
                    (0..columns).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?;
                self.put(values, self.keys.is_empty())?;
                self.keys.push(scan.cursor_of(row, columns)?);
            }
        }
        Ok(())
    }

    /// Rows of the last batch.
    pub(super) fn taken(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Takes rows of the last batch out again that the database still has.
    pub(super) fn leave_out(&mut self, source: &Connection, scan: &KeysetScan) -> rusqlite::Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        let sql = format!("DELETE FROM {} WHERE {} = ?1", self.table, self.row_id);
        let mut gone = Ok(0);
        let mut kept = Vec::new();
        for (number, key) in self.keys.drain(..).enumerate() {
            let (exists, parameters) = scan.exists(&key);
            if source.prepare_cached(&exists)?.exists(params_from_iter(parameters))? {
                let row = self.before + 1 + i64::try_from(number).unwrap_or(i64::MAX);
                gone = gone.and_then(|_| connection.execute(&sql, [row]));
            } else {
                kept.push(key);
            }
        }
        self.keys = kept;
        self.noted(gone).map(|_| ())
    }

    /// Returns when the last batch's rows are on the disk.
    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        let connection = self.connection.as_ref().filter(|connection| !connection.is_autocommit());
        if let Some(connection) = connection {
            let committed = connection.execute_batch("COMMIT");
            self.noted(committed)?;
        }
        self.last = self.taken();
        self.rows += self.last;
        Ok(())
    }

    /// Takes the last batch's rows out again: the database has kept them.
    pub(super) fn forget_last(&mut self) -> rusqlite::Result<()> {
        let last = std::mem::take(&mut self.last);
        let Some(connection) = self.connection.as_ref().filter(|_| last > 0) else { return Ok(()) };
        self.rows -= last;
        let sql = format!("DELETE FROM {} WHERE {} > ?1", self.table, self.row_id);
        connection.execute(&sql, [self.before])?;
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
    pub fn verify(&self, limits: &QueryLimits) -> Result<u64, SqliteError> {
        let failed = |error: rusqlite::Error| match error {
            // What is no database any more, or no file, is the archive.
            rusqlite::Error::SqliteFailure(failure, words)
                if failure.extended_code != rusqlite::ffi::SQLITE_INTERRUPT =>
            {
                let words =
                    words.unwrap_or_else(|| rusqlite::ffi::code_to_str(failure.extended_code).to_owned());
                self.damaged(&words)
            }
            other => SqliteError::new("verify the archive", &other, limits),
        };
        let Some(connection) = &self.connection else { return Ok(0) };
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(self.damaged(&verdict));
        }
        Ok(self.rows)
    }

    /// An archive that cannot be read back, which says nothing of the database.
    fn damaged(&self, words: &str) -> SqliteError {
        let message = format!("{}: {words}", self.path.display());
        SqliteError::from_code("verify the archive", rusqlite::ffi::SQLITE_IOERR, message)
    }
}

/// A declared type as `CREATE TABLE` takes it: it may be any text. ANY of a STRICT table is left
/// out: elsewhere it stands for numbers, and would turn the text `007` into 7
/// (<https://www.sqlite.org/stricttables.html#the_any_datatype>).
fn type_of(column: &Column, strict: bool) -> String {
    let declared = column.declared.as_str();
    if strict && declared.eq_ignore_ascii_case("ANY") {
        return String::new();
    }
    let plain = declared.chars().all(|c| c.is_ascii_alphanumeric() || "_ (),".contains(c));
    if plain { declared.to_owned() } else { quoted(declared) }
}

fn free_row_id(columns: &[Column]) -> &'static str {
    let taken = |name: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| !taken(name)).unwrap_or("rowid")
}
