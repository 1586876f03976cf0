//! An ordinary table with all that is needed to scan it in order and to delete from it.

use std::ops::Deref;

use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::names::bound;
use super::names::is_not_utf8;
use super::names::name_in;
use super::schema::Index;
use super::schema::SchemaError;
use super::schema::TableSchema;
use super::tables::quoted;

/// A table that can be scanned by a key; it reads like its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanTable {
    schema: TableSchema,
    /// Whether its primary key takes the place of a row id.
    pub without_rowid: bool,
    /// Whether it is STRICT, where a column of the type ANY takes every value as it comes.
    pub strict: bool,
    /// SQL for the columns that find a row: the row id, or the primary key of a table WITHOUT
    /// ROWID.
    pub key: Vec<String>,
    /// Which parts of the key are stored from the largest value down.
    pub key_descending: Vec<bool>,
    /// Whether SQLite finds a range of the key's first column by the key.
    pub key_bounds: bool,
    /// Names of the indexes by which SQLite's planner finds a range of their first column.
    range_indexes: Vec<String>,
    /// Triggers that a DELETE fires.
    pub delete_triggers: Vec<String>,
    /// Tables whose foreign keys refer to this one.
    pub referenced_by: Vec<String>,
    /// The schema cookie before all this was read: while it stays, so does the table.
    pub schema_version: u32,
}

impl Deref for ScanTable {
    type Target = TableSchema;

    fn deref(&self) -> &TableSchema {
        &self.schema
    }
}

impl ScanTable {
    /// The index by which a range of a column is found; `None` when rows must be scanned by their
    /// key. A primary key that begins with the column needs no index, see
    /// [`ScanTable::key_begins_with`].
    #[must_use]
    pub fn index_on(&self, column: &str) -> Option<&Index> {
        let serves = |index: &&Index| self.finds_range(index) && index.begins_with(column);
        self.separate_indexes().filter(serves).min_by_key(|index| index.is_descending())
    }

    /// Whether the rows lie in the order of a column.
    #[must_use]
    pub fn key_begins_with(&self, column: &str) -> bool {
        self.key_bounds && self.is_first_of_key(column)
    }

    fn is_first_of_key(&self, column: &str) -> bool {
        self.key.first().is_some_and(|first| first.eq_ignore_ascii_case(&quoted(column)))
    }

    fn finds_range(&self, index: &Index) -> bool {
        self.range_indexes.contains(&index.name)
    }

    /// The indexes, except for the primary key of a table WITHOUT ROWID: that is the table itself,
    /// and no INDEXED BY may name it.
    fn separate_indexes(&self) -> impl Iterator<Item = &Index> {
        separate_indexes(&self.schema, self.without_rowid)
    }

    /// The indexes of which each entry is one row, in whose order SQLite's planner walks.
    pub(super) fn unique_indexes(&self) -> impl Iterator<Item = &Index> {
        let serves = |index: &&Index| {
            index.unique
                && self.finds_range(index)
                && index.columns.iter().all(|column| column.name.is_some())
        };
        self.separate_indexes().filter(serves)
    }

    /// Why the indexes that seem to be on a column do not find its ranges; `None` where there are
    /// none.
    #[must_use]
    pub fn index_problem(&self, column: &str) -> Option<String> {
        let problem = |index: &Index| {
            let name = &index.name;
            if index.partial {
                return format!("the index {name} has only some of the rows (WHERE)");
            }
            let collation = index.columns.first().map_or("", |first| first.collation.as_str());
            format!("the index {name} has the collation {collation}, which is not that of the column")
        };
        let mut problems: Vec<String> = self
            .separate_indexes()
            .filter(|index| index.begins_with(column) && !self.finds_range(index))
            .map(problem)
            .collect();
        if !self.key_bounds && self.is_first_of_key(column) {
            problems.push("the primary key has another collation than the column".to_owned());
        }
        if problems.is_empty() {
            let is_on_expression =
                |index: &&Index| index.columns.first().is_some_and(|first| first.name.is_none());
            let expressions: Vec<&str> =
                self.separate_indexes().filter(is_on_expression).map(|index| index.name.as_str()).collect();
            return (!expressions.is_empty())
                .then(|| format!("an index on an expression ({}) does not help", expressions.join(", ")));
        }
        Some(problems.join(", "))
    }
}

fn separate_indexes(schema: &TableSchema, without_rowid: bool) -> impl Iterator<Item = &Index> {
    schema.indexes.iter().filter(move |index| !(without_rowid && index.is_primary_key))
}

