//! What the tables of a database are made of: columns, indexes, foreign keys, statistics.
//!
//! By PRAGMA statements alone: a table-valued function could be hidden behind a view of the same name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::ErrorKind;
use super::error::SqliteError;
use super::full_text::full_text_indexes;
use super::names::rows_of;
use super::names::text_in;
use super::query_source::QuerySource;
use super::raw;
use super::reader::Reader;
use super::tables::RowCount;
use super::tables::quoted;

/// The most tables that are taken apart; each costs some 100 µs.
const MAX_ANATOMIES: usize = 5_000;

/// An ordinary table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anatomy {
    /// Its name.
    pub name: String,
    /// Its columns: name and declared type.
    pub columns: Vec<(String, String)>,
    /// The columns of its primary key, in order.
    pub primary_key: Vec<String>,
    /// Indexes over all rows, those of keys among them, each with its columns in order; `None` stands for an expression.
    pub indexes: Vec<(String, Vec<Option<String>>)>,
    /// Foreign keys: the table that each refers to, and its own columns.
    pub foreign_keys: Vec<(String, Vec<String>)>,
    /// Rows as the statistics of the last ANALYZE have them.
    pub analyzed_rows: Option<i64>,
    /// Rows; `Unknown` where nothing asks for them.
    pub rows: RowCount,
}

impl Anatomy {
    /// Whether rows with a given value of these columns are found without looking at all: the columns, in whatever
    /// order, begin an index or the primary key.
    #[must_use]
    pub fn has_index_on(&self, wanted: &[String]) -> bool {
        let begins = |columns: &[Option<String>]| {
            let first = columns.get(..wanted.len()).unwrap_or_default();
            first.len() == wanted.len()
                && wanted
                    .iter()
                    .all(|want| first.iter().flatten().any(|have| have.eq_ignore_ascii_case(want)))
        };
        self.indexes.iter().any(|(_, columns)| begins(columns))
            || self.row_id().is_some_and(|column| begins(&[Some(column.to_owned())]))
    }

    /// The column that is the row id under a name of its own: an `INTEGER PRIMARY KEY`.
    #[must_use]
    pub fn row_id(&self) -> Option<&str> {
        let [key] = self.primary_key.as_slice() else { return None };
        let is_integer =
            |(name, declared): &&(String, String)| name == key && declared.eq_ignore_ascii_case("INTEGER");
        self.columns.iter().find(is_integer).map(|(name, _)| name.as_str())
    }

    /// The statement that would make an index on columns.
    #[must_use]
    pub fn create_index(&self, columns: &[String]) -> String {
        let name = quoted(&format!("{}_by_{}", self.name, columns.join("_")));
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        format!("CREATE INDEX {name} ON {} ({});", quoted(&self.name), columns.join(", "))
    }
}

/// The tables of a database, as far as the time sufficed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseSchema {
    /// Those that were taken apart.
    pub tables: Vec<Anatomy>,
    /// How many ordinary tables there are.
    pub of: usize,
    /// Whether there are statistics of any table.
    pub has_statistics: bool,
    /// Full-text indexes of another table's rows: the index, and the table.
    pub full_text: Vec<(String, String)>,
}

