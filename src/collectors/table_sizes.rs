//! The look at the space of tables and indexes: the largest of them, chosen so that the choice is stable.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::database::Database;
use crate::limits::QueryLimits;
use crate::sqlite::BTree;
use crate::sqlite::BTreeSize;
use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::consistent_read::ConsistentReadError;
use super::table_rows::ROLLBACK_TIMEOUT_DIVISOR;
use super::table_rows::TABLES_RETRY_TIMEOUT;
use super::table_rows::none_if_busy;
use super::unlocked::unlocked;

/// The longest that one look at the space of a database may take.
const TABLE_SIZES_TIMEOUT: Duration = Duration::from_secs(30);

/// A table that is published keeps its place until another is larger by this factor: two of about the same size would
/// otherwise take turns, and each turn ends one series and begins another.
const STAY_FACTOR: f64 = 1.25;

/// Names in one line of the log.
const MAX_NAMES: usize = 5;

/// The space of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSize {
    /// The index.
    pub index: String,
    /// Its pages.
    pub bytes: u64,
}

/// The space of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSize {
    /// The table.
    pub table: String,
    /// Its own pages, without its indexes; `None` when they could not be measured in time.
    pub own: Option<BTreeSize>,
    /// Its indexes, by name; those that could not be measured in time are left out.
    pub indexes: Vec<IndexSize>,
}

impl TableSize {
    /// Bytes of the table and its indexes.
    #[must_use]
    pub fn total(&self) -> u64 {
        let own = self.own.map_or(0, |own| own.bytes);
        self.indexes.iter().map(|index| index.bytes).fold(own, u64::saturating_add)
    }

    fn series(&self) -> usize {
        2 * usize::from(self.own.is_some()) + self.indexes.len()
    }
}

/// What is known of the space of a database's tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSizes {
    /// The largest, the largest first.
    pub tables: Vec<TableSize>,
    /// How many tables there are besides.
    pub others: usize,
    /// Bytes of these, with their indexes, as far as they could be measured.
    pub others_bytes: u64,
    /// Tables and indexes that could not be measured in time: what is shown of them is old, or absent.
    pub timed_out: Vec<String>,
}

impl TableSizes {
    /// Whether anything was measured: every database has a table, its schema.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.tables.is_empty() || self.others > 0 || !self.timed_out.is_empty()
    }
}

/// What came of a look at the space.
#[derive(Debug, Default)]
pub struct SizeCollection {
    /// The values.
    pub readings: TableSizes,
    /// Why a value is missing or old.
    pub problems: Vec<String>,
    /// Classes of SQLite's errors that were met.
    pub errors: Vec<ErrorCode>,
    /// Series left out because of the series limit.
    pub dropped: u64,
}

/// Measures tables and indexes, each in a short transaction of its own unless the whole database fits one; `None` when the
/// database was busy. What could not be measured in time keeps its value from `before`.
///
/// # Errors
/// What kept the database from being opened or its schema from being read.
pub fn collect_table_sizes(
    database: &Database,
    before: &TableSizes,
) -> Result<Option<SizeCollection>, ConsistentReadError<SqliteError>> {
    let limits = QueryLimits::with_timeout(TABLE_SIZES_TIMEOUT);
    let read = unlocked(database, &limits, TABLES_RETRY_TIMEOUT, |reader| {
        let (sizes, mut collection) = measure(reader, database.settings.table_sizes_timeout, before)?;
        let (top, limit) = (database.settings.table_sizes_top, database.series_limit);
        let timed_out = std::mem::take(&mut collection.readings.timed_out);
        (collection.readings, collection.dropped) = choose(by_table(&sizes), before, top, limit);
        collection.readings.timed_out = timed_out;
        Ok(collection)
    });
    none_if_busy(read, SqliteError::code)
}

type Sizes = BTreeMap<BTree, BTreeSize>;

