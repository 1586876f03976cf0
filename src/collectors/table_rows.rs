//! How rows of tables are counted and log tables are dated.

use std::collections::BTreeMap;
use std::time::Duration;

use globset::Glob;

use crate::config::DatabaseSettings;
use crate::config::TimestampColumn;
use crate::database::Database;
use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::RowCount;
use crate::sqlite::SqliteError;
use crate::sqlite::TableKind;

use super::age::Age;
use super::age::age_of;
use super::unlocked::ROLLBACK_TIMEOUT_DIVISOR;

/// How a row count was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountMethod {
    /// Every row counted.
    Count,
    /// From statistics or the span of row ids.
    Estimate,
}

impl CountMethod {
    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Estimate => "estimate",
        }
    }
}

/// A table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: i64,
    /// Whether they were counted or estimated.
    pub method: CountMethod,
}

/// The age of a log table, in seconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct TableAge {
    /// The table.
    pub table: String,
    /// Its oldest row.
    pub oldest: f64,
    /// Its newest row.
    pub newest: f64,
}

/// What is known of a database's tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableReadings {
    /// Row counts, by table.
    pub rows: Vec<TableRows>,
    /// Ages of log tables.
    pub ages: Vec<TableAge>,
}

/// The result of collecting the tables.
#[derive(Debug, Default)]
pub struct TableCollection {
    /// The values.
    pub readings: TableReadings,
    /// Why a value is missing, one line a table.
    pub problems: Vec<String>,
    /// Classes of SQLite's errors that were met.
    pub errors: Vec<ErrorCode>,
    /// Row counts left out because of the series limit.
    pub dropped: u64,
    /// Tables that could not be read between two commits of a writer; their values from before
    /// still stand.
    pub missed: Vec<String>,
}

/// The tables to be counted, in the limit of series.
pub(super) fn selected_tables(
    database: &Database,
    tables: &BTreeMap<String, TableKind>,
    collection: &mut TableCollection,
) -> Vec<String> {
    let mut selected = matching_tables(&database.settings.row_counts, tables, &mut collection.problems);
    collection.dropped = selected.len().saturating_sub(database.series_limit) as u64;
    selected.truncate(database.series_limit);
    selected
}

/// Reads all tables, each in a short transaction of its own.
pub(super) fn read_tables(reader: &mut Reader, database: &Database) -> Result<TableCollection, SqliteError> {
    let settings = &database.settings;
    let journal_mode = reader.header()?.journal_mode;
    // The transaction of the header ends here: each table is then a short transaction of its own.
    reader.end_transaction()?;
    let limits = match journal_mode {
        JournalMode::Wal => settings.count_timeout,
        JournalMode::Rollback => settings.count_timeout / ROLLBACK_TIMEOUT_DIVISOR,
    };
    let mut collection = TableCollection::default();
    let tables = known_tables(reader, settings)?;
    if settings.collectors.row_counts {
        for table in selected_tables(database, &tables, &mut collection) {
            count(reader, table, limits, &mut collection)?;
        }
    }
    if settings.collectors.timestamps {
        for column in &settings.timestamps {
            age(reader, column, &tables, limits, &mut collection)?;
        }
    }
    Ok(collection)
}

/// The tables and views of the database; only those that are named where the configuration has no
/// pattern.
pub(super) fn known_tables(
    reader: &Reader,
    settings: &DatabaseSettings,
) -> Result<BTreeMap<String, TableKind>, SqliteError> {
    let mut names = settings.row_counts.iter().chain(settings.timestamps.iter().map(|column| &column.table));
    if settings.row_counts.iter().any(|pattern| is_pattern(pattern)) {
        return reader.tables();
    }
    names.try_fold(BTreeMap::new(), |mut known, name| {
        known.extend(reader.table(name)?);
        Ok(known)
    })
}

