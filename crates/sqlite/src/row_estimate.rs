//! About how many rows a table has, from a sample of its pages: whatever its keys are, numbered or
//! random, and however old its statistics.
//!
//! The b-tree is descended at places spread evenly over its width. The product of the fan-outs on
//! the way and the cells of the leaf is the number of rows, if the whole tree were like this way,
//! and the mean of several ways comes close to it (Knuth, "Estimating the efficiency of backtrack
//! programs", 1975).

use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::btree_page::PageHeader;
use super::error::SqliteError;
use super::names::bound;
use super::pages::Pages;
use super::reader::Reader;
use super::tables::RowCount;

/// Ways down the tree. Where half of the rows are three times as large as the others, the estimate
/// is within 15 % with so many.
const SAMPLE_PATHS: u32 = 32;

/// SQLite's own limit of a tree's depth (`BTCURSOR_MAX_DEPTH`).
const MAX_DEPTH: u32 = 20;

impl Reader {
    /// About how many rows a table has, from what is known at once; 0 where nothing is.
    #[must_use]
    pub fn estimate_rows(&self, table: &str) -> u64 {
        match self.row_estimate(table) {
            Ok(RowCount::Exact(rows) | RowCount::Estimate(rows)) => u64::try_from(rows).unwrap_or(0),
            Ok(RowCount::Unknown) | Err(_) => 0,
        }
    }

    /// About how many pages all indexes have; `None` where that is not known.
    pub(super) fn index_pages(&self) -> Option<u64> {
        index_pages(&self.connection).ok().flatten().map(|pages| pages as u64)
    }

    /// The estimate that takes the place of a count: of an ordinary table by its pages, else from
    /// statistics.
    pub(super) fn row_estimate(&self, table: &str) -> Result<RowCount, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("estimate the rows", &error, &self.limits);
        let rows = match sampled_rows(&self.connection, table).map_err(failed)? {
            None => analyzed_rows(&self.connection, table).map_err(failed)?,
            sampled => sampled,
        };
        Ok(rows.map_or(RowCount::Unknown, RowCount::Estimate))
    }
}

/// About how many pages all indexes have; `None` where they are damaged, or too many to look at.
fn index_pages(connection: &Connection) -> rusqlite::Result<Option<f64>> {
    const INDEX_SAMPLE_PATHS: u32 = 4;
    const MAX_INDEXES: usize = 500;
    let sql = "SELECT rootpage FROM main.sqlite_schema WHERE type = 'index' AND rootpage > 0";
    let roots = connection.prepare(sql)?.query_map((), |row| row.get(0))?.collect::<Result<Vec<u32>, _>>()?;
    if roots.len() > MAX_INDEXES {
        return Ok(None);
    }
    let mut pages = Pages::of(connection)?;
    let mut all = 0.0;
    for root in roots {
        for way in 0..INDEX_SAMPLE_PATHS {
            let place = (f64::from(way) + 0.5) / f64::from(INDEX_SAMPLE_PATHS);
            let Some(found) = sample_path(&mut pages, root, place)? else { return Ok(None) };
            all += found.leaves / f64::from(INDEX_SAMPLE_PATHS);
        }
    }
    Ok(Some(all))
}

/// An estimate from the table's pages; `None` for what has none of its own, and where they are
/// damaged.
fn sampled_rows(connection: &Connection, table: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name = ?1 COLLATE NOCASE";
    let root: Option<u32> = match table {
        "sqlite_schema" => Some(1),
        _ => connection.query_row(sql, [bound(table)], |row| row.get(0)).optional()?,
    };
    let Some(root) = root else { return Ok(None) };
    let mut pages = Pages::of(connection)?;
    let mut rows = 0.0;
    for way in 0..SAMPLE_PATHS {
        let place = (f64::from(way) + 0.5) / f64::from(SAMPLE_PATHS);
        match sample_path(&mut pages, root, place)? {
            // The root alone is all of the table.
            Some(found) if found.leaves == 1.0 => return Ok(Some(found.rows as i64)),
            Some(found) => rows += found.rows / f64::from(SAMPLE_PATHS),
            None => return Ok(None),
        }
    }
    Ok(Some(rows.round() as i64))
}

/// What a tree has that is everywhere like on one way down.
struct SampledPath {
    rows: f64,
    leaves: f64,
}

