//! What a table is made of, as far as deleting from it needs to know.

use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::names::Name;
use super::names::bound;
use super::names::is_foreign;
use super::names::name_in;
use super::tables::quoted;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type that the schema declares, maybe empty.
    pub declared: String,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableShape {
    /// The name as the schema spells it.
    pub name: String,
    /// Every column that a SELECT can name.
    pub columns: Vec<Column>,
    /// Whether its primary key takes the place of a row id.
    pub without_rowid: bool,
    /// Whether it is STRICT, where a column of the type ANY takes every value as it comes.
    pub strict: bool,
    /// SQL for the columns that find a row: the row id, or the primary key of a table WITHOUT ROWID.
    pub key: Vec<String>,
    /// Indexes over all rows, each with its columns in order; `None` stands for an expression or the row id.
    pub indexes: Vec<(String, Vec<Option<String>>)>,
    /// Triggers that a DELETE fires.
    pub delete_triggers: Vec<String>,
    /// Tables whose foreign keys refer to this one.
    pub referenced_by: Vec<String>,
    /// The schema cookie before all this was read: while it stays, so does the shape.
    pub schema_version: u32,
}

/// Why rows cannot be deleted from something in batches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeProblem {
    /// There is none of that name.
    #[error("there is no table {0}")]
    NoTable(String),
    /// It is no ordinary table.
    #[error("{0} is a {1}; only ordinary tables can be cleaned")]
    NoOrdinaryTable(String, &'static str),
    /// The table has none of that name.
    #[error("the table {0} has no column {1}")]
    NoColumn(String, String),
    /// Its rows cannot be named in SQL that is UTF-8.
    #[error(
        "the name {1} of the table {0}, one of its columns or indexes is not UTF-8; such a table is checked, counted and backed \
         up, and its rows are not deleted"
    )]
    ForeignName(String, String),
    /// Every name of the row id is taken by a column.
    #[error(
        "the table {0} hides its row id behind columns of its own, so its rows cannot be walked in order"
    )]
    HiddenRowId(String),
}

impl TableShape {
    /// The first index that begins with a column; `None` when rows must be walked by their key. A primary key that
    /// begins with the column needs no index, see [`TableShape::key_begins_with`].
    #[must_use]
    pub fn index_on(&self, column: &str) -> Option<&str> {
        let begins = |columns: &[Option<String>]| {
            columns.first().and_then(Option::as_deref).is_some_and(|first| first.eq_ignore_ascii_case(column))
        };
        self.indexes.iter().find(|(_, columns)| begins(columns)).map(|(name, _)| name.as_str())
    }

    /// Whether the rows lie in the order of a column.
    #[must_use]
    pub fn key_begins_with(&self, column: &str) -> bool {
        self.key.first().is_some_and(|first| first.eq_ignore_ascii_case(&quoted(column)))
    }

    /// The statement that would make an index on a column.
    #[must_use]
    pub fn create_index(&self, column: &str) -> String {
        let name = quoted(&format!("{}_by_{column}", self.name));
        format!("CREATE INDEX {name} ON {} ({});", quoted(&self.name), quoted(column))
    }

    /// A column as the schema spells it.
    ///
    /// # Errors
    /// The table has none of that name.
    pub fn column(&self, name: &str) -> Result<&str, ShapeProblem> {
        let found = self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
        let missing = || ShapeProblem::NoColumn(self.name.clone(), name.to_owned());
        found.map(|column| column.name.as_str()).ok_or_else(missing)
    }
}

/// What a table is made of.
pub(super) fn shape(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Result<TableShape, ShapeProblem>> {
    let schema_version = schema_version(connection)?;
    let sql = "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    let found: Option<(String, String, bool, bool)> = connection
        .query_row(sql, [bound(table)], |row| Ok((name_in(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((name, kind, without_rowid, strict)) = found else {
        return Ok(Err(ShapeProblem::NoTable(table.to_owned())));
    };
    let kind = match kind.as_str() {
        "table" => None,
        "view" => Some("view"),
        "virtual" => Some("virtual table"),
        _ => Some("table that a virtual one keeps for itself"),
    };
    if let Some(kind) = kind {
        return Ok(Err(ShapeProblem::NoOrdinaryTable(name, kind)));
    }
    let sql = "SELECT name, type, pk FROM pragma_table_xinfo(?1) ORDER BY cid";
    let mut columns = Vec::new();
    let mut primary: Vec<(i64, String)> = Vec::new();
    for row in connection
        .prepare(sql)?
        .query_map([bound(&name)], |row| Ok((name_in(row, 0)?, name_in(row, 1)?, row.get(2)?)))?
    {
        let (column, declared, pk): (String, String, i64) = row?;
        if pk > 0 {
            primary.push((pk, column.clone()));
        }
        columns.push(Column { name: column, declared });
    }
    primary.sort();
    let key = if without_rowid {
        primary.iter().map(|(_, column)| quoted(column)).collect()
    } else {
        match row_id(&columns, &primary) {
            Some(row_id) => vec![row_id],
            None => return Ok(Err(ShapeProblem::HiddenRowId(name))),
        }
    };
    let indexes = indexes(connection, &name)?;
    let names = std::iter::once(&name).chain(columns.iter().map(|column| &column.name));
    if let Some(foreign) = names.chain(indexes.iter().map(|(index, _)| index)).find(|name| is_foreign(name)) {
        return Ok(Err(ShapeProblem::ForeignName(name.clone(), foreign.clone())));
    }
    let (delete_triggers, referenced_by) = (triggers(connection, &name)?, referrers(connection, &name)?);
    Ok(Ok(TableShape {
        name,
        columns,
        without_rowid,
        strict,
        key,
        indexes,
        delete_triggers,
        referenced_by,
        schema_version,
    }))
}

/// The schema cookie, which every change of the schema moves.
pub(super) fn schema_version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.prepare_cached("PRAGMA main.schema_version")?.query_row((), |row| row.get(0))
}

/// SQL for the row id. An `INTEGER PRIMARY KEY` is the row id under its own name.
fn row_id(columns: &[Column], primary: &[(i64, String)]) -> Option<String> {
    let is_integer =
        |name: &str| columns.iter().any(|c| c.name == name && c.declared.eq_ignore_ascii_case("INTEGER"));
    if let [(_, only)] = primary
        && is_integer(only)
    {
        return Some(quoted(only));
    }
    let taken = |name: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| !taken(name)).map(str::to_owned)
}

fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, Vec<Option<String>>)>> {
    let mut found = Vec::new();
    // The index of a primary key WITHOUT ROWID is the table itself, and no INDEXED BY may name it.
    let sql = "SELECT l.name FROM pragma_index_list(?1) AS l \
               WHERE NOT l.partial AND EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'index' AND name = l.name)";
    let mut statement = connection.prepare(sql)?;
    for index in statement.query_map([bound(table)], |row| name_in(row, 0))? {
        let index = index?;
        let mut columns =
            connection.prepare("SELECT name FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
        let columns = columns
            .query_map([bound(&index)], |row| Ok(row.get::<_, Option<Name>>(0)?.map(|Name(name)| name)))?
            .collect::<rusqlite::Result<_>>()?;
        found.push((index, columns));
    }
    Ok(found)
}

/// Triggers that fire before or after a DELETE. The schema's text says which those are; what stands in a comment or a
/// name there may make one too many, which is only said and does no harm.
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
