//! What a table is made of, as far as deleting from it needs to know.

use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::names::Name;
use super::names::bound;
use super::names::is_not_utf8;
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
    /// Which parts of the key are stored from the largest value down.
    pub key_descending: Vec<bool>,
    /// Whether SQLite finds a range of the key's first column by the key.
    pub key_bounds: bool,
    /// Its indexes, but for the key of a table WITHOUT ROWID.
    pub indexes: Vec<Index>,
    /// Triggers that a DELETE fires.
    pub delete_triggers: Vec<String>,
    /// Tables whose foreign keys refer to this one.
    pub referenced_by: Vec<String>,
    /// The schema cookie before all this was read: while it stays, so does the shape.
    pub schema_version: u32,
}

/// An index of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its first column; `None` for an expression.
    pub first: Option<String>,
    /// The collation of its first column.
    pub collation: String,
    /// Whether it begins with the largest value.
    pub descending: bool,
    /// Whether it has only some of the rows.
    pub partial: bool,
    /// Whether SQLite finds a range of its first column by it, as its planner says.
    pub bounds: bool,
}

/// Why rows cannot be deleted from something in batches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
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
        "the name {1} of the table {0} or of one of its columns is not UTF-8; such a table is checked, counted and backed \
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
    /// The index by which a range of a column is found; `None` when rows must be walked by their key. A primary key that
    /// begins with the column needs no index, see [`TableShape::key_begins_with`].
    #[must_use]
    pub fn index_on(&self, column: &str) -> Option<&Index> {
        let serves = |index: &&Index| {
            index.bounds && index.first.as_deref().is_some_and(|first| first.eq_ignore_ascii_case(column))
        };
        self.indexes.iter().filter(serves).min_by_key(|index| index.descending)
    }

    /// Whether the rows lie in the order of a column.
    #[must_use]
    pub fn key_begins_with(&self, column: &str) -> bool {
        self.key_bounds && self.key.first().is_some_and(|first| first.eq_ignore_ascii_case(&quoted(column)))
    }

    /// Why the indexes that seem to be on a column do not find its ranges; `None` where there are none.
    #[must_use]
    pub fn index_problem(&self, column: &str) -> Option<String> {
        let is_on =
            |index: &&Index| index.first.as_deref().is_some_and(|first| first.eq_ignore_ascii_case(column));
        let problem = |index: &Index| {
            let name = &index.name;
            if index.partial {
                format!("the index {name} has only some of the rows (WHERE)")
            } else {
                format!(
                    "the index {name} has the collation {}, which is not that of the column",
                    index.collation
                )
            }
        };
        let mut problems: Vec<String> =
            self.indexes.iter().filter(is_on).filter(|index| !index.bounds).map(problem).collect();
        if !self.key_bounds
            && self.key.first().is_some_and(|first| first.eq_ignore_ascii_case(&quoted(column)))
        {
            problems.push("the primary key has another collation than the column".to_owned());
        }
        if problems.is_empty() {
            let expressions: Vec<&str> = self
                .indexes
                .iter()
                .filter(|index| index.first.is_none())
                .map(|index| index.name.as_str())
                .collect();
            return (!expressions.is_empty())
                .then(|| format!("an index on an expression ({}) does not help", expressions.join(", ")));
        }
        Some(problems.join(", "))
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
    pub fn column(&self, name: &str) -> Result<&str, SchemaError> {
        let found = self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
        let missing = || SchemaError::NoColumn(self.name.clone(), name.to_owned());
        found.map(|column| column.name.as_str()).ok_or_else(missing)
    }
}