/// The way to a place from 0 to 1.
fn sample_path(pages: &mut Pages<'_>, root: u32, mut place: f64) -> rusqlite::Result<Option<SampledPath>> {
    let (mut page, mut weight, mut rows) = (root, 1.0, 0.0);
    let mut buffer = Vec::new();
    for _ in 0..MAX_DEPTH {
        pages.read(page, &mut buffer)?;
        let Some(header) = PageHeader::read(&buffer, page) else { return Ok(None) };
        // The cells of an interior page are rows in a table WITHOUT ROWID, whose tree is an index.
        if !header.is_interior || !header.is_table {
            rows += weight * header.cells as f64;
        }
        if !header.is_interior {
            return Ok(Some(SampledPath { rows, leaves: weight }));
        }
        let children = header.cells as f64 + 1.0;
        let below = ((place * children) as usize).min(header.cells);
        place = place * children - below as f64;
        weight *= children;
        match header.child(&buffer, below) {
            Some(child) => page = child,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The rows at the time of the last ANALYZE. The first number of a statistic is the rows of its
/// index; a partial index has fewer.
fn analyzed_rows(connection: &Connection, table: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT max(CAST(stat AS INTEGER)) FROM main.sqlite_stat1 WHERE tbl = ?1 COLLATE NOCASE";
    // No such table (never analysed) is a normal state here.
    let Ok(mut statement) = connection.prepare(sql) else { return Ok(None) };
    statement.query_row([bound(table)], |row| row.get(0)).optional().map(Option::flatten)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the test plays the owner")]

    use std::time::Duration;

    use super::*;
    use crate::Access;
    use crate::limits::QueryLimits;

    /// A table, and how far the estimate may be from its rows.
    const TABLES: [(&str, &str, f64); 7] = [
        (
            "numbered",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t SELECT i, hex(zeroblob(40)) FROM n",
            0.05,
        ),
        (
            "random keys",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t SELECT random(), hex(zeroblob(40)) FROM n",
            0.15,
        ),
        (
            "keys by time in bursts",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t SELECT (i / 1000) * 1000000000000 + i, 'x' FROM n",
            0.05,
        ),
        (
            "a row far away",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t SELECT i, 'x' FROM n; INSERT INTO t VALUES (9e18, 'x')",
            0.05,
        ),
        (
            "without row ids",
            "CREATE TABLE t (k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO t SELECT hex(randomblob(12)), i FROM n",
            0.15,
        ),
        (
            "rows of two sizes",
            "CREATE TABLE t (v); INSERT INTO t SELECT hex(zeroblob(iif(i < 15000, 20, 80))) FROM n",
            0.15,
        ),
        ("empty", "CREATE TABLE t (v)", 0.0),
    ];

    #[test]
    fn the_estimate_does_not_depend_on_the_keys() {
        for (what, sql, tolerance) in TABLES {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("a.db");
            let owner = Connection::open(&path).unwrap();
            let numbers = "CREATE TEMP VIEW n AS WITH RECURSIVE n (i) AS \
                           (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT i FROM n";
            owner.execute_batch(&format!("{numbers}; {sql}")).unwrap();
            let rows: i64 = owner.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap();
            drop(owner);
            let limits = QueryLimits::with_timeout(Duration::from_secs(60));
            let mut reader = Reader::open(&path, Access::Shared, &limits).unwrap();
            reader.header().unwrap();
            let RowCount::Estimate(estimate) = reader.count_rows("T", Duration::ZERO).unwrap() else {
                panic!("{what}: no estimate")
            };
            let off = (estimate - rows).abs() as f64 / (rows as f64).max(1.0);
            assert!(off <= tolerance, "{what}: {estimate} in place of {rows}");
        }
    }

    #[test]
    fn what_has_no_pages_has_no_estimate() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let owner = Connection::open(&path).unwrap();
        owner.execute_batch("CREATE TABLE t (v); CREATE VIEW w AS SELECT v FROM t").unwrap();
        let reader =
            Reader::open(&path, Access::Shared, &QueryLimits::with_timeout(Duration::from_secs(60))).unwrap();
        assert_eq!(reader.row_estimate("w").unwrap(), RowCount::Unknown);
        assert_eq!((reader.estimate_rows("w"), reader.estimate_rows("none")), (0, 0));
        assert_eq!((reader.estimate_rows("sqlite_schema"), reader.index_pages()), (2, Some(0)));
    }
}
