//! Deleting rows that are older than a moment, a short transaction at a time.
//!
//! Rows are walked in the order of a key, from a cursor to a cursor, so that a batch costs the same at the end as
//! at the beginning, whatever stays behind. It must never delete a row whose time it cannot read.

use std::time::Duration;
use std::time::Instant;

use rusqlite::params_from_iter;

use super::archive::Archive;
use super::error::SqliteError;
use super::reader::Reader;
use super::tables::StoredTime;
use super::tables::stored_time;
use super::walk::Cursor;
use super::walk::Walk;
use super::writer::Held;
use super::writer::Writer;

const OPERATION: &str = "delete a batch";

/// What one batch did.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Rows deleted, those of triggers and foreign keys not counted.
    pub deleted: u64,
    /// Where the next one begins; `None` at the end of the walk.
    pub next: Option<Cursor>,
    /// How long was read before the lock was taken.
    pub looked: Duration,
}

/// What a walk would delete.
#[derive(Debug, Clone, PartialEq)]
pub struct Expired {
    /// Rows.
    pub rows: u64,
    /// The smallest time among them.
    pub oldest: Option<StoredTime>,
    /// The largest.
    pub newest: Option<StoredTime>,
    /// Bytes of their values, from a sample of at most a thousand.
    pub bytes: u64,
}

impl Writer {
    /// Has foreign keys enforced or not, as the application does it.
    ///
    /// # Errors
    /// What SQLite says; none is known.
    pub fn enforce_foreign_keys(&self, on: bool) -> Result<(), SqliteError> {
        let sql = if on { "PRAGMA foreign_keys = ON" } else { "PRAGMA foreign_keys = OFF" };
        self.connection().execute_batch(sql).map_err(self.failed("set the foreign keys"))
    }

    /// Deletes the expired ones of the next `rows` rows of a walk, after they are safe in the archive.
    ///
    /// # Errors
    /// `Busy`, `Full`, a trigger's or a foreign key's refusal, and so on; `DeadlineExceeded` when it took longer than
    /// `limit`. The database is as before then; the archive may hold rows that are still there.
    pub fn delete_batch(
        &mut self,
        walk: &Walk,
        after: Option<&Cursor>,
        rows: u32,
        limit: Duration,
        archive: Option<&mut Archive>,
    ) -> Result<Held<Batch>, SqliteError> {
        let begun = Instant::now();
        if !walk.is_by_time() && !self.has_expired(walk, after, rows, limit)? {
            let next = walk.further(self.connection(), after, rows).map_err(self.failed(OPERATION))?;
            let value = Batch { deleted: 0, next, looked: begun.elapsed() };
            return Ok(Held { value, hold: Duration::ZERO });
        }
        let looked = begun.elapsed();
        let mut archive = archive;
        let result = self.transaction(OPERATION, limit, |connection| {
            let next = walk.further(connection, after, rows)?;
            if let Some(archive) = archive.as_deref_mut() {
                archive.take(connection, walk, after, next.as_ref())?;
            }
            let deleted = walk.delete(connection, after, next.as_ref())?;
            Ok(Batch { deleted, next, looked })
        });
        if let (Err(_), Some(archive)) = (&result, archive) {
            archive.forget_last().map_err(self.failed("take rows back from the archive"))?;
        }
        result
    }

    /// Whether there is anything to delete in the next rows of a walk by key: for an answer of no, nobody needs to wait.
    fn has_expired(
        &mut self,
        walk: &Walk,
        after: Option<&Cursor>,
        rows: u32,
        limit: Duration,
    ) -> Result<bool, SqliteError> {
        self.arm(Some(Instant::now() + limit))?;
        let result = walk.further(self.connection(), after, rows).and_then(|next| {
            let (sql, parameters) = walk.select(after, next.as_ref());
            self.connection().prepare_cached(&sql)?.exists(params_from_iter(parameters))
        });
        self.arm(None)?;
        result.map_err(self.failed(OPERATION))
    }
}

impl Reader {
    /// Counts what a walk would delete, within `limit`. By key it reads the whole table.
    ///
    /// # Errors
    /// What any read can meet; a condition that is no SQL is `Other`, `DeadlineExceeded` after `limit`.
    pub fn expired(&mut self, walk: &Walk, limit: Duration) -> Result<Expired, SqliteError> {
        self.within(limit, |reader| reader.count_expired(walk))
    }

    fn count_expired(&self, walk: &Walk) -> Result<Expired, SqliteError> {
        const OPERATION: &str = "count the expired rows";
        let failed = |error: rusqlite::Error| SqliteError::new(OPERATION, &error, &self.budget);
        let column = if walk.is_by_time() { &walk.key[0] } else { "NULL" };
        let (place, parameters) = walk.between(None, None);
        let expired = format!("FROM {} WHERE {}{place}", walk.from, walk.filter);
        let sql = format!("SELECT count(*), min({column}), max({column}) {expired}");
        let (rows, oldest, newest) = self
            .connection
            .query_row(&sql, params_from_iter(&parameters), |row| {
                Ok((row.get::<_, i64>(0)?, stored_time(row.get_ref(1)?), stored_time(row.get_ref(2)?)))
            })
            .map_err(failed)?;
        let lengths: Vec<String> =
            walk.columns.iter().map(|column| format!("ifnull(length(CAST({column} AS BLOB)), 0)")).collect();
        let sql = format!(
            "SELECT ifnull(avg(bytes), 0) FROM (SELECT {} AS bytes {expired} LIMIT 1000)",
            lengths.join(" + "),
        );
        let average: f64 = self
            .connection
            .query_row(&sql, params_from_iter(&parameters), |row| row.get(0))
            .map_err(failed)?;
        let rows = rows.unsigned_abs();
        Ok(Expired { rows, oldest, newest, bytes: (average * rows as f64) as u64 })
    }
}
