//! The collector over the last snapshot: a database that is gone from it has no series any more.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::collectors::DatabaseSnapshot;
use crate::collectors::DatabaseState;
use crate::collectors::Snapshot;
use crate::config::CustomKind;
use crate::config::CustomMetric;
use crate::sqlite::CustomRows;

use super::families::DATABASE_FAMILIES;
use super::sample_writer::Labels;
use super::sample_writer::SampleWriter;

/// The prefix of the names of custom metrics.
const CUSTOM_PREFIX: &str = "sqlite_custom_";

/// Formats the last snapshot at every scrape.
#[derive(Debug)]
pub(super) struct DatabaseCollector {
    snapshot: Arc<ArcSwap<Snapshot>>,
}

impl DatabaseCollector {
    pub(super) fn new(snapshot: Arc<ArcSwap<Snapshot>>) -> Self {
        Self { snapshot }
    }
}

impl Collector for DatabaseCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let snapshot = self.snapshot.load();
        for family in DATABASE_FAMILIES {
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), family.kind)?;
            for observed in &snapshot.databases {
                let mut sink = SampleWriter { encoder: &mut metric, db: observed.database.name.as_str() };
                (family.samples)(observed, &mut sink)?;
            }
        }
        encode_custom(&snapshot, &mut encoder)?;
        encode_conditions(&snapshot, &mut encoder)
    }
}

/// `litekeeper_databases{state}`.
fn encode_conditions(snapshot: &Snapshot, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let (name, help) = super::agent::DATABASES;
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for state in DatabaseState::ALL {
        let labels = Labels { db: None, more: &[("state", state.label())] };
        ConstGauge::new(snapshot.count(state) as f64).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The user's own metrics: one family a name, whichever databases have it.
fn encode_custom(snapshot: &Snapshot, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let mut families: BTreeMap<&str, Vec<(&DatabaseSnapshot, &CustomMetric, &CustomRows)>> = BTreeMap::new();
    for observed in &snapshot.databases {
        for reading in &observed.custom {
            // An answer that came just before a reload may name a metric that is gone.
            let Some(metric) = observed.database.settings.custom_metrics.get(reading.index) else { continue };
            families.entry(&metric.name).or_default().push((observed, metric, &reading.answer.rows));
        }
    }
    for (name, answers) in families {
        let Some((_, first, _)) = answers.first() else { continue };
        let kind = match first.kind {
            CustomKind::Gauge => MetricType::Gauge,
            CustomKind::Counter => MetricType::Counter,
        };
        let (name, help) = (format!("{CUSTOM_PREFIX}{name}"), one_line(&first.help));
        let mut family = encoder.encode_descriptor(&name, &help, None, kind)?;
        for (observed, metric, rows) in answers {
            for (values, number) in rows {
                let more: Vec<(&str, &str)> =
                    metric.labels.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
                let labels = Labels { db: Some(observed.database.name.as_str()), more: &more };
                let sample = family.encode_family(&labels)?;
                match metric.kind {
                    CustomKind::Gauge => ConstGauge::new(*number).encode(sample)?,
                    CustomKind::Counter => ConstCounter::new(*number).encode(sample)?,
                }
            }
        }
    }
    Ok(())
}

/// HELP is the rest of a line in both forms, and prometheus-client does not escape it.
fn one_line(help: &str) -> String {
    help.replace('\\', "\\\\").replace('\n', " ").replace('"', "'")
}
