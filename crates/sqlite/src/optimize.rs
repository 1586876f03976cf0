//! The statistics by which SQLite's query planner chooses indexes: which are missing or stale, and
//! new ones.

use std::time::Duration;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::span::Operation;

use super::error::SqliteError;
use super::names::bound;
use super::names::execute;
use super::names::name_in;
use super::names::number_of;
use super::names::prepare;
use super::reader::Reader;
use super::stand_in::with_any_collation;
use super::tables::quoted;
use super::writer::Locked;
use super::writer::Writer;

/// What SQLite assumes of a table without statistics.
const ASSUMED_ROWS: f64 = 1_048_576.0;

/// Statistics are stale when a table has grown or shrunk by this.
const STALE_FACTOR: f64 = 10.0;

/// A table whose statistics are to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// The table.
    pub table: String,
}

impl Writer {
    /// The tables of which `PRAGMA optimize` would make new statistics: those with an index that
    /// has none, and those that have grown or shrunk tenfold since
    /// (<https://www.sqlite.org/pragma.html#pragma_optimize>). Empty tables are left out, as they
    /// would be listed for ever.
    ///
    /// SQLite begins a write transaction for it, which lasts as long as reading the size of every
    /// table.
    ///
    /// # Errors
    /// `Busy`, and what any read can meet.
    pub fn stale_statistics(&self) -> Result<Locked<Vec<Analysis>>, SqliteError> {
        /// 0x00001 lists the statements in place of running them, 0x00002 is ANALYZE, and 0x10000
        /// looks at every table: those that this connection queried, which is the default, are
        /// none.
        const LIST_ALL: &str = "PRAGMA main.optimize(0x10003)";
        let failed = self.failed("list stale statistics");
        let connection = self.connection();
        let list = || {
            let begun = Instant::now();
            let statements: Vec<String> = connection
                .prepare(LIST_ALL)?
                .query_map((), |row| name_in(row, 0))?
                .collect::<Result<_, _>>()?;
            let hold = begun.elapsed();
            let mut value = Vec::new();
            for table in statements.iter().filter_map(|statement| table_of(statement)) {
                if has_rows(connection, &table)? {
                    value.push(Analysis { table });
                }
            }
            Ok(Locked { value, hold, commit: Duration::ZERO })
        };
        // Whether an index has statistics depends on no order; what they are does, and is made
        // without stand-ins.
        with_any_collation(connection, list).map_err(failed)
    }

    /// Makes the statistics of a table anew, from `limit` rows or so of each index, in one
    /// transaction.
    ///
    /// It makes the table `sqlite_stat1` where there is none. `sqlite_stat4` it leaves as it was: a
    /// limited analysis has nothing to put there.
    ///
    /// # Errors
    /// `Busy`, `Full` and so on; `DeadlineExceeded` when it took longer than `longest`. Nothing is
    /// changed then.
    pub fn analyze(
        &mut self,
        analysis: &Analysis,
        limit: u32,
        longest: Duration,
    ) -> Result<Locked<()>, SqliteError> {
        let limit = format!("PRAGMA analysis_limit = {limit}");
        let sql = format!("ANALYZE main.{}", quoted(&analysis.table));
        let operation = Operation::begin("ANALYZE", Some(&analysis.table));
        let analyzed = self.transaction("analyze", longest, |connection| {
            let had_samples = table_exists(connection, "sqlite_stat4")?;
            connection.execute_batch(&limit)?;
            execute(connection, &sql)?;
            if !had_samples && table_exists(connection, "sqlite_stat4")? {
                connection.execute_batch("DROP TABLE main.sqlite_stat4")?;
            }
            Ok(())
        });
        if let Ok(held) = &analyzed {
            operation.held(held.hold);
        }
        operation.record_result(analyzed)
    }
}

impl Reader {
    /// The same as [`Writer::stale_statistics`] tells, worked out without a write transaction: from
    /// the statistics that there are, and from counts that take `limits` each at the most. Tables
    /// that only the application can analyze are left out.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn stale_statistics(&mut self, timeout: Duration) -> Result<Vec<Analysis>, SqliteError> {
        let failed = {
            let timeout = self.limits.clone();
            move |error: rusqlite::Error| SqliteError::new("list stale statistics", &error, &timeout)
        };
        let mut stale = Vec::new();
        for table in ordinary_tables(&self.connection).map_err(&failed)? {
            let has_rows = || has_rows(&self.connection, &table);
            if !with_any_collation(&self.connection, has_rows).map_err(&failed)? {
                continue;
            }
            let recorded = recorded_rows(&self.connection, &table).map_err(&failed)?;
            let is_stale = match recorded {
                None => true,
                Some(recorded) => {
                    // A table that is not counted in time has at least not become small.
                    let rows = self.count_rows_exactly(&table, timeout)?;
                    rows.is_some_and(|rows| {
                        let rows = rows as f64;
                        rows > recorded * STALE_FACTOR || rows * STALE_FACTOR < recorded
                    })
                }
            };
            if is_stale && self.can_analyze(&table) {
                stale.push(Analysis { table });
            }
        }
        Ok(stale)
    }

    /// Whether nothing is missing that only the application has. Other errors the run will report.
    fn can_analyze(&self, table: &str) -> bool {
        let sql = format!("EXPLAIN ANALYZE main.{}", quoted(table));
        let prepared = prepare(&self.connection, &sql);
        !prepared.is_err_and(|error| SqliteError::new("analyze", &error, &self.limits).is_missing_part())
    }
}

