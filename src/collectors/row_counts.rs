//! Row counts and the age of log tables, in one pass over the configured tables.

use std::sync::Arc;
use std::time::Duration;

use crate::config::DatabaseSettings;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::sqlite::SqliteError;

use super::collector::Collection;
use super::collector::CollectionOutcome;
use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyUnit;
use super::collector::IntervalCollector;
use super::collector::Pace;
use super::collector::Section;
use super::consistent_read::Consistent;
use super::consistent_read::ConsistentReadError;
use super::pieces::read_in_pieces;
use super::readings::Readings;
use super::snapshot::DatabaseSnapshot;
use super::table_rows::TableCollection;
use super::table_rows::TableReadings;
use super::table_rows::read_tables;
use super::unlocked::RETRY_TIMEOUT;
use super::unlocked::none_if_busy;
use super::unlocked::unlocked;

/// The longest that one collection of all tables of a database may take.
const TABLES_TIMEOUT: Duration = Duration::from_secs(30);

static NO_READINGS: TableReadings = TableReadings { rows: Vec::new(), ages: Vec::new() };

pub(super) struct RowCountsCollector;

impl Collector for RowCountsCollector {
    fn name(&self) -> &'static str {
        "row_counts"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }

    fn section(&self) -> Section {
        Section { title: "Tables", text: "Updated at `table_interval`, if the database changed." }
    }
}

impl IntervalCollector for RowCountsCollector {
    fn pace(&self) -> Pace {
        Pace::Fast
    }

    fn parts(&self, settings: &DatabaseSettings) -> usize {
        let collectors = settings.collectors;
        let is_wanted = collectors.row_counts && !settings.row_counts.is_empty()
            || collectors.timestamps && !settings.timestamps.is_empty();
        usize::from(is_wanted)
    }

    fn interval(&self, settings: &DatabaseSettings, _part: usize) -> Duration {
        settings.table_interval
    }

    fn limits(&self, _settings: &DatabaseSettings, _part: usize) -> QueryLimits {
        QueryLimits::with_timeout(TABLES_TIMEOUT)
    }

    fn collect(
        &self,
        database: &Database,
        _part: usize,
        limits: &QueryLimits,
        previous: &Readings,
    ) -> CollectionOutcome {
        match read(database, limits) {
            Ok(None) => CollectionOutcome::Busy,
            Ok(Some(tables)) => {
                let readings = tables.with_previous(previous.get().unwrap_or(&NO_READINGS));
                CollectionOutcome::Collected(Collection {
                    value: Arc::new(readings),
                    problems: tables.problems,
                    errors: tables.errors,
                    dropped: tables.dropped,
                    is_partial: !tables.missed.is_empty(),
                })
            }
            Err(error) => CollectionOutcome::Failed(format!("tables: {error}")),
        }
    }
}

static FAMILIES: [Family; 3] = [
    Family {
        labels: &["table", "method"],
        ..Family::gauge(
            "sqlite_table_rows",
            "Rows of a table; method is count, or estimate if the count did not finish within its timeout",
            |snapshot, writer| {
                snapshot.tables().rows.iter().try_for_each(|row| {
                    writer.gauge(&[("table", &row.table), ("method", row.method.label())], row.rows as f64)
                })
            },
        )
    },
    Family {
        unit: Some(FamilyUnit::Seconds),
        labels: &["table"],
        ..Family::gauge(
            "sqlite_table_oldest_row_timestamp",
            "Time of the oldest row of a log table, in seconds since 1970; shows whether retention works",
            |snapshot, writer| {
                let mut ages = snapshot.tables().ages.iter();
                ages.try_for_each(|age| writer.gauge(&[("table", &age.table)], age.oldest))
            },
        )
    },
    Family {
        unit: Some(FamilyUnit::Seconds),
        labels: &["table"],
        ..Family::gauge(
            "sqlite_table_newest_row_timestamp",
            "Time of the newest row of a log table, in seconds since 1970; shows whether logging still works",
            |snapshot, writer| {
                let mut ages = snapshot.tables().ages.iter();
                ages.try_for_each(|age| writer.gauge(&[("table", &age.table)], age.newest))
            },
        )
    },
];

impl DatabaseSnapshot {
    /// Row counts and ages of the database's tables.
    #[must_use]
    pub fn tables(&self) -> &TableReadings {
        self.readings.get().unwrap_or(&NO_READINGS)
    }
}

/// Collects row counts and ages of the configured tables.
///
/// # Errors
/// What kept the database from being opened or its schema from being read; `None` when it was busy.
pub fn collect_tables(
    database: &Database,
) -> Result<Option<TableCollection>, ConsistentReadError<SqliteError>> {
    read(database, &QueryLimits::with_timeout(TABLES_TIMEOUT))
}

fn read(
    database: &Database,
    limits: &QueryLimits,
) -> Result<Option<TableCollection>, ConsistentReadError<SqliteError>> {
    let read = unlocked(database, limits, RETRY_TIMEOUT, |reader| read_tables(reader, database));
    if let Ok(Consistent::Unstable) = read {
        return read_in_pieces(database, limits);
    }
    none_if_busy(read, SqliteError::code)
}
