//! Deleting rows that are older than a moment, a short transaction at a time.
//!
//! Rows are walked in the order of a key, from a cursor to a cursor, so that a batch costs the same
//! at the end as at the beginning, whatever stays behind. It must never delete a row whose time it
//! cannot read.

use std::time::Duration;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::params_from_iter;

use super::archive::Archive;
use super::error::SqliteError;
use super::header::JournalMode;
use super::keyset_scan::KeysetScan;
use super::raw::JournalFlusher;
use super::reader::Reader;
use super::reference::ReferenceAction;
use super::removal::DeleteResult;
use super::removal::RowTotals;
use super::removal::along;
use super::removal::remove;
use super::scan_key::Cursor;
use super::tables::TimeValue;
use super::tables::stored_time;
use super::writer::Locked;
use super::writer::Writer;

const OPERATION: &str = "delete a batch";

/// A batch is cut so fine, that its hold ends near the time it is meant to.
const PIECES: u32 = 8;

/// How much a batch is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Rows to look at.
    pub rows: u32,
    /// How long they are expected to take before the commit. On a walk by time the batch is done
    /// piece by piece until this time is used up, a quarter more rows than asked for at the most.
    pub work: Duration,
    /// When the hold is broken off.
    pub limit: Duration,
}

/// What one batch did.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Rows looked at, but for the last batch of a walk, where they may be fewer.
    pub rows: u32,
    /// What was deleted, and what went with it.
    pub removed: DeleteResult,
    /// Where the next one begins; `None` at the end of the walk.
    pub next: Option<Cursor>,
    /// How long was read before the lock was taken.
    pub scan_time: Duration,
}

/// What a walk would delete.
#[derive(Debug, Clone, PartialEq)]
pub struct Expired {
    /// Rows.
    pub rows: u64,
    /// The smallest time among them.
    pub oldest: Option<TimeValue>,
    /// The largest.
    pub newest: Option<TimeValue>,
    /// Bytes of their values, from a sample of at most a thousand.
    pub bytes: u64,
    /// Rows of other tables that go with them, by table and what is done to them.
    pub others: Vec<((String, ReferenceAction), RowTotals)>,
    /// Expired rows that stay.
    pub left: RemainingRows,
}

/// Expired rows that stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemainingRows {
    /// Rows that a foreign key keeps, by the table that refers to them.
    pub referenced: Vec<(String, u64)>,
    /// Rows that the user's condition leaves out.
    pub by_condition: u64,
    /// Others.
    pub rest: u64,
}