/// What a table is made of.
pub(super) fn shape(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Result<TableShape, SchemaError>> {
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
    let (columns, primary) = columns_of(connection, &name)?;
    let mut names = std::iter::once(&name).chain(columns.iter().map(|column| &column.name));
    if let Some(foreign) = names.find(|name| is_not_utf8(name)) {
        return Ok(Err(SchemaError::ForeignName(name.clone(), foreign.clone())));
    }
    let Some(key) = key_in(connection, &name, without_rowid, (&columns, &primary))? else {
        return Ok(Err(SchemaError::HiddenRowId(name)));
    };
    let (key_descending, key_bounds) = match primary.first().filter(|_| without_rowid) {
        Some((_, first)) => {
            let bounds = finds_range(connection, &format!("main.{}", quoted(&name)), first, "PRIMARY KEY")?;
            (primary_directions(connection, &name, key.len())?, bounds)
        }
        None => (vec![false; key.len()], true),
    };
    let indexes = indexes(connection, &name)?;
    let (delete_triggers, referenced_by) = (triggers(connection, &name)?, referrers(connection, &name)?);
    Ok(Ok(TableShape {
        name,
        columns,
        without_rowid,
        strict,
        key,
        key_descending,
        key_bounds,
        indexes,
        delete_triggers,
        referenced_by,
        schema_version,
    }))
}

/// Columns, and the primary key's by their places in it.
type Columns = (Vec<Column>, Vec<(i64, String)>);

fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Columns> {
    let sql = "SELECT name, type, pk FROM pragma_table_xinfo(?1) ORDER BY cid";
    let (mut columns, mut primary) = (Vec::new(), Vec::new());
    let mut statement = connection.prepare(sql)?;
    let rows =
        statement.query_map([bound(table)], |row| Ok((name_in(row, 0)?, name_in(row, 1)?, row.get(2)?)))?;
    for row in rows {
        let (name, declared, place): (String, String, i64) = row?;
        if place > 0 {
            primary.push((place, name.clone()));
        }
        columns.push(Column { name, declared });
    }
    primary.sort();
    Ok((columns, primary))
}

/// SQL for the columns that find a row of a table; `None` where columns of its own hide the row id.
pub(super) fn key_of(connection: &Connection, table: &str) -> rusqlite::Result<Option<Vec<String>>> {
    let sql = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    let without_rowid: Option<bool> =
        connection.query_row(sql, [bound(table)], |row| row.get(0)).optional()?;
    let (columns, primary) = columns_of(connection, table)?;
    key_in(connection, table, without_rowid.unwrap_or(false), (&columns, &primary))
}

fn key_in(
    connection: &Connection,
    table: &str,
    without_rowid: bool,
    (columns, primary): (&[Column], &[(i64, String)]),
) -> rusqlite::Result<Option<Vec<String>>> {
    if without_rowid {
        return Ok(Some(primary.iter().map(|(_, column)| quoted(column)).collect()));
    }
    Ok(row_id(connection, table, (columns, primary))?.map(|row_id| vec![row_id]))
}

/// Which parts of the primary key of a table WITHOUT ROWID are stored from the largest value down.
fn primary_directions(connection: &Connection, table: &str, parts: usize) -> rusqlite::Result<Vec<bool>> {
    let sql = "SELECT x.\"desc\" FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS x \
               WHERE l.origin = 'pk' AND x.key ORDER BY x.seqno";
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([bound(table)], |row| row.get(0))?;
    let mut directions = found.collect::<rusqlite::Result<Vec<bool>>>()?;
    directions.resize(parts, false);
    Ok(directions)
}

/// Whether SQLite's planner finds a range of a column in a table by something whose words have `by` in them, without reading
/// all rows. `from` may name an index.
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

/// SQL for the row id. An `INTEGER PRIMARY KEY` is the row id under its own name, unless it has an index of its own, as an
/// `INTEGER PRIMARY KEY DESC` has: that is a column like any other (<https://www.sqlite.org/lang_createtable.html#rowid>).
fn row_id(
    connection: &Connection,
    table: &str,
    (columns, primary): (&[Column], &[(i64, String)]),
) -> rusqlite::Result<Option<String>> {
    let is_integer =
        |name: &str| columns.iter().any(|c| c.name == name && c.declared.eq_ignore_ascii_case("INTEGER"));
    if let [(_, only)] = primary
        && is_integer(only)
    {
        let sql = "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
        if !connection.query_row(sql, [bound(table)], |row| row.get::<_, bool>(0))? {
            return Ok(Some(quoted(only)));
        }
    }
    let taken = |name: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    Ok(["rowid", "_rowid_", "oid"].into_iter().find(|name| !taken(name)).map(str::to_owned))
}

/// The indexes of a table. That of a primary key WITHOUT ROWID is the table itself, and no INDEXED BY may name it.
fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Index>> {
    let sql = "SELECT l.name, l.partial, x.name, x.coll, x.\"desc\" FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS x \
               WHERE x.seqno = 0 AND EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'index' AND name = l.name)";
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([bound(table)], |row| {
        Ok(Index {
            name: name_in(row, 0)?,
            partial: row.get(1)?,
            first: row.get::<_, Option<Name>>(2)?.map(|Name(name)| name),
            collation: name_in(row, 3)?,
            descending: row.get(4)?,
            bounds: false,
        })
    })?;
    let mut found = found.collect::<rusqlite::Result<Vec<_>>>()?;
    for index in found.iter_mut().filter(|index| !index.partial && !is_not_utf8(&index.name)) {
        if let Some(first) = &index.first {
            let from = format!("main.{} INDEXED BY {}", quoted(table), quoted(&index.name));
            index.bounds = finds_range(connection, &from, first, "INDEX")?;
        }
    }
    Ok(found)
}

/// Indexes over all rows, that of the key among them, each with its columns in order; `None` stands for an expression.
pub(super) fn whole_indexes(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Vec<(String, Vec<Option<String>>)>> {
    let sql = "SELECT l.name, x.name FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS x \
               WHERE NOT l.partial AND x.key ORDER BY l.seq, x.seqno";
    let mut found: Vec<(String, Vec<Option<String>>)> = Vec::new();
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([bound(table)])?;
    while let Some(row) = rows.next()? {
        let (index, column) = (name_in(row, 0)?, row.get::<_, Option<Name>>(1)?.map(|Name(name)| name));
        match found.last_mut().filter(|(last, _)| *last == index) {
            Some((_, columns)) => columns.push(column),
            None => found.push((index, vec![column])),
        }
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