/// The table of `ANALYZE "main"."table"`.
fn table_of(statement: &str) -> Option<String> {
    let name = statement.strip_prefix("ANALYZE \"main\".\"")?.strip_suffix('"')?;
    Some(name.replace("\"\"", "\""))
}

fn has_rows(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM main.{})", quoted(table));
    Ok(number_of(connection, &sql)? == Some(1))
}

fn table_exists(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = ?1)";
    connection.query_row(sql, [table], |row| row.get(0))
}

/// Tables with rows of their own, SQLite's left out.
fn ordinary_tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    connection.prepare(sql)?.query_map((), |row| name_in(row, 0))?.collect()
}

/// The rows that a table had when its statistics were made; nothing where one of its indexes has
/// none.
fn recorded_rows(connection: &Connection, table: &str) -> rusqlite::Result<Option<f64>> {
    let indexes = "SELECT name FROM pragma_index_list(?1, 'main')";
    let indexes: Vec<String> = connection
        .prepare(indexes)?
        .query_map([bound(table)], |row| name_in(row, 0))?
        .collect::<Result<_, _>>()?;
    let known = table_exists(connection, "sqlite_stat1")?;
    let statistics = |index: Option<&str>| -> rusqlite::Result<Option<f64>> {
        if !known {
            return Ok(None);
        }
        // The primary key of a table WITHOUT ROWID goes by the table's name.
        let sql = "SELECT CAST(stat AS REAL) FROM main.sqlite_stat1 WHERE tbl = ?1 COLLATE NOCASE AND \
                   (idx IS ?2 OR ?2 LIKE 'sqlite\\_autoindex\\_%' ESCAPE '\\' AND idx = tbl)";
        connection.query_row(sql, params![bound(table), index.map(bound)], |row| row.get(0)).optional()
    };
    if indexes.is_empty() {
        return Ok(Some(statistics(None)?.unwrap_or(ASSUMED_ROWS)));
    }
    let mut rows = None;
    for index in &indexes {
        match statistics(Some(index))? {
            Some(recorded) => rows = rows.or(Some(recorded)),
            None => return Ok(None),
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Access;
    use crate::limits::QueryLimits;

    fn listed(path: &Path) -> Vec<String> {
        let limits = QueryLimits::with_timeout(Duration::from_secs(60));
        let names = |list: Vec<Analysis>| {
            let mut names: Vec<String> = list.into_iter().map(|analysis| analysis.table).collect();
            names.sort();
            names
        };
        let mut reader = Reader::open(path, Access::Shared, &limits).unwrap();
        let read = names(reader.stale_statistics(Duration::from_secs(60)).unwrap());
        drop(reader);
        let mut writer = Writer::open(path, Duration::ZERO, &limits).unwrap();
        let stale = writer.stale_statistics().unwrap().value;
        for analysis in &stale {
            writer.analyze(analysis, 1000, Duration::from_secs(60)).unwrap();
        }
        assert_eq!(names(stale), read, "the dry run says what the run does");
        assert_eq!(writer.stale_statistics().unwrap().value, [], "and then nothing is left to do");
        read
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
    fn missing_and_stale_statistics_are_found_and_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let owner = || Connection::open(&path).unwrap();
        owner()
            .execute_batch(
                "CREATE TABLE \"in\"\"dexed\" (id INTEGER PRIMARY KEY, a); CREATE INDEX i ON \"in\"\"dexed\" (a);
                 CREATE TABLE plain (a); CREATE TABLE empty (a); CREATE TABLE empty_too (a UNIQUE);
                 CREATE TABLE keyed (a PRIMARY KEY, b UNIQUE) WITHOUT ROWID;
                 CREATE VIRTUAL TABLE words USING fts5 (text); INSERT INTO words VALUES ('a word');
                 CREATE VIEW seen AS SELECT a FROM plain;
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
                 INSERT INTO \"in\"\"dexed\" SELECT i, i % 7 FROM n;
                 INSERT INTO plain SELECT a FROM \"in\"\"dexed\"; INSERT INTO keyed SELECT id, id FROM \"in\"\"dexed\";",
            )
            .unwrap();
        let first = listed(&path);
        assert!(["in\"dexed", "plain", "keyed"].iter().all(|table| first.contains(&(*table).to_owned())));
        assert!(!first.contains(&"empty".to_owned()), "{first:?}");
        let tables = "SELECT group_concat(name) FROM sqlite_schema WHERE name LIKE 'sqlite_stat%'";
        let made: String = owner().query_row(tables, (), |row| row.get(0)).unwrap();
        assert_eq!(made, "sqlite_stat1");
        assert_eq!(listed(&path), [""; 0]);
        // Twentyfold is stale, twice as many is not.
        owner()
            .execute_batch(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
                 INSERT INTO \"in\"\"dexed\" (a) SELECT i FROM n; INSERT INTO plain SELECT a FROM plain;",
            )
            .unwrap();
        assert_eq!(listed(&path), ["in\"dexed"]);
    }
}