/// Counts the expired rows that there are, by what keeps them; the rest are those that can go.
fn left(connection: &Connection, scan: &KeysetScan) -> rusqlite::Result<RemainingRows> {
    let (place, parameters) = scan.range_predicate(None, None);
    let protections = scan.references.protections();
    let which: Vec<String> = protections
        .iter()
        .enumerate()
        .map(|(number, (_, sql))| format!(" WHEN {sql} THEN {number}"))
        .collect();
    let which =
        if which.is_empty() { "-1".to_owned() } else { format!("CASE{} ELSE -1 END", which.concat()) };
    let sql = format!("SELECT {which}, count(*) {} GROUP BY 1", scan.all_expired_at(&place));
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(&parameters))?;
    let mut found = RemainingRows::default();
    while let Some(row) = rows.next()? {
        let (number, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        let count = count.unsigned_abs();
        let Some((table, _)) = usize::try_from(number).ok().and_then(|number| protections.get(number)) else {
            found.rest += count;
            continue;
        };
        match found.referenced.iter_mut().find(|(other, _)| other == table) {
            Some((_, sum)) => *sum += count,
            None => found.referenced.push((table.clone(), count)),
        }
    }
    if let Some(left_out) = scan.left_out_at(&place) {
        let sql = format!("SELECT count(*) {left_out}");
        let rows: i64 = connection.query_row(&sql, params_from_iter(&parameters), |row| row.get(0))?;
        found.by_condition = rows.unsigned_abs();
    }
    if let Some(kept) = scan.kept_by_own_at(&place) {
        let sql = format!("SELECT count(*) {} AND {kept}", scan.all_expired_at(&place));
        let own: i64 = connection.query_row(&sql, params_from_iter(&parameters), |row| row.get(0))?;
        if own > 0 {
            found.referenced.push((scan.references.table().to_owned(), own.unsigned_abs()));
        }
        found.rest = found.rest.saturating_sub(own.unsigned_abs());
    }
    Ok(found)
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

    /// Deletes the expired ones of the next rows of a walk, after they are safe in the archive.
    /// `None` when the schema is no longer the one that the walk was planned for: nothing is done
    /// then.
    ///
    /// # Errors
    /// `Busy`, `Full`, a trigger's or a foreign key's refusal, and so on; `DeadlineExceeded` when
    /// it took longer than the limit. The database is as before then; the archive may hold rows
    /// that are still there.
    pub fn delete_batch(
        &mut self,
        scan: &KeysetScan,
        after: Option<&Cursor>,
        size: BatchSize,
        archive: Option<&mut Archive>,
    ) -> Result<Option<Locked<Batch>>, SqliteError> {
        let begun = Instant::now();
        let rows = size.rows;
        // A walk by time asks for the schema under the lock alone; one by key reads before it takes
        // that.
        if !scan.is_by_time() {
            if !scan.schema_unchanged(self.connection()).map_err(self.failed(OPERATION))? {
                return Ok(None);
            }
            if !self.has_expired(scan, after, size)? {
                let next =
                    scan.nth_key_after(self.connection(), after, rows).map_err(self.failed(OPERATION))?;
                let value =
                    Batch { rows, removed: DeleteResult::default(), next, scan_time: begun.elapsed() };
                return Ok(Some(Locked { value, hold: Duration::ZERO, commit: Duration::ZERO }));
            }
        }
        let scan_time = begun.elapsed();
        let Some(archive) = archive else {
            let subranges = if scan.is_by_time() { PIECES } else { 1 };
            // A WAL is written at the commit.
            let journal = (self.journal_mode() == JournalMode::Rollback).then(JournalFlusher::default);
            let held = self.transaction(OPERATION, size.limit, |connection| {
                if !scan.schema_unchanged(connection)? {
                    return Ok(None);
                }
                let (rows, removed, next) =
                    delete_pieces(connection, scan, after, (rows, subranges), size.work, journal)?;
                Ok(Some(Batch { rows, removed, next, scan_time }))
            });
            return held.map(Locked::transpose);
        };
        // An archive's piece costs a sync of its own, so it is whole, and counted with the commit:
        // fewer rows would not make it shorter.
        if let Err(error) = archive.begin_batch() {
            return Err(archive.error().unwrap_or_else(|| self.failed(OPERATION)(error)));
        }
        let mut archived = Duration::ZERO;
        let result = self.transaction(OPERATION, size.limit, |connection| {
            if !scan.schema_unchanged(connection)? {
                return Ok(None);
            }
            let next = scan.nth_key_after(connection, after, rows)?;
            let begun = Instant::now();
            let removed = remove(connection, scan, after, next.as_ref(), Some(archive))?;
            archived = begun.elapsed();
            Ok(Some(Batch { rows, removed, next, scan_time }))
        });
        if result.is_err()
            && let Some(error) = archive.error()
        {
            return Err(error);
        }
        if result.is_err() {
            archive.forget_last().map_err(self.failed("take rows back from the archive"))?;
        }
        let held = result?;
        Ok(Locked { commit: held.commit + archived, ..held }.transpose())
    }

    /// Counts the expired rows that are still there, within `limit`.
    ///
    /// # Errors
    /// What any read can meet; `DeadlineExceeded` after `limit`.
    pub fn left(&mut self, scan: &KeysetScan, limit: Duration) -> Result<RemainingRows, SqliteError> {
        let begun = Instant::now();
        self.arm(Some(begun + limit))?;
        let result = left(self.connection(), scan);
        self.note_read(begun);
        self.arm(None)?;
        result.map_err(self.failed("count the rows that stay"))
    }

    /// Whether there is anything to delete in the next rows of a walk by key: for an answer of no,
    /// nobody needs to wait.
    fn has_expired(
        &mut self,
        scan: &KeysetScan,
        after: Option<&Cursor>,
        size: BatchSize,
    ) -> Result<bool, SqliteError> {
        let begun = Instant::now();
        self.arm(Some(begun + size.limit))?;
        let result = scan.nth_key_after(self.connection(), after, size.rows).and_then(|next| {
            for (sql, parameters) in scan.selects(after, next.as_ref()) {
                if self.connection().prepare_cached(&sql)?.exists(params_from_iter(parameters))? {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        self.note_read(begun);
        self.arm(None)?;
        result.map_err(self.failed(OPERATION))
    }
}

/// Deletes a batch in pieces until there is no time for another, at most a quarter more rows than
/// asked for. Returns the rows looked at, those deleted, and where the next batch begins.
fn delete_pieces(
    connection: &Connection,
    scan: &KeysetScan,
    after: Option<&Cursor>,
    (rows, subranges): (u32, u32),
    time: Duration,
    mut journal: Option<JournalFlusher>,
) -> rusqlite::Result<(u32, DeleteResult, Option<Cursor>)> {
    let begun = Instant::now();
    let piece = (rows / subranges).max(1);
    let most = if subranges == 1 { rows } else { rows + rows / 4 };
    let (mut scan_time, mut removed, mut at) = (0, DeleteResult::default(), after.cloned());
    loop {
        let next = scan.nth_key_after(connection, at.as_ref(), piece)?;
        removed.add(remove(connection, scan, at.as_ref(), next.as_ref(), None)?);
        scan_time += piece;
        at = next;
        let with_another = begun.elapsed() * (scan_time + piece) / scan_time;
        if at.is_none() || scan_time >= most || with_another > time {
            return Ok((scan_time, removed, at));
        }
        if let Some(journal) = &mut journal {
            journal.push(connection);
        }
    }
}

impl Reader {
    /// Counts what a walk would delete, within `limit`. By key it reads the whole table.
    ///
    /// # Errors
    /// What any read can meet; a condition that is no SQL is `Other`, `DeadlineExceeded` after
    /// `limit`.
    pub fn expired(&mut self, scan: &KeysetScan, limit: Duration) -> Result<Expired, SqliteError> {
        self.within(limit, |reader| reader.count_expired(scan))
    }

    fn count_expired(&self, scan: &KeysetScan) -> Result<Expired, SqliteError> {
        const OPERATION: &str = "count the expired rows";
        let failed = |error: rusqlite::Error| SqliteError::new(OPERATION, &error, &self.limits);
        let column = if scan.is_by_time() { &scan.key[0].sql } else { "NULL" };
        let (place, parameters) = scan.range_predicate(None, None);
        let expired = scan.all_expired_at(&place);
        let sql = format!("SELECT count(*), min({column}), max({column}) {expired}");
        let (rows, oldest, newest) = self
            .connection
            .query_row(&sql, params_from_iter(&parameters), |row| {
                Ok((row.get::<_, i64>(0)?, stored_time(row.get_ref(1)?), stored_time(row.get_ref(2)?)))
            })
            .map_err(failed)?;
        let lengths: Vec<String> =
            scan.columns.iter().map(|column| format!("ifnull(length(CAST({column} AS BLOB)), 0)")).collect();
        let sql = format!(
            "SELECT ifnull(avg(bytes), 0) FROM (SELECT {} AS bytes {expired} LIMIT 1000)",
            lengths.join(" + "),
        );
        let average: f64 = self
            .connection
            .query_row(&sql, params_from_iter(&parameters), |row| row.get(0))
            .map_err(failed)?;
        let (all, mut rows) = (rows.unsigned_abs(), rows.unsigned_abs());
        let mut left = RemainingRows::default();
        let mut others = Vec::new();
        if scan.has_condition() || !scan.references.is_empty() && all > 0 {
            left = self::left(&self.connection, scan).map_err(failed)?;
            rows = std::mem::take(&mut left.rest);
            let along = along(&self.connection, scan, &(place, parameters)).map_err(failed)?;
            others = along.others.into_iter().filter(|(_, tally)| tally.rows > 0).collect();
        }
        let bytes = (average * rows as f64) as u64;
        Ok(Expired { rows, oldest, newest, bytes, others, left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExpiryPredicate;
    use crate::TimeColumn as _;
    use crate::TimeForm;
    use crate::limits::QueryLimits;

    fn ids(path: &std::path::Path) -> Vec<i64> {
        #[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
        let connection = Connection::open(path).unwrap();
        let mut statement = connection.prepare("SELECT id FROM logs ORDER BY id").unwrap();
        statement.query_map((), |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    /// A batch that does not get the write lock says nothing of the one before, whose rows are gone
    /// from the database.
    #[test]
    fn a_busy_database_takes_no_row_out_of_the_archive() {
        let directory = tempfile::tempdir().unwrap();
        let (path, archived) = (directory.path().join("app.db"), directory.path().join("archive.db"));
        #[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
        let owner = Connection::open(&path).unwrap();
        owner
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER);
                 CREATE INDEX logs_at ON logs (at);
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) INSERT INTO logs SELECT i, i FROM n;",
            )
            .unwrap();
        let limit = Duration::from_secs(60);
        let mut writer = Writer::open(&path, limit, &QueryLimits::with_timeout(limit)).unwrap();
        let shape = writer.scan_table("logs").unwrap().unwrap();
        let expiry = ExpiryPredicate {
            column: Some("at".to_owned()),
            floor: TimeValue::Integer(1),
            below: TimeValue::Integer(16),
            last: None,
            form: TimeForm::Number,
            cutoff_seconds: 16.0,
            condition: None,
        };
        let scan = KeysetScan::plan(&shape, &expiry);
        let mut archive = Archive::new(&archived, &shape);
        let size = BatchSize { rows: 4, work: limit, limit };
        let mut after = None;
        loop {
            owner.execute_batch("BEGIN IMMEDIATE").unwrap();
            let refused = writer.delete_batch(&scan, after.as_ref(), size, Some(&mut archive));
            assert!(refused.is_err(), "the owner holds the lock");
            owner.execute_batch("COMMIT").unwrap();
            let batch =
                writer.delete_batch(&scan, after.as_ref(), size, Some(&mut archive)).unwrap().unwrap();
            after = batch.value.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((ids(&path), archive.rows()), ((16..=20).collect(), 15));
        drop(archive);
        assert_eq!(ids(&archived), (1..=15).collect::<Vec<_>>());
    }
}
