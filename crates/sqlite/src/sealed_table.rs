//! A table with rows that are final: by which key they are found, and which columns they have.

use rusqlite::Connection;

use super::error::SqliteError;
use super::header::Encoding;
use super::header::RawHeader;
use super::names::is_not_utf8;
use super::names::rows_of;
use super::names::text_in;
use super::pure_condition::check_pure;
use super::query_source::QuerySource as _;
use super::raw;
use super::reader::Reader;
use super::scan_key::KeyPart;
use super::scan_key::compare;
use super::scan_key::key_of;
use super::scan_table::ScanTable;
use super::scan_table::scan_table;
use super::schema::Index;
use super::schema::SchemaError;
use super::tables::quoted;

/// What to do about a table whose rows have no name that lasts.
const KEY_REMEDY: &str = "give it an INTEGER PRIMARY KEY, or a PRIMARY KEY or UNIQUE index over columns \
                          that identify a row";

/// A table whose final rows can be read in the order of a key that outlasts VACUUM.
#[derive(Debug, Clone, PartialEq)]
pub struct SealedTable {
    /// The name as the schema spells it.
    pub name: String,
    /// The columns of the key, in its order.
    pub key: Vec<SealedColumn>,
    /// The columns whose values are compared: all but those that SQLite computes when it reads
    /// them, which follow from the others.
    pub columns: Vec<SealedColumn>,
    /// The condition that a final row satisfies.
    pub condition: String,
    pub(super) parts: Vec<KeyPart>,
    pub(super) from: String,
    /// Whether text is kept as UTF-16, whose bytes are read as they are.
    pub(super) is_utf16: bool,
    /// Whether a part of the key may be NULL, so that it names no row.
    pub(super) may_be_null: bool,
    pub(super) schema_version: u32,
}

/// A column and its place in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedColumn {
    /// Its name.
    pub name: String,
    /// Its place, which a renaming does not change.
    pub place: u32,
}

/// Why the final rows of a table cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealedTableError {
    /// There is no table of that name.
    #[error("there is no table {0}")]
    NoTable(String),
    /// It has no rows of its own.
    #[error("{0} is a {1}; only the rows of ordinary tables can be sealed")]
    NoOrdinaryTable(String, &'static str),
    /// Its rows cannot be named in SQL that is UTF-8.
    #[error(
        "the name {1} of the table {0} or of one of its columns is not UTF-8, so that its rows cannot be sealed"
    )]
    ForeignName(String, String),
    /// Nothing names a row for good.
    #[error("the rows of {0} have no key of their own, and VACUUM may renumber them; {KEY_REMEDY}")]
    NoKey(String),
    /// The condition is no SQL expression, or depends on more than the database.
    #[error(
        "the condition of {0} {1}; write an SQL expression over the row that stays the same, as in `where: closed = 1`"
    )]
    Condition(String, String),
}

impl SealedTable {
    /// Reads a table and checks a condition, without reading any row.
    ///
    /// # Errors
    /// Inside, why its rows cannot be sealed; else what any read can meet.
    pub fn read(
        reader: &mut Reader,
        table: &str,
        condition: &str,
    ) -> Result<Result<Self, SealedTableError>, SqliteError> {
        const OPERATION: &str = "read a sealed table";
        let planned = reader.query(OPERATION, |connection| plan(connection, table, condition))?;
        let Ok(table) = planned else { return Ok(planned) };
        let statement = format!("SELECT 1 FROM main.{} WHERE ({condition}\n)", quoted(&table.name));
        let checked = check_pure(&mut reader.connection, condition, &statement)
            .map_err(|error| SqliteError::new(OPERATION, &error, &reader.limits))?;
        Ok(match checked {
            Ok(()) => Ok(table),
            Err(reason) => Err(SealedTableError::Condition(table.name, reason)),
        })
    }

    /// SQL that is true for a final row. The line break ends a comment.
    pub(super) fn filter(&self) -> String {
        format!("ifnull(({}\n), 0)", self.condition)
    }

