//! The user's own SQL, one query for each custom metric, each at its own interval.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::CustomKind;
use crate::config::CustomMetric;
use crate::config::DatabaseSettings;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::sqlite::CustomError;
use crate::sqlite::QueryResult;
use crate::sqlite::SqliteError;

use super::collector::Collection;
use super::collector::CollectionOutcome;
use super::collector::Collector;
use super::collector::DynamicFamily;
use super::collector::DynamicSample;
use super::collector::Family;
use super::collector::FamilyKind;
use super::collector::IntervalCollector;
use super::collector::Pace;
use super::consistent_read::ConsistentReadError;
use super::consistent_read::OpenFailure;
use super::readings::Readings;
use super::snapshot::DatabaseSnapshot;
use super::snapshot::Snapshot;
use super::unlocked::RETRY_TIMEOUT;
use super::unlocked::none_if_busy;
use super::unlocked::unlocked;

/// The prefix of the names of custom metrics.
const PREFIX: &str = "sqlite_custom_";

/// Time for opening and parsing the schema, beside the query's own.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct CustomMetricsCollector;

impl Collector for CustomMetricsCollector {
    fn name(&self) -> &'static str {
        "custom_metrics"
    }

    fn families(&self) -> &'static [Family] {
        &[]
    }

    fn dynamic_families<'s>(&self, snapshot: &'s Snapshot) -> Vec<DynamicFamily<'s>> {
        let mut families: BTreeMap<&str, DynamicFamily<'s>> = BTreeMap::new();
        for database in &snapshot.databases {
            for (index, result) in database.custom_results() {
                // An answer that came just before a reload may name a metric that is gone.
                let Some(metric) = database.database.settings.custom_metrics.get(index) else { continue };
                let family = families.entry(&metric.name).or_insert_with(|| DynamicFamily {
                    name: format!("{PREFIX}{}", metric.name),
                    help: one_line(&metric.help),
                    kind: family_kind(metric),
                    samples: Vec::new(),
                });
                let db = database.database.name.as_str();
                family.samples.extend(result.rows.iter().map(|(values, value)| {
                    DynamicSample {
                        db,
                        labels: metric
                            .labels
                            .iter()
                            .map(String::as_str)
                            .zip(values.iter().map(String::as_str))
                            .collect(),
                        value: *value,
                        kind: family_kind(metric),
                    }
                }));
            }
        }
        families.into_values().collect()
    }
}

impl IntervalCollector for CustomMetricsCollector {
    fn pace(&self) -> Pace {
        Pace::Fast
    }

    fn parts(&self, settings: &DatabaseSettings) -> usize {
        if settings.collectors.custom_metrics { settings.custom_metrics.len() } else { 0 }
    }

    fn interval(&self, settings: &DatabaseSettings, part: usize) -> Duration {
        settings.custom_metrics[part].interval
    }

    fn limits(&self, settings: &DatabaseSettings, part: usize) -> QueryLimits {
        limits(&settings.custom_metrics[part])
    }

    fn depends_on_time(&self) -> bool {
        true
    }

    fn collect(
        &self,
        database: &Database,
        part: usize,
        limits: &QueryLimits,
        _previous: &Readings,
    ) -> CollectionOutcome {
        let metric = &database.settings.custom_metrics[part];
        match query(database, metric, limits) {
            Ok(None) => CollectionOutcome::Busy,
            Ok(Some(result)) => {
                let dropped = result.dropped;
                CollectionOutcome::Collected(Collection { dropped, ..Collection::new(result) })
            }
            Err(error) => CollectionOutcome::Failed(format!("custom metric {}: {error}", metric.name)),
        }
    }
}

impl DatabaseSnapshot {
    /// The answers to custom queries, by their place among the database's custom metrics.
    pub fn custom_results(&self) -> impl Iterator<Item = (usize, &QueryResult)> {
        self.readings.parts()
    }
}

/// Runs one of the user's own queries; `None` when the database was busy.
///
/// # Errors
/// What kept the database from being opened, and what the query did wrong.
pub fn collect_custom(
    database: &Database,
    metric: &CustomMetric,
) -> Result<Option<Arc<QueryResult>>, ConsistentReadError<CustomError>> {
    query(database, metric, &limits(metric))
}

fn query(
    database: &Database,
    metric: &CustomMetric,
    limits: &QueryLimits,
) -> Result<Option<Arc<QueryResult>>, ConsistentReadError<CustomError>> {
    let read = unlocked(database, limits, RETRY_TIMEOUT, |reader| {
        let max_rows = metric.max_rows.min(database.series_limit);
        let result = reader.custom(&metric.sql, &metric.value, &metric.labels, max_rows, metric.timeout)?;
        // Prometheus takes a counter that falls for one that began anew, and none begins below
        // zero.
        let wrong = result.rows.values().find(|value| !(value.is_finite() && **value >= 0.0));
        match wrong.filter(|_| metric.kind == CustomKind::Counter) {
            Some(value) => Err(CustomError::NegativeCounter(metric.value.clone(), *value)),
            None => Ok(result),
        }
    });
    let code = |error: &CustomError| match error {
        CustomError::Sqlite(error) => error.code(),
        CustomError::NoColumn(_)
        | CustomError::NotANumber(..)
        | CustomError::NegativeCounter(..)
        | CustomError::DuplicateLabels(_) => None,
    };
    Ok(none_if_busy(read, code)?.map(Arc::new))
}

fn limits(metric: &CustomMetric) -> QueryLimits {
    QueryLimits::with_timeout(metric.timeout + OPEN_TIMEOUT)
}

fn family_kind(metric: &CustomMetric) -> FamilyKind {
    match metric.kind {
        CustomKind::Gauge => FamilyKind::Gauge,
        CustomKind::Counter => FamilyKind::Counter,
    }
}

/// HELP is the rest of a line in both text forms, and prometheus-client does not escape it.
fn one_line(help: &str) -> String {
    help.replace('\\', "\\\\").replace('\n', " ").replace('"', "'")
}

impl OpenFailure for CustomError {
    fn sqlite_error(&self) -> Option<&SqliteError> {
        if let Self::Sqlite(error) = self { Some(error) } else { None }
    }
}
