//! Sizes of tables and indexes from dbstat: the largest tables, selected so that the selection is
//! stable.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::DatabaseSettings;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::sqlite::BTree;
use crate::sqlite::BTreeSize;
use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::collector::Collection;
use super::collector::CollectionOutcome;
use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyUnit;
use super::collector::IntervalCollector;
use super::collector::Pace;
use super::collector::SampleWriter;
use super::collector::Section;
use super::consistent_read::ConsistentReadError;
use super::largest_tables::IndexSize;
use super::largest_tables::TableSize;
use super::largest_tables::TableSizes;
use super::largest_tables::select_largest;
use super::readings::Readings;
use super::snapshot::DatabaseSnapshot;
use super::unlocked::RETRY_TIMEOUT;
use super::unlocked::ROLLBACK_TIMEOUT_DIVISOR;
use super::unlocked::none_if_busy;
use super::unlocked::unlocked;

/// The longest that one collection of the sizes of a database may take.
const TABLE_SIZES_TIMEOUT: Duration = Duration::from_secs(30);

static NO_SIZES: TableSizes =
    TableSizes { tables: Vec::new(), others: 0, others_bytes: 0, timed_out: Vec::new() };

pub(super) struct TableSizesCollector;

impl Collector for TableSizesCollector {
    fn name(&self) -> &'static str {
        "table_sizes"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }

    fn section(&self) -> Section {
        Section {
            title: "Table sizes",
            text: "Updated at `table_sizes_interval` if the database changed; needs `collectors: {table_sizes: on}`.",
        }
    }
}

impl IntervalCollector for TableSizesCollector {
    fn pace(&self) -> Pace {
        Pace::Slow
    }

    fn parts(&self, settings: &DatabaseSettings) -> usize {
        usize::from(settings.collectors.table_sizes)
    }

    fn interval(&self, settings: &DatabaseSettings, _part: usize) -> Duration {
        settings.table_sizes_interval
    }

    fn limits(&self, _settings: &DatabaseSettings, _part: usize) -> QueryLimits {
        QueryLimits::with_timeout(TABLE_SIZES_TIMEOUT)
    }

    fn collect(
        &self,
        database: &Database,
        _part: usize,
        limits: &QueryLimits,
        previous: &Readings,
    ) -> CollectionOutcome {
        match collect(database, limits, previous.get().unwrap_or(&NO_SIZES)) {
            Ok(None) => CollectionOutcome::Busy,
            Ok(Some(sizes)) => CollectionOutcome::Collected(Collection {
                value: Arc::new(sizes.readings),
                problems: sizes.problems,
                errors: sizes.errors,
                dropped: sizes.dropped,
                is_partial: false,
            }),
            Err(error) => CollectionOutcome::Failed(format!("table sizes: {error}")),
        }
    }
}

static FAMILIES: [Family; 3] = [
    Family {
        unit: Some(FamilyUnit::Bytes),
        labels: &["table"],
        ..Family::gauge(
            "sqlite_table_size",
            "Bytes of a table's pages including overflow pages, without indexes, from dbstat; only the largest tables (table_sizes_top)",
            |snapshot, writer| own_size(snapshot, writer, |own| own.bytes),
        )
    },
    Family {
        unit: Some(FamilyUnit::Bytes),
        labels: &["table"],
        ..Family::gauge(
            "sqlite_table_unused",
            "Unused bytes in a table's pages, part of which a vacuum would release, from dbstat",
            |snapshot, writer| own_size(snapshot, writer, |own| own.unused),
        )
    },
    Family {
        unit: Some(FamilyUnit::Bytes),
        labels: &["table", "index"],
        ..Family::gauge(
            "sqlite_index_size",
            "Bytes of an index's pages, from dbstat; only of the largest tables (table_sizes_top)",
            |snapshot, writer| {
                snapshot.table_sizes().tables.iter().try_for_each(|table| {
                    table.indexes.iter().try_for_each(|index| {
                        writer.gauge(&[("table", &table.table), ("index", &index.index)], index.bytes as f64)
                    })
                })
            },
        )
    },
];

fn own_size(
    snapshot: &DatabaseSnapshot,
    writer: &mut dyn SampleWriter,
    value: fn(&BTreeSize) -> u64,
) -> fmt::Result {
    let mut tables = snapshot.table_sizes().tables.iter();
    tables.try_for_each(|table| match &table.own {
        Some(own) => writer.gauge(&[("table", &table.table)], value(own) as f64),
        None => Ok(()),
    })
}

impl DatabaseSnapshot {
    /// Sizes of the database's largest tables.
    #[must_use]
    pub fn table_sizes(&self) -> &TableSizes {
        self.readings.get().unwrap_or(&NO_SIZES)
    }
}

/// Names in one line of the log.
const MAX_NAMES: usize = 5;

/// The result of collecting the sizes.
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

/// Measures tables and indexes, each in a short transaction of its own unless the whole database
/// fits one; `None` when the database was busy. What could not be measured in time keeps its value
/// from `before`.
///
/// # Errors
/// What kept the database from being opened or its schema from being read.
pub fn collect_table_sizes(
    database: &Database,
    before: &TableSizes,
) -> Result<Option<SizeCollection>, ConsistentReadError<SqliteError>> {
    collect(database, &QueryLimits::with_timeout(TABLE_SIZES_TIMEOUT), before)
}

fn collect(
    database: &Database,
    limits: &QueryLimits,
    before: &TableSizes,
) -> Result<Option<SizeCollection>, ConsistentReadError<SqliteError>> {
    let read = unlocked(database, limits, RETRY_TIMEOUT, |reader| {
        let (sizes, mut collection) = measure(reader, database.settings.table_sizes_timeout, before)?;
        let (top, limit) = (database.settings.table_sizes_top, database.series_limit);
        let timed_out = std::mem::take(&mut collection.readings.timed_out);
        (collection.readings, collection.dropped) = select_largest(by_table(&sizes), before, top, limit);
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
    // What is published comes first, in case that the time is too short for all.
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
