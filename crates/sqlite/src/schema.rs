//! The schema of one ordinary table: columns, keys, indexes, foreign keys.
//!
//! It is read by PRAGMA statements alone: a table-valued function could be hidden behind a view of
//! the same name.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::names::rows_of;
use super::names::text_in;
use super::raw;
use super::tables::quoted;

/// The schema of an ordinary table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSchema {
    /// The name as the schema spells it.
    pub name: String,
    /// Every column that a SELECT can name.
    pub columns: Vec<Column>,
    /// The columns of its primary key, in order.
    pub primary_key: Vec<String>,
    /// Its indexes, those of keys among them.
    pub indexes: Vec<Index>,
    /// Its references to other tables.
    pub foreign_keys: Vec<ForeignKey>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type that the schema declares, maybe empty.
    pub declared: String,
}

/// An index of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its key, without the row id at the end of each entry.
    pub columns: Vec<IndexColumn>,
    /// Whether a WHERE clause leaves rows out of it.
    pub partial: bool,
    /// Whether no two rows may be equal in its columns, NULL aside.
    pub unique: bool,
    /// Whether it exists for the primary key; in a table WITHOUT ROWID it is the table itself then.
    pub is_primary_key: bool,
}

/// A column of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexColumn {
    /// Its name; `None` for an expression.
    pub name: Option<String>,
    /// Its collation.
    pub collation: String,
    /// Whether it is stored from the largest value down.
    pub descending: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The table that it refers to.
    pub parent: String,
    /// The table's own columns.
    pub columns: Vec<String>,
}

/// Why rows cannot be deleted from something in batches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// There is none of that name.
    #[error("there is no table {0}")]
    NoTable(String),
    /// It is not an ordinary table.
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

impl Index {
    /// Whether its first column is the one of this name.
    #[must_use]
    pub fn begins_with(&self, column: &str) -> bool {
        let first = self.columns.first().and_then(|first| first.name.as_deref());
        first.is_some_and(|first| first.eq_ignore_ascii_case(column))
    }

    /// Whether its entries begin with the largest value.
    #[must_use]
    pub fn is_descending(&self) -> bool {
        self.columns.first().is_some_and(|first| first.descending)
    }

    /// Whether its first columns are these, in any order.
    pub(super) fn begins_with_all(&self, wanted: &[String]) -> bool {
        let is_wanted = |column: &IndexColumn| {
            column.name.as_ref().is_some_and(|name| wanted.iter().any(|want| want.eq_ignore_ascii_case(name)))
        };
        self.columns.get(..wanted.len()).is_some_and(|first| first.iter().all(is_wanted))
    }
}

impl TableSchema {
    /// Indexes that have an entry for each row.
    pub fn complete_indexes(&self) -> impl Iterator<Item = &Index> {
        self.indexes.iter().filter(|index| !index.partial)
    }

    /// Whether SQLite finds the rows with given values of these columns without a scan of the
    /// table: in any order, the columns begin an index or the primary key.
    #[must_use]
    pub fn has_index_on(&self, wanted: &[String]) -> bool {
        let is_row_id = |row_id: &str| wanted.len() == 1 && wanted[0].eq_ignore_ascii_case(row_id);
        self.complete_indexes().any(|index| index.begins_with_all(wanted))
            || self.row_id().is_some_and(is_row_id)
    }

    /// The column that is the row id under a name of its own: an `INTEGER PRIMARY KEY`.
    #[must_use]
    pub fn row_id(&self) -> Option<&str> {
        let [key] = self.primary_key.as_slice() else { return None };
        self.columns
            .iter()
            .find(|column| column.name == *key && column.declared.eq_ignore_ascii_case("INTEGER"))
            .map(|column| column.name.as_str())
    }

    /// The statement that creates an index on columns.
    #[must_use]
    pub fn create_index(&self, columns: &[impl AsRef<str>]) -> String {
        let columns: Vec<&str> = columns.iter().map(AsRef::as_ref).collect();
        let name = quoted(&format!("{}_by_{}", self.name, columns.join("_")));
        let columns: Vec<String> = columns.into_iter().map(quoted).collect();
        format!("CREATE INDEX {name} ON {} ({});", quoted(&self.name), columns.join(", "))
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

    /// Reads the schema of an ordinary table by its name.
    pub(super) fn read(connection: &Connection, name: String) -> rusqlite::Result<Self> {
        let argument = quoted(&name);
        let (columns, primary_key) = columns_of(connection, &argument)?;
        let (indexes, foreign_keys) =
            (indexes_of(connection, &argument)?, foreign_keys_of(connection, &argument)?);
        Ok(Self { name, columns, primary_key, indexes, foreign_keys })
    }
}

/// The columns of these statements are as <https://www.sqlite.org/pragma.html> numbers them.
fn text(row: &raw::Statement<'_>, column: i32) -> String {
    text_in(row, column).unwrap_or_default()
}

fn columns_of(connection: &Connection, argument: &str) -> rusqlite::Result<(Vec<Column>, Vec<String>)> {
    let mut key: Vec<(i64, String)> = Vec::new();
    let columns = rows_of(connection, &format!("PRAGMA main.table_xinfo({argument})"), |row| {
        let column = Column { name: text(row, 1), declared: text(row, 2) };
        if let Some(place) = row.number(5).filter(|place| *place > 0) {
            key.push((place, column.name.clone()));
        }
        column
    })?;
    key.sort();
    Ok((columns, key.into_iter().map(|(_, column)| column).collect()))
}

fn indexes_of(connection: &Connection, argument: &str) -> rusqlite::Result<Vec<Index>> {
    let mut indexes = rows_of(connection, &format!("PRAGMA main.index_list({argument})"), |row| Index {
        name: text(row, 1),
        columns: Vec::new(),
        unique: row.number(2) == Some(1),
        partial: row.number(4) == Some(1),
        is_primary_key: text(row, 3) == "pk",
    })?;
    for index in &mut indexes {
        let sql = format!("PRAGMA main.index_xinfo({})", quoted(&index.name));
        let columns = rows_of(connection, &sql, |row| {
            let column = IndexColumn {
                name: text_in(row, 2),
                collation: text(row, 4),
                descending: row.number(3) == Some(1),
            };
            (row.number(5) == Some(1)).then_some(column)
        })?;
        index.columns = columns.into_iter().flatten().collect();
    }
    Ok(indexes)
}

fn foreign_keys_of(connection: &Connection, argument: &str) -> rusqlite::Result<Vec<ForeignKey>> {
    let rows = rows_of(connection, &format!("PRAGMA main.foreign_key_list({argument})"), |row| {
        (row.number(0).unwrap_or_default(), text(row, 2), text(row, 3))
    })?;
    let mut keys: BTreeMap<i64, ForeignKey> = BTreeMap::new();
    for (id, parent, column) in rows {
        keys.entry(id).or_insert_with(|| ForeignKey { parent, columns: Vec::new() }).columns.push(column);
    }
    Ok(keys.into_values().collect())
}