fn measure(
    reader: &mut Reader,
    timeout: Duration,
    before: &TableSizes,
) -> Result<(Sizes, SizeCollection), SqliteError> {
    let header = reader.header()?;
    // The transaction of the header ends here, as a writer may wait for it.
    reader.end_transaction()?;
    let limit = match header.journal_mode {
        JournalMode::Wal => timeout,
        JournalMode::Rollback => timeout / ROLLBACK_TIMEOUT_DIVISOR,
    };
    reader.prepare_btree_sizes()?;
    let mut trees = reader.btrees()?;
    let mut collection = SizeCollection::default();
    match reader.all_btree_sizes(header.pages, limit) {
        Ok(Some(all)) => {
            let named: BTreeMap<String, BTreeSize> = all.into_iter().collect();
            let size = |tree: BTree| named.get(tree.name()).map(|size| (tree, *size));
            return Ok((trees.into_iter().filter_map(size).collect(), collection));
        }
        // Too large, or damaged somewhere: then each for itself.
        Ok(None) => {}
        Err(error) => match error.kind() {
            ErrorKind::Sqlite(ErrorCode::Busy | ErrorCode::Locked) | ErrorKind::Cancelled => {
                return Err(error);
            }
            ErrorKind::Sqlite(_) | ErrorKind::DeadlineExceeded => {}
        },
    }
    // What is published comes first, in case that the time of the look does not do for all.
    let published: BTreeSet<&str> = before.tables.iter().map(|table| table.table.as_str()).collect();
    trees.sort_by_key(|tree| !published.contains(tree.table.as_str()));
    let sizes = one_by_one(reader, trees, limit, before, &mut collection)?;
    Ok((sizes, collection))
}

/// Measures each tree; one that a writer keeps locked is tried once more at the end.
fn one_by_one(
    reader: &mut Reader,
    trees: Vec<BTree>,
    limit: Duration,
    before: &TableSizes,
    collection: &mut SizeCollection,
) -> Result<Sizes, SqliteError> {
    let mut sizes = Sizes::new();
    let mut timed_out = Vec::new();
    let mut waiting = trees;
    let mut busy = None;
    for _ in 0..2 {
        for tree in std::mem::take(&mut waiting) {
            match reader.btree_size(&tree, limit) {
                // A table that was dropped meanwhile has none.
                Ok(Some(size)) if size.bytes == 0 => {}
                Ok(Some(size)) => drop(sizes.insert(tree, size)),
                Ok(None) => timed_out.push(tree),
                Err(error) => match error.kind() {
                    ErrorKind::Sqlite(ErrorCode::Busy | ErrorCode::Locked) => {
                        waiting.push(tree);
                        busy = Some(error);
                    }
                    ErrorKind::Sqlite(code) => {
                        collection.problems.push(format!("{}: {error}", tree.name()));
                        collection.errors.push(code);
                    }
                    ErrorKind::DeadlineExceeded | ErrorKind::Cancelled => return Err(error),
                },
            }
        }
    }
    timed_out.extend(waiting);
    if sizes.is_empty()
        && let Some(error) = busy
    {
        return Err(error);
    }
    if !timed_out.is_empty() {
        collection.problems.push(timed_out_problem(&timed_out, limit));
    }
    for tree in timed_out {
        collection.readings.timed_out.push(tree.name().to_owned());
        if let Some(old) = old_size(&tree, before) {
            sizes.insert(tree, old);
        }
    }
    Ok(sizes)
}

fn timed_out_problem(timed_out: &[BTree], limit: Duration) -> String {
    let names: Vec<&str> = timed_out.iter().take(MAX_NAMES).map(BTree::name).collect();
    let more = timed_out.len().saturating_sub(MAX_NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "table sizes: not measured within {limit:?} each: {}{more}; values from before stay; raise table_sizes_timeout",
        names.join(", ")
    )
}

fn old_size(tree: &BTree, before: &TableSizes) -> Option<BTreeSize> {
    let table = before.tables.iter().find(|table| table.table == tree.table)?;
    match &tree.index {
        None => table.own,
        Some(name) => {
            let index = table.indexes.iter().find(|index| index.index == *name)?;
            Some(BTreeSize { bytes: index.bytes, unused: 0 })
        }
    }
}

fn by_table(sizes: &Sizes) -> Vec<TableSize> {
    let mut tables: BTreeMap<&str, TableSize> = BTreeMap::new();
    for (tree, size) in sizes {
        let table = tables.entry(&tree.table).or_insert_with(|| TableSize {
            table: tree.table.clone(),
            own: None,
            indexes: Vec::new(),
        });
        match &tree.index {
            None => table.own = Some(*size),
            Some(index) => table.indexes.push(IndexSize { index: index.clone(), bytes: size.bytes }),
        }
    }
    tables.into_values().collect()
}

