//! The deletion of a range of a walk within a transaction, with what refers to its rows. A row that SQLite refuses to delete,
//! because of a trigger or a foreign key, is left and counted, and the others go.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::params_from_iter;

use super::archive::Archive;
use super::references::Action;
use super::stored::Value;
use super::walk::Cursor;
use super::walk::Walk;

/// Rows of another table that were changed along with those that were deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// What the deletion of a range did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Removed {
    /// Rows deleted, those of triggers and foreign keys not counted.
    pub deleted: u64,
    /// Rows of other tables, by table and what was done to them.
    pub others: BTreeMap<(String, Action), Tally>,
    /// Why the first row was refused, in SQLite's words.
    pub refusal: Option<String>,
}

impl Removed {
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

/// The rows that go with those at a place of a walk, counted.
pub(super) fn tallies(
    connection: &Connection,
    walk: &Walk,
    (place, parameters): &(String, Vec<Value>),
) -> rusqlite::Result<BTreeMap<(String, Action), Tally>> {
    let mut found: BTreeMap<(String, Action), Tally> = BTreeMap::new();
    for consequence in
        walk.references.consequences(&|columns| format!("SELECT {columns} {}", walk.expired_at(place)))
    {
        let (rows, bytes): (i64, i64) = connection
            .prepare_cached(&consequence.tally())?
            .query_row(params_from_iter(parameters), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let sum = found.entry((consequence.table.clone(), consequence.action)).or_default();
        sum.rows += rows.unsigned_abs();
        sum.bytes += bytes.unsigned_abs();
    }
    Ok(found)
}

/// Deletes the expired rows between two places of a walk. With an archive, what stays is taken out of it again.
pub(super) fn remove(
    connection: &Connection,
    walk: &Walk,
    after: Option<&Cursor>,
    upto: Option<&Cursor>,
    archive: Option<&mut Archive>,
) -> rusqlite::Result<Removed> {
    let mut removed = Removed::default();
    let Some(archive) = archive else {
        for place in walk.pieces(after, upto) {
            removed.add(remove_at(connection, walk, &place)?);
        }
        return Ok(removed);
    };
    archive.take(connection, walk, after, upto)?;
    for place in walk.pieces(after, upto) {
        removed.add(remove_at(connection, walk, &place)?);
    }
    if removed.deleted < archive.taken() {
        let mut left = Vec::new();
        for place in walk.pieces(after, upto) {
            left.extend(keys_at(connection, walk, &place)?);
        }
        archive.leave_out(&left)?;
    } else if removed.deleted > archive.taken() {
        return Err(not_archived(removed.deleted, archive.taken()));
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
    walk: &Walk,
    place: &(String, Vec<Value>),
) -> rusqlite::Result<Removed> {
    match in_savepoint(connection, || delete_at(connection, walk, place)) {
        Err(error) if is_refusal(&error) && !connection.is_autocommit() => {}
        other => return other,
    }
    let mut removed = Removed::default();
    for key in keys_at(connection, walk, place)? {
        match in_savepoint(connection, || delete_at(connection, walk, &walk.at(&key))) {
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
    walk: &Walk,
    place: &(String, Vec<Value>),
) -> rusqlite::Result<Removed> {
    let (at, parameters) = place;
    let others = tallies(connection, walk, place)?;
    for consequence in
        walk.references.consequences(&|columns| format!("SELECT {columns} {}", walk.expired_at(at)))
    {
        if let Some(statement) = consequence.statement() {
            connection.prepare_cached(&statement)?.execute(params_from_iter(parameters))?;
        }
    }
    let sql = format!("DELETE {}", walk.expired_at(at));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut deleted = 0;
    loop {
        let rows = statement.execute(params_from_iter(parameters))? as u64;
        deleted += rows;
        // The rows that referred to others of the place are gone, which may now go as well.
        if rows == 0 || !walk.references.is_self_referencing() {
            return Ok(Removed { deleted, others, refusal: None });
        }
    }
}

fn keys_at(
    connection: &Connection,
    walk: &Walk,
    (place, parameters): &(String, Vec<Value>),
) -> rusqlite::Result<Vec<Cursor>> {
    let sql = format!("SELECT {} {}", walk.key.join(", "), walk.expired_at(place));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(parameters), |row| walk.cursor_of(row, 0))?;
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
