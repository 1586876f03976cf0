//! The deletion of a range of a walk within a transaction, with what refers to its rows. A row that SQLite refuses to delete,
//! because of a trigger or a foreign key, is left and counted, and the others go.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::params_from_iter;

use super::archive::Archive;
use super::consequences::OWN_EXPIRED;
use super::keyset_scan::Cursor;
use super::keyset_scan::Walk;
use super::references::Action;
use super::stored::Value;

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

/// What goes along with the rows at a place of a walk.
#[derive(Debug, Default)]
pub(super) struct Along {
    /// Rows by table and what is done to them.
    pub others: BTreeMap<(String, Action), Tally>,
    /// Rows of the cleaned table that have expired, where they may go along with each other.
    pub own_expired: u64,
}

/// Counts the rows that go with those at a place of a walk.
pub(super) fn along(
    connection: &Connection,
    walk: &Walk,
    (place, parameters): &(String, Vec<Value>),
) -> rusqlite::Result<Along> {
    let graph = &walk.references.graph;
    let (table, expired) = walk.expired_anywhere();
    let mut found = Along::default();
    let Some(sql) = graph.tally(&walk.expired_at(place), (table, &expired)) else { return Ok(found) };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        let (number, rows, bytes): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if number == OWN_EXPIRED {
            found.own_expired = rows.unsigned_abs();
        } else if let Some(reached) = graph.reached(number) {
            // What the configuration does not name goes by the schema.
            let action = if number == 0 { Action::Cascade } else { reached.action };
            let sum = found.others.entry((reached.table.to_owned(), action)).or_default();
            sum.rows += rows.unsigned_abs();
            sum.bytes += bytes.unsigned_abs();
        }
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
    let own = removed.others.get(&(walk.references.table().to_owned(), Action::Cascade));
    let gone = removed.deleted + own.map_or(0, |own| own.rows);
    if gone < archive.taken() {
        archive.leave_out(connection, walk)?;
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
    let Along { others, own_expired } = along(connection, walk, place)?;
    for statement in walk.references.graph.statements(&walk.expired_at(at)) {
        connection.prepare_cached(&statement)?.execute(params_from_iter(parameters))?;
    }
    let sql = format!("DELETE {}", walk.expired_at(at));
    let mut deleted = connection.prepare_cached(&sql)?.execute(params_from_iter(parameters))? as u64;
    // SQLite does not count those that went along before their own turn.
    if walk.references.graph.reaches_itself() {
        let sql = format!("SELECT count(*) {}", walk.expired_at(at));
        let left: i64 =
            connection.prepare_cached(&sql)?.query_row(params_from_iter(parameters), |row| row.get(0))?;
        deleted = own_expired.saturating_sub(left.unsigned_abs());
    }
    Ok(Removed { deleted, others, refusal: None })
}

fn keys_at(
    connection: &Connection,
    walk: &Walk,
    (place, parameters): &(String, Vec<Value>),
) -> rusqlite::Result<Vec<Cursor>> {
    // In the order of the walk, in which rows go before those to which they refer.
    let sql = format!("SELECT {} {} ORDER BY {}", walk.key_sql(), walk.expired_at(place), walk.order());
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