/// Whether a name of a table in the configuration stands for several.
#[must_use]
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// The tables that the configuration names, in its order; those that a pattern matches by name.
pub fn matching_tables(
    patterns: &[String],
    tables: &BTreeMap<String, TableKind>,
    problems: &mut Vec<String>,
) -> Vec<String> {
    let mut selected: Vec<String> = Vec::new();
    let mut add = |name: &String| {
        if !selected.contains(name) {
            selected.push(name.clone());
        }
    };
    for pattern in patterns {
        // SQL names are compared without regard to ASCII case.
        let named = tables.iter().find(|(name, _)| name.eq_ignore_ascii_case(pattern));
        match named {
            Some((_, TableKind::View)) => {
                problems.push(format!("{pattern} is a view: only tables are counted"))
            }
            Some((name, TableKind::Table | TableKind::Virtual | TableKind::Shadow)) => add(name),
            None if is_pattern(pattern) => match Glob::new(pattern) {
                // Counting a virtual table runs its module, so a pattern does not reach it.
                Ok(glob) => {
                    let glob = glob.compile_matcher();
                    tables
                        .iter()
                        .filter(|(name, kind)| **kind == TableKind::Table && glob.is_match(name))
                        .for_each(|(name, _)| add(name));
                }
                Err(error) => problems.push(format!("{pattern}: {error}")),
            },
            None => problems.push(format!("no such table: {pattern}")),
        }
    }
    selected
}

pub(super) fn count(
    reader: &mut Reader,
    table: String,
    timeout: Duration,
    collection: &mut TableCollection,
) -> Result<(), SqliteError> {
    let (rows, method) = match reader.count_rows(&table, timeout) {
        Ok(RowCount::Exact(rows)) => (rows, CountMethod::Count),
        Ok(RowCount::Estimate(rows)) => (rows, CountMethod::Estimate),
        Ok(RowCount::Unknown) => {
            collection.problems.push(format!(
                "{table}: not counted within {timeout:?}, and neither statistics (run ANALYZE) nor row ids give an \
                 estimate; raise count_timeout or leave the table out"
            ));
            return Ok(());
        }
        Err(error) => return collection.record_error(&table, error),
    };
    collection.readings.rows.push(TableRows { table, rows, method });
    Ok(())
}

pub(super) fn age(
    reader: &mut Reader,
    column: &TimestampColumn,
    tables: &BTreeMap<String, TableKind>,
    timeout: Duration,
    collection: &mut TableCollection,
) -> Result<(), SqliteError> {
    let TimestampColumn { table, column, format } = column;
    let Some((table, _)) = tables.iter().find(|(name, _)| name.eq_ignore_ascii_case(table)) else {
        collection.problems.push(format!("no such table: {table}"));
        return Ok(());
    };
    // Named twice in other letters, it is one series all the same.
    if collection.readings.ages.iter().any(|age| age.table == *table) {
        return Ok(());
    }
    match age_of(reader, (table, column), *format, timeout) {
        Ok(Age::Empty) => {}
        Ok(Age::Range(oldest, newest)) => {
            collection.readings.ages.push(TableAge { table: table.clone(), oldest, newest });
        }
        Ok(Age::Unknown(reason)) => collection.problems.push(format!("{table}.{column}: {reason}")),
        Err(error) if error.kind() == ErrorKind::DeadlineExceeded => collection.problems.push(format!(
            "{table}.{column}: oldest and newest not found within {timeout:?}; an index on the column makes it instant"
        )),
        Err(error) => return collection.record_error(&format!("{table}.{column}"), error),
    }
    Ok(())
}

impl TableCollection {
    /// Adds what was read of one table, or that it was missed.
    pub(super) fn join(&mut self, one: Option<Self>, table: String) {
        let Some(one) = one else { return self.missed.push(table) };
        self.readings.rows.extend(one.readings.rows);
        self.readings.ages.extend(one.readings.ages);
        self.problems.extend(one.problems);
        self.errors.extend(one.errors);
    }

    /// The values, with those from before of the tables that were missed.
    #[must_use]
    pub fn with_previous(&self, before: &TableReadings) -> TableReadings {
        let is_missed = |name: &str| self.missed.iter().any(|missed| missed.eq_ignore_ascii_case(name));
        let mut readings = self.readings.clone();
        for row in before.rows.iter().filter(|row| is_missed(&row.table)) {
            if readings.rows.iter().all(|known| known.table != row.table) {
                readings.rows.push(row.clone());
            }
        }
        for age in before.ages.iter().filter(|age| is_missed(&age.table)) {
            if readings.ages.iter().all(|known| known.table != age.table) {
                readings.ages.push(age.clone());
            }
        }
        readings
    }

    /// Records an error of one table beside the values of others; a busy database ends the
    /// collection.
    fn record_error(&mut self, what: &str, error: SqliteError) -> Result<(), SqliteError> {
        match error.kind() {
            ErrorKind::Sqlite(ErrorCode::Busy | ErrorCode::Locked)
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Cancelled => Err(error),
            ErrorKind::Sqlite(code) => {
                self.problems.push(format!("{what}: {error}"));
                self.errors.push(code);
                Ok(())
            }
        }
    }
}