    /// SQL for the parts of the key.
    pub(super) fn key_sql(&self) -> String {
        self.parts.iter().map(|part| part.sql.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The order of the key, for `ORDER BY`.
    pub(super) fn order(&self) -> String {
        order(&self.parts)
    }

    /// SQL that no part of the key is NULL.
    pub(super) fn has_key(&self) -> String {
        if !self.may_be_null {
            return "1".to_owned();
        }
        let parts = self.parts.iter().map(|part| format!("{} IS NOT NULL", part.sql));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// SQL for the columns that are compared; of UTF-16 text the bytes, and whether it is text.
    pub(super) fn columns_sql(&self) -> String {
        let column = |column: &SealedColumn| {
            let name = quoted(&column.name);
            if self.is_utf16 {
                format!(
                    "CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END, typeof({name}) = 'text'"
                )
            } else {
                name
            }
        };
        self.columns.iter().map(column).collect::<Vec<_>>().join(", ")
    }
}

fn plan(
    connection: &Connection,
    table: &str,
    condition: &str,
) -> rusqlite::Result<Result<SealedTable, SealedTableError>> {
    let shape = match scan_table(connection, table)? {
        Ok(shape) => shape,
        Err(error) => return Ok(Err(of_schema(error))),
    };
    let columns = columns_of(connection, &shape.name)?;
    let Some((parts, from, may_be_null)) = key_and_source(connection, &shape)? else {
        return Ok(Err(SealedTableError::NoKey(shape.name.clone())));
    };
    let in_key = |part: &KeyPart| {
        let found = columns.iter().find(|(column, _)| quoted(&column.name).eq_ignore_ascii_case(&part.sql));
        found.map(|(column, _)| column.clone())
    };
    let Some(key) = parts.iter().map(in_key).collect::<Option<Vec<_>>>() else {
        return Ok(Err(SealedTableError::NoKey(shape.name.clone())));
    };
    let header = raw::read_header(connection)
        .map_err(|code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))?;
    Ok(Ok(SealedTable {
        name: shape.name.clone(),
        key,
        columns: columns.into_iter().filter(|(_, computed)| !computed).map(|(column, _)| column).collect(),
        condition: condition.to_owned(),
        parts,
        from,
        is_utf16: RawHeader::parse(&header).encoding != Encoding::Utf8,
        may_be_null,
        schema_version: shape.schema_version,
    }))
}

fn of_schema(error: SchemaError) -> SealedTableError {
    match error {
        SchemaError::NoTable(table) | SchemaError::NoColumn(table, _) => SealedTableError::NoTable(table),
        SchemaError::NoOrdinaryTable(table, kind) => SealedTableError::NoOrdinaryTable(table, kind),
        SchemaError::ForeignName(table, name) => SealedTableError::ForeignName(table, name),
        SchemaError::HiddenRowId(table) => SealedTableError::NoKey(table),
    }
}

/// The columns, each with whether SQLite computes it when it is read. The columns of the statement
/// are as <https://www.sqlite.org/pragma.html#pragma_table_xinfo> numbers them.
fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(SealedColumn, bool)>> {
    const VIRTUAL_GENERATED: i64 = 2;
    rows_of(connection, &format!("PRAGMA main.table_xinfo({})", quoted(table)), |row| {
        let place = row.number(0).and_then(|place| u32::try_from(place).ok()).unwrap_or_default();
        let column = SealedColumn { name: text_in(row, 1).unwrap_or_default(), place };
        (column, row.number(6) == Some(VIRTUAL_GENERATED))
    })
}

/// The key, what follows `FROM` to go in its order, and whether it may be NULL. The primary key of
/// a table comes before its other unique indexes.
fn key_and_source(
    connection: &Connection,
    shape: &ScanTable,
) -> rusqlite::Result<Option<(Vec<KeyPart>, String, bool)>> {
    let table = format!("main.{}", quoted(&shape.name));
    if shape.without_rowid {
        return Ok(Some((key_of(shape, None), table, false)));
    }
    let has_key_index = shape.indexes.iter().any(|index| index.is_primary_key);
    if let Some(row_id) = shape.row_id().filter(|_| !has_key_index) {
        let part = KeyPart { sql: quoted(row_id), descending: false };
        return Ok(Some((vec![part], format!("{table} NOT INDEXED"), false)));
    }
    let not_null = not_null_columns(connection, &shape.name)?;
    let mut indexes: Vec<&Index> = shape.unique_indexes().filter(|index| !is_not_utf8(&index.name)).collect();
    let may_be_null = |index: &Index| {
        !index.columns.iter().all(|column| column.name.as_ref().is_some_and(|name| not_null.contains(name)))
    };
    indexes.sort_by_key(|index| (!index.is_primary_key, may_be_null(index), index.name.clone()));
    for index in indexes {
        let parts = parts_of(index);
        let from = format!("{table} INDEXED BY {}", quoted(&index.name));
        if is_in_order(connection, &parts, &from)? {
            return Ok(Some((parts, from, may_be_null(index))));
        }
    }
    Ok(None)
}

fn parts_of(index: &Index) -> Vec<KeyPart> {
    let backward = index.is_descending();
    let part = |column: &super::schema::IndexColumn| KeyPart {
        sql: quoted(column.name.as_deref().unwrap_or_default()),
        descending: column.descending != backward,
    };
    index.columns.iter().map(part).collect()
}

fn not_null_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let rows = rows_of(connection, &format!("PRAGMA main.table_xinfo({})", quoted(table)), |row| {
        (row.number(3) == Some(1)).then(|| text_in(row, 1)).flatten()
    })?;
    Ok(rows.into_iter().flatten().collect())
}

/// Whether SQLite finds a place of the key and goes on from there without sorting. An index with
/// another collation than its columns does not serve.
fn is_in_order(connection: &Connection, parts: &[KeyPart], from: &str) -> rusqlite::Result<bool> {
    let numbers: Vec<String> = (1..=parts.len()).map(|number| format!("?{number}")).collect();
    let place = compare(parts, (true, true), &numbers);
    let sql = format!("EXPLAIN QUERY PLAN SELECT 1 FROM {from} WHERE {place} ORDER BY {}", order(parts));
    let mut statement = match connection.prepare(&sql) {
        Err(rusqlite::Error::SqliteFailure(..) | rusqlite::Error::SqlInputError { .. }) => return Ok(false),
        other => other?,
    };
    let nulls = parts.iter().map(|_| rusqlite::types::Null);
    let details =
        statement.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>("detail"))?;
    let details = details.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(details.iter().any(|detail| detail.starts_with("SEARCH"))
        && !details.iter().any(|detail| detail.contains("TEMP B-TREE")))
}

fn order(parts: &[KeyPart]) -> String {
    let part = |part: &KeyPart| format!("{}{}", part.sql, if part.descending { " DESC" } else { "" });
    parts.iter().map(part).collect::<Vec<_>>().join(", ")
}
