//! How many bytes each table and index takes, from SQLite's `dbstat`, as `sqlite3_analyzer` reads
//! it.
//!
//! Always page by page: in its aggregate mode `dbstat` walks a whole b-tree in one instruction,
//! which neither the progress handler nor an interrupt can end, and a damaged file can have a tree
//! that never ends. A page costs 1.5 times as much so.

use std::time::Duration;

use super::error::ErrorKind;
use super::error::SqliteError;
use super::names::bound;
use super::names::decode;
use super::reader::Reader;

/// `dbstat` under a name that no schema can take: a table called `dbstat` in the database would be
/// asked in its place.
const TABLE: &str = "temp.litekeeper_space";

/// The unused bytes of a page. The content of an empty page of 65,536 bytes begins at an offset
/// that does not fit its field and is written as 0; `dbstat` (3.54.1) takes it for that and says
/// -8.
const UNUSED: &str = "iif(unused < 0, unused + 65536, unused)";

/// The most that one page costs from a warm cache. It decides whether a whole database fits into
/// the time limit of a transaction.
const PAGE_COST: Duration = Duration::from_micros(4);

/// A b-tree of the schema: a table, or an index of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BTree {
    /// The table.
    pub table: String,
    /// The index; `None` for the table itself.
    pub index: Option<String>,
}

impl BTree {
    /// The name under which the schema has it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.index.as_deref().unwrap_or(&self.table)
    }
}

/// Bytes of one b-tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BTreeSize {
    /// Its pages times their size, those of overflowing values among them.
    pub bytes: u64,
    /// The part of them that holds nothing.
    pub unused: u64,
}

impl Reader {
    /// The b-trees of the database; virtual tables and views have none, their shadow tables do.
    ///
    /// # Errors
    /// As for [`Reader::schema_objects`].
    pub fn btrees(&self) -> Result<Vec<BTree>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("list the b-trees", &error, &self.limits);
        let sql = "SELECT tbl_name, CASE WHEN type = 'index' THEN name END FROM main.sqlite_schema \
                   WHERE rootpage > 0 AND type IN ('table', 'index')";
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let rows = statement
            .query_map((), |row| Ok(BTree { table: text(row, 0)?.unwrap_or_default(), index: text(row, 1)? }))
            .map_err(failed)?;
        let mut trees = rows.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        // The schema itself is a table that it does not list.
        trees.push(BTree { table: "sqlite_schema".to_owned(), index: None });
        Ok(trees)
    }

    /// Makes `dbstat` known to this connection, in its memory alone.
    ///
    /// # Errors
    /// What SQLite says; none is known.
    pub fn prepare_btree_sizes(&self) -> Result<(), SqliteError> {
        let sql = format!("CREATE VIRTUAL TABLE IF NOT EXISTS {TABLE} USING dbstat(main)");
        self.connection
            .execute_batch(&sql)
            .map_err(|error| SqliteError::new("ask for dbstat", &error, &self.limits))
    }

    /// Every b-tree's size from one transaction; `None` when that would not end, or did not, within
    /// `limit`.
    ///
    /// Cost: 2.8 µs a page from a warm cache.
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, and what any read can meet.
    pub fn all_btree_sizes(
        &mut self,
        pages: u32,
        limit: Duration,
    ) -> Result<Option<Vec<(String, BTreeSize)>>, SqliteError> {
        if PAGE_COST.saturating_mul(pages) > limit {
            return Ok(None);
        }
        let sql = format!(
            "SELECT name, sum(pgsize), sum({UNUSED}) FROM {TABLE} WHERE schema = 'main' AND aggregate = 0 GROUP BY name"
        );
        let sizes = self.within(limit, |reader| {
            let failed =
                |error: rusqlite::Error| SqliteError::new("measure the b-trees", &error, &reader.limits);
            let mut statement = reader.connection.prepare(&sql).map_err(failed)?;
            let rows = statement
                .query_map((), |row| {
                    let name = text(row, 0)?.unwrap_or_default();
                    Ok((name, BTreeSize { bytes: size(row, 1)?, unused: size(row, 2)? }))
                })
                .map_err(failed)?;
            rows.collect::<Result<Vec<_>, _>>().map_err(failed)
        });
        unless_late(sizes)
    }

    /// One b-tree's size; `None` when `limit` ended first.
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, and what any read can meet.
    pub fn btree_size(&mut self, tree: &BTree, limit: Duration) -> Result<Option<BTreeSize>, SqliteError> {
        let sql = format!(
            "SELECT total(pgsize), total({UNUSED}) FROM {TABLE} WHERE schema = 'main' AND aggregate = 0 AND name = ?1"
        );
        let read = self.within(limit, |reader| {
            reader
                .connection
                .query_row(&sql, [bound(tree.name())], |row| {
                    let (bytes, unused): (f64, f64) = (row.get(0)?, row.get(1)?);
                    Ok(BTreeSize { bytes: bytes as u64, unused: unused as u64 })
                })
                .map_err(|error| SqliteError::new("measure a b-tree", &error, &reader.limits))
        });
        unless_late(read)
    }
}

/// A name as it can be shown; one that is not a text must not keep all others from being measured.
fn text(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(row.get_ref(column)?.as_bytes_or_null()?.map(decode))
}

fn size(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

fn unless_late<T>(answer: Result<T, SqliteError>) -> Result<Option<T>, SqliteError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind() == ErrorKind::DeadlineExceeded => Ok(None),
        Err(error) => Err(error),
    }
}
