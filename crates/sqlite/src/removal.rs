//! The deletion of a range of a walk within a transaction, with what refers to its rows. A row that
//! SQLite refuses to delete, because of a trigger or a foreign key, is left and counted, and the
//! others go.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::params_from_iter;

use super::archive::Archive;
use super::delete_cascade::OWN_EXPIRED;
use super::keyset_scan::KeysetScan;
use super::reference::ReferenceAction;
use super::scan_key::Cursor;
use super::stored_value::StoredValue;

/// Rows of another table that were changed along with those that were deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowTotals {
    /// Rows.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// What the deletion of a range did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeleteResult {
    /// Rows deleted, those of triggers and foreign keys not counted.
    pub deleted: u64,
    /// Rows of other tables, by table and what was done to them.
    pub others: BTreeMap<(String, ReferenceAction), RowTotals>,
    /// Why the first row was refused, in SQLite's words.
    pub refusal: Option<String>,
}

impl DeleteResult {
    /// Adds what another range did.
    pub fn add(&mut self, other: Self) {
        self.deleted += other.deleted;
        for (key, tally) in other.others {
            let sum = self.others.entry(key).or_default();
            sum.rows += tally.rows;
            sum.bytes += tally.bytes;
        }
        if self.refusal.is_none() {
            self.refusal = other.refusal;
        }
    }
}

/// What goes along with the rows at a place of a walk.
#[derive(Debug, Default)]
pub(super) struct DependentRows {
    /// Rows by table and what is done to them.
    pub others: BTreeMap<(String, ReferenceAction), RowTotals>,
    /// Rows of the cleaned table that have expired, where they may go along with each other.
    pub own_expired: u64,
}

/// Counts the rows that go with those at a place of a walk.
pub(super) fn along(
    connection: &Connection,
    scan: &KeysetScan,
    (place, parameters): &(String, Vec<StoredValue>),
) -> rusqlite::Result<DependentRows> {
    let graph = &scan.references.graph;
    let (table, expired) = scan.expired_anywhere();
    let mut found = DependentRows::default();
    let Some(sql) = graph.tally(&scan.expired_at(place), (table, &expired)) else { return Ok(found) };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        let (number, rows, bytes): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if number == OWN_EXPIRED {
            found.own_expired = rows.unsigned_abs();
        } else if let Some(reached) = graph.reached(number) {
            // What the configuration does not name goes by the schema.
            let action = if number == 0 { ReferenceAction::Cascade } else { reached.action };
            let sum = found.others.entry((reached.table.to_owned(), action)).or_default();
            sum.rows += rows.unsigned_abs();
            sum.bytes += bytes.unsigned_abs();
        }
    }
    Ok(found)
}

/// Deletes the expired rows between two places of a walk. With an archive, what stays is taken out
/// of it again.
pub(super) fn remove(
    connection: &Connection,
    scan: &KeysetScan,
    after: Option<&Cursor>,
    upto: Option<&Cursor>,
    archive: Option<&mut Archive>,
) -> rusqlite::Result<DeleteResult> {
    let mut removed = DeleteResult::default();
    let Some(archive) = archive else {
        for place in scan.subranges(after, upto) {
            removed.add(remove_at(connection, scan, &place)?);
        }
        return Ok(removed);
    };
    archive.take(connection, scan, after, upto)?;
    for place in scan.subranges(after, upto) {
        removed.add(remove_at(connection, scan, &place)?);
    }
    let own = removed.others.get(&(scan.references.table().to_owned(), ReferenceAction::Cascade));
    let gone = removed.deleted + own.map_or(0, |own| own.rows);
    if gone < archive.taken() {
        archive.leave_out(connection, scan)?;
    } else if gone > archive.taken() {
        return Err(not_archived(gone, archive.taken()));
    }
    archive.commit()?;
    Ok(removed)
}

/// No row is deleted that is not in the archive, whatever made the two differ.
fn not_archived(deleted: u64, archived: u64) -> rusqlite::Error {
    let words =
        format!("{deleted} rows were deleted of which {archived} are in the archive; all of them are back");
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
    rusqlite::Error::SqliteFailure(code, Some(words))
}

/// Deletes the rows at a place all at once, or where one of them is refused, row by row.
fn remove_at(
    connection: &Connection,
    scan: &KeysetScan,
    place: &(String, Vec<StoredValue>),
) -> rusqlite::Result<DeleteResult> {
    match in_savepoint(connection, || delete_at(connection, scan, place)) {
        Err(error) if is_refusal(&error) && !connection.is_autocommit() => {}
        other => return other,
    }
    let mut removed = DeleteResult::default();
    for key in keys_at(connection, scan, place)? {
        match in_savepoint(connection, || delete_at(connection, scan, &scan.at(&key))) {
            Ok(one) => removed.add(one),
            Err(error) if is_refusal(&error) && !connection.is_autocommit() => {
                removed.refusal.get_or_insert_with(|| error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

fn delete_at(
    connection: &Connection,
    scan: &KeysetScan,
    place: &(String, Vec<StoredValue>),
) -> rusqlite::Result<DeleteResult> {
    let (at, parameters) = place;
    let DependentRows { others, own_expired } = along(connection, scan, place)?;
    for statement in scan.references.graph.statements(&scan.expired_at(at)) {
        connection.prepare_cached(&statement)?.execute(params_from_iter(parameters))?;
    }
    let sql = format!("DELETE {}", scan.expired_at(at));
    let mut deleted = connection.prepare_cached(&sql)?.execute(params_from_iter(parameters))? as u64;
    // SQLite does not count those that went along before their own turn.
    if scan.references.graph.reaches_itself() {
        let sql = format!("SELECT count(*) {}", scan.expired_at(at));
        let left: i64 =
            connection.prepare_cached(&sql)?.query_row(params_from_iter(parameters), |row| row.get(0))?;
        deleted = own_expired.saturating_sub(left.unsigned_abs());
    }
    Ok(DeleteResult { deleted, others, refusal: None })
}

fn keys_at(
    connection: &Connection,
    scan: &KeysetScan,
    (place, parameters): &(String, Vec<StoredValue>),
) -> rusqlite::Result<Vec<Cursor>> {
    // In the order of the walk, in which rows go before those to which they refer.
    let sql = format!("SELECT {} {} ORDER BY {}", scan.key_sql(), scan.expired_at(place), scan.order());
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(parameters), |row| scan.cursor_of(row, 0))?;
    rows.collect()
}

/// Does `work`, and undoes it where it fails.
fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.execute_batch("SAVEPOINT litekeeper_range")?;
    let result = work();
    // A trigger may have rolled back everything, the savepoint with it.
    if !connection.is_autocommit() {
        let end = match &result {
            Ok(_) => "RELEASE litekeeper_range",
            Err(_) => "ROLLBACK TO litekeeper_range; RELEASE litekeeper_range",
        };
        connection.execute_batch(end)?;
    }
    result
}

/// Whether a trigger or a constraint refused, which says nothing about other rows.
fn is_refusal(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}