/// Reads a table for a scan; inside, why it cannot be scanned.
pub(super) fn scan_table(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Result<ScanTable, SchemaError>> {
    let schema_version = schema_version(connection)?;
    let sql = "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    let found: Option<(String, String, bool, bool)> = connection
        .query_row(sql, [bound(table)], |row| Ok((name_in(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((name, kind, without_rowid, strict)) = found else {
        return Ok(Err(SchemaError::NoTable(table.to_owned())));
    };
    let kind = match kind.as_str() {
        "table" => None,
        "view" => Some("view"),
        "virtual" => Some("virtual table"),
        _ => Some("table that a virtual one keeps for itself"),
    };
    if let Some(kind) = kind {
        return Ok(Err(SchemaError::NoOrdinaryTable(name, kind)));
    }
    let schema = TableSchema::read(connection, name)?;
    let name = &schema.name;
    let mut names = std::iter::once(name).chain(schema.columns.iter().map(|column| &column.name));
    if let Some(foreign) = names.find(|name| is_not_utf8(name)) {
        return Ok(Err(SchemaError::ForeignName(name.clone(), foreign.clone())));
    }
    let Some(key) = key_columns(&schema, without_rowid) else {
        return Ok(Err(SchemaError::HiddenRowId(name.clone())));
    };
    let (key_descending, key_bounds) = match schema.primary_key.first().filter(|_| without_rowid) {
        Some(first) => {
            let bounds = finds_range(connection, &format!("main.{}", quoted(name)), first, "PRIMARY KEY")?;
            (primary_directions(&schema, key.len()), bounds)
        }
        None => (vec![false; key.len()], true),
    };
    let range_indexes = range_indexes(connection, &schema, without_rowid)?;
    let (delete_triggers, referenced_by) = (triggers(connection, name)?, referrers(connection, name)?);
    Ok(Ok(ScanTable {
        schema,
        without_rowid,
        strict,
        key,
        key_descending,
        key_bounds,
        range_indexes,
        delete_triggers,
        referenced_by,
        schema_version,
    }))
}

/// SQL for the columns that find a row of a table; `None` where columns of its own hide the row id.
pub(super) fn key_of(connection: &Connection, table: &str) -> rusqlite::Result<Option<Vec<String>>> {
    let sql = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    let without_rowid: Option<bool> =
        connection.query_row(sql, [bound(table)], |row| row.get(0)).optional()?;
    let schema = TableSchema::read(connection, table.to_owned())?;
    Ok(key_columns(&schema, without_rowid.unwrap_or(false)))
}

fn key_columns(schema: &TableSchema, without_rowid: bool) -> Option<Vec<String>> {
    if without_rowid {
        return Some(schema.primary_key.iter().map(|column| quoted(column)).collect());
    }
    row_id(schema).map(|row_id| vec![row_id])
}

/// SQL for the row id. An `INTEGER PRIMARY KEY` is the row id under its own name, unless it has an
/// index of its own, as an `INTEGER PRIMARY KEY DESC` has: that is a column like any other
/// (<https://www.sqlite.org/lang_createtable.html#rowid>).
fn row_id(schema: &TableSchema) -> Option<String> {
    if let Some(only) = schema.row_id()
        && !schema.indexes.iter().any(|index| index.is_primary_key)
    {
        return Some(quoted(only));
    }
    let taken = |name: &str| schema.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| !taken(name)).map(str::to_owned)
}

/// Which parts of the primary key of a table WITHOUT ROWID are stored from the largest value down.
fn primary_directions(schema: &TableSchema, parts: usize) -> Vec<bool> {
    let key = schema.indexes.iter().find(|index| index.is_primary_key);
    let mut directions: Vec<bool> =
        key.iter().flat_map(|key| &key.columns).map(|column| column.descending).collect();
    directions.resize(parts, false);
    directions
}

/// The indexes by which SQLite finds a range of their first column.
fn range_indexes(
    connection: &Connection,
    schema: &TableSchema,
    without_rowid: bool,
) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    for index in separate_indexes(schema, without_rowid) {
        let first = index.columns.first().and_then(|first| first.name.as_deref());
        let Some(first) = first.filter(|_| !index.partial && !is_not_utf8(&index.name)) else { continue };
        let from = format!("main.{} INDEXED BY {}", quoted(&schema.name), quoted(&index.name));
        if finds_range(connection, &from, first, "INDEX")? {
            found.push(index.name.clone());
        }
    }
    Ok(found)
}

/// Whether SQLite's planner finds a range of a column in a table by something whose words have `by`
/// in them, without reading all rows. `from` may name an index.
fn finds_range(connection: &Connection, from: &str, column: &str, by: &str) -> rusqlite::Result<bool> {
    let column = quoted(column);
    let sql = format!("EXPLAIN QUERY PLAN SELECT 1 FROM {from} WHERE {column} >= ?1 AND {column} < ?2");
    // An index that cannot serve at all is an error ("no query solution").
    let mut statement = match connection.prepare(&sql) {
        Err(rusqlite::Error::SqliteFailure(..) | rusqlite::Error::SqlInputError { .. }) => return Ok(false),
        other => other?,
    };
    let null = rusqlite::types::Null;
    let mut rows = statement.query([null, null])?;
    while let Some(row) = rows.next()? {
        let detail: String = row.get("detail")?;
        if detail.starts_with("SEARCH") && detail.contains(by) && detail.contains(">? AND ") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The schema cookie, which every change of the schema moves.
pub(super) fn schema_version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.prepare_cached("PRAGMA main.schema_version")?.query_row((), |row| row.get(0))
}

/// Triggers that fire before or after a DELETE. The schema's text says which those are; what stands
/// in a comment or a name there may make one too many, which is only said and does no harm.
fn triggers(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE \
               AND substr(sql, 1, instr(upper(sql), 'BEGIN')) LIKE '%DELETE%'";
    connection.prepare(sql)?.query_map([bound(table)], |row| name_in(row, 0))?.collect()
}

fn referrers(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT DISTINCT t.name FROM main.sqlite_schema AS t, pragma_foreign_key_list(t.name) AS f \
               WHERE t.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE";
    connection.prepare(sql)?.query_map([bound(table)], |row| name_in(row, 0))?.collect()
}