/// The largest tables within the limits, those that are published already before others of about the same size; with it
/// how many series the series limit cost.
fn choose(
    mut tables: Vec<TableSize>,
    before: &TableSizes,
    top: usize,
    series_limit: usize,
) -> (TableSizes, u64) {
    let published: BTreeSet<&str> = before.tables.iter().map(|table| table.table.as_str()).collect();
    let weight = |table: &TableSize| {
        let factor = if published.contains(table.table.as_str()) { STAY_FACTOR } else { 1.0 };
        table.total() as f64 * factor
    };
    tables.sort_by(|one, other| {
        weight(other).total_cmp(&weight(one)).then_with(|| one.table.cmp(&other.table))
    });
    let mut others = tables.split_off(top.min(tables.len()));
    let (mut series, mut dropped) = (0, 0);
    let mut chosen = Vec::new();
    for table in tables {
        series += table.series();
        if series <= series_limit {
            chosen.push(table);
        } else {
            dropped += table.series() as u64;
            others.push(table);
        }
    }
    chosen.sort_by_key(|table| std::cmp::Reverse(table.total()));
    let others_bytes = others.iter().map(TableSize::total).fold(0, u64::saturating_add);
    let readings = TableSizes { tables: chosen, others: others.len(), others_bytes, timed_out: Vec::new() };
    (readings, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, bytes: u64, indexes: &[(&str, u64)]) -> TableSize {
        let index = |(index, bytes): &(&str, u64)| IndexSize { index: (*index).to_owned(), bytes: *bytes };
        let own = Some(BTreeSize { bytes, unused: 0 });
        TableSize { table: name.to_owned(), own, indexes: indexes.iter().map(index).collect() }
    }

    /// What is measured, what was published, how many are wanted, the series limit; what is published, with how many
    /// others, and how many series were dropped.
    type Case<'c> = (&'c [(&'c str, u64)], &'c [&'c str], usize, usize, &'c [&'c str], usize, u64);

    #[test]
    fn the_largest_are_chosen_and_stay() {
        let cases: [Case<'_>; 8] = [
            (&[], &[], 2, 500, &[], 0, 0),
            (&[("a", 1), ("b", 3), ("c", 2)], &[], 2, 500, &["b", "c"], 1, 0),
            // Of the same size, the name decides.
            (&[("b", 5), ("a", 5), ("c", 5)], &[], 2, 500, &["a", "b"], 1, 0),
            // A little larger is not enough, much larger is.
            (&[("a", 100), ("b", 120)], &["a"], 1, 500, &["a"], 1, 0),
            (&[("a", 100), ("b", 126)], &["a"], 1, 500, &["b"], 1, 0),
            // What is gone makes room.
            (&[("b", 1)], &["a"], 1, 500, &["b"], 0, 0),
            // The limit leaves out whole tables, two series each.
            (&[("a", 9), ("b", 8), ("c", 7)], &[], 3, 5, &["a", "b"], 1, 2),
            (&[("a", 9)], &[], 3, 1, &[], 1, 2),
        ];
        for (measured, published, top, limit, expected, others, dropped) in cases {
            let tables = measured.iter().map(|(name, bytes)| table(name, *bytes, &[])).collect();
            let before = TableSizes {
                tables: published.iter().map(|name| table(name, 1, &[])).collect(),
                ..TableSizes::default()
            };
            let (readings, lost) = choose(tables, &before, top, limit);
            let chosen: Vec<&str> = readings.tables.iter().map(|table| table.table.as_str()).collect();
            assert_eq!(
                (chosen.as_slice(), readings.others, lost),
                (expected, others, dropped),
                "{measured:?} after {published:?}"
            );
        }
    }

    #[test]
    fn indexes_count_for_their_table() {
        let tables = vec![table("small", 1, &[("i", 10)]), table("large", 8, &[])];
        let (readings, _) = choose(tables, &TableSizes::default(), 1, 500);
        assert_eq!(readings.tables[0].table, "small");
        assert_eq!((readings.others, readings.others_bytes), (1, 8));
    }
}
