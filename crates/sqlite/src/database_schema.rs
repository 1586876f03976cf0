//! The ordinary tables of a database with their row counts and statistics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::ErrorKind;
use super::error::SqliteError;
use super::full_text::full_text_indexes;
use super::names::rows_of;
use super::names::text_in;
use super::query_source::QuerySource;
use super::reader::Reader;
use super::schema::TableSchema;
use super::tables::RowCount;

/// The most tables whose schema is read; each costs some 100 µs.
const MAX_TABLES: usize = 5_000;

/// A table with its statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStatistics {
    /// Its schema.
    pub schema: TableSchema,
    /// Rows as the statistics of the last ANALYZE have them.
    pub analyzed_rows: Option<i64>,
    /// Rows; `Unknown` where they were not counted.
    pub rows: RowCount,
}

/// The tables of a database, as far as the time sufficed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseSchema {
    /// Tables whose schema was read.
    pub tables: Vec<TableStatistics>,
    /// How many ordinary tables there are.
    pub table_count: usize,
    /// Whether there are statistics of any table.
    pub has_statistics: bool,
    /// Full-text indexes of another table's rows: the index, and the table.
    pub full_text: Vec<(String, String)>,
}

impl Reader {
    /// Reads the schema of every ordinary table, and counts the rows of those that `wants_rows`
    /// selects, each within `timeout`.
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, and what any read can meet.
    pub fn database_schema(
        &mut self,
        timeout: Duration,
        wants_rows: impl Fn(&TableStatistics) -> bool,
    ) -> Result<DatabaseSchema, SqliteError> {
        let names = self.ordinary_tables()?;
        let statistics = self.statistics()?;
        let mut found = DatabaseSchema {
            tables: Vec::new(),
            table_count: names.len(),
            has_statistics: !statistics.is_empty(),
            full_text: self.full_text()?,
        };
        for name in names.into_iter().take(MAX_TABLES) {
            let schema = self.query("read the schema", |connection| TableSchema::read(connection, name));
            let read = schema.and_then(|schema| {
                let analyzed_rows = statistics.get(&schema.name.to_ascii_lowercase()).copied();
                let mut table = TableStatistics { schema, analyzed_rows, rows: RowCount::Unknown };
                if wants_rows(&table) {
                    table.rows = self.count_rows(&table.schema.name, timeout)?;
                }
                Ok(table)
            });
            match read {
                Ok(table) => found.tables.push(table),
                Err(error) if error.kind() == ErrorKind::DeadlineExceeded => break,
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn ordinary_tables(&self) -> Result<Vec<String>, SqliteError> {
        let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 \
                   AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
        self.query("list the tables", |connection| {
            rows_of(connection, sql, |row| text_in(row, 0).unwrap_or_default())
        })
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
        let rows = self.query("read the statistics", |connection| {
            rows_of(connection, sql, |row| text_in(row, 0).zip(row.number(1)))
        })?;
        Ok(rows.into_iter().flatten().collect())
    }
}