impl Reader {
    /// Takes the tables apart, and counts those of which `counts` says that their rows matter, each within `limit`.
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, and what any read can meet.
    pub fn anatomies(
        &mut self,
        limit: Duration,
        counts: impl Fn(&Anatomy) -> bool,
    ) -> Result<DatabaseSchema, SqliteError> {
        let names = self.ordinary_tables()?;
        let statistics = self.statistics()?;
        let mut found = DatabaseSchema {
            tables: Vec::new(),
            of: names.len(),
            has_statistics: !statistics.is_empty(),
            full_text: self.full_text()?,
        };
        for name in names.into_iter().take(MAX_ANATOMIES) {
            let taken = self.anatomy(name, &statistics).and_then(|mut table| {
                if counts(&table) {
                    table.rows = self.count_rows(&table.name, limit)?;
                }
                Ok(table)
            });
            match taken {
                Ok(table) => found.tables.push(table),
                Err(error) if error.kind() == ErrorKind::DeadlineExceeded => break,
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn list<T>(&self, sql: &str, read: impl FnMut(&raw::Statement<'_>) -> T) -> Result<Vec<T>, SqliteError> {
        rows_of(&self.connection, sql, read)
            .map_err(|error| SqliteError::new("take the tables apart", &error, &self.limits))
    }

    fn ordinary_tables(&self) -> Result<Vec<String>, SqliteError> {
        let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 \
                   AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
        self.list(sql, |row| text_in(row, 0).unwrap_or_default())
    }

    fn full_text(&self) -> Result<Vec<(String, String)>, SqliteError> {
        let found = self.query("look for full-text indexes", full_text_indexes)?;
        Ok(found.into_iter().map(|index| (index.name, index.content)).collect())
    }

    fn statistics(&self) -> Result<BTreeMap<String, i64>, SqliteError> {
        if self.table("sqlite_stat1")?.is_none() {
            return Ok(BTreeMap::new());
        }
        // The first number of a statistic is the rows of its index; a partial index has fewer.
        let sql = "SELECT lower(tbl), max(CAST(stat AS INTEGER)) FROM main.sqlite_stat1 \
                   WHERE tbl IS NOT NULL AND stat IS NOT NULL GROUP BY 1";
        let rows = self.list(sql, |row| text_in(row, 0).zip(row.number(1)))?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn anatomy(&self, name: String, statistics: &BTreeMap<String, i64>) -> Result<Anatomy, SqliteError> {
        let argument = quoted(&name);
        let mut key: Vec<(i64, String)> = Vec::new();
        // The columns of these as <https://www.sqlite.org/pragma.html> has them.
        let text = |row: &raw::Statement<'_>, column| text_in(row, column).unwrap_or_default();
        let columns = self.list(&format!("PRAGMA main.table_xinfo({argument})"), |row| {
            let (column, declared) = (text(row, 1), text(row, 2));
            if let Some(place) = row.number(5).filter(|place| *place > 0) {
                key.push((place, column.clone()));
            }
            (column, declared)
        })?;
        key.sort();
        let whole: Vec<String> = self
            .list(&format!("PRAGMA main.index_list({argument})"), |row| {
                (text(row, 1), row.number(4) == Some(1))
            })?
            .into_iter()
            .filter_map(|(index, partial)| (!partial).then_some(index))
            .collect();
        let mut indexes = Vec::new();
        for index in whole {
            let columns = self.list(&format!("PRAGMA main.index_xinfo({})", quoted(&index)), |row| {
                (row.number(5) == Some(1), text_in(row, 2))
            })?;
            let columns = columns.into_iter().filter_map(|(key, column)| key.then_some(column)).collect();
            indexes.push((index, columns));
        }
        let foreign_keys = self.foreign_keys_of(&argument)?;
        Ok(Anatomy {
            columns,
            primary_key: key.into_iter().map(|(_, column)| column).collect(),
            indexes,
            foreign_keys,
            analyzed_rows: statistics.get(&name.to_ascii_lowercase()).copied(),
            rows: RowCount::Unknown,
            name,
        })
    }

    fn foreign_keys_of(&self, argument: &str) -> Result<Vec<(String, Vec<String>)>, SqliteError> {
        let rows = self.list(&format!("PRAGMA main.foreign_key_list({argument})"), |row| {
            let text = |column| text_in(row, column).unwrap_or_default();
            (row.number(0).unwrap_or_default(), text(2), text(3))
        })?;
        let mut keys: BTreeMap<i64, (String, Vec<String>)> = BTreeMap::new();
        for (id, parent, column) in rows {
            keys.entry(id).or_insert_with(|| (parent, Vec::new())).1.push(column);
        }
        Ok(keys.into_values().collect())
    }
}
