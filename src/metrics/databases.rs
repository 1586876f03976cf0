//! The exposition of the last snapshot, from the families that the collectors declare: a database
//! that is gone from the snapshot has no series any more.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::collectors;
use crate::collectors::DatabaseState;
use crate::collectors::Family;
use crate::collectors::FamilyKind;
use crate::collectors::FamilyUnit;
use crate::collectors::Snapshot;
use crate::collectors::families;

use super::sample_writer::Labels;
use super::sample_writer::SampleWriter;

/// Formats the last snapshot at every scrape.
pub(super) struct DatabaseCollector {
    snapshot: Arc<ArcSwap<Snapshot>>,
    families: Vec<&'static Family>,
}

impl fmt::Debug for DatabaseCollector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DatabaseCollector").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

impl DatabaseCollector {
    pub(super) fn new(snapshot: Arc<ArcSwap<Snapshot>>) -> Self {
        Self { snapshot, families: families() }
    }
}

impl Collector for DatabaseCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let snapshot = self.snapshot.load();
        for family in &self.families {
            let unit = family.unit.map(unit);
            let mut metric = encoder.encode_descriptor(
                family.name,
                family.help,
                unit.as_ref(),
                metric_type(family.kind),
            )?;
            for database in &snapshot.databases {
                let mut writer = SampleWriter { encoder: &mut metric, db: database.database.name.as_str() };
                (family.samples)(database, &mut writer)?;
            }
        }
        encode_dynamic(&snapshot, &mut encoder)?;
        encode_states(&snapshot, &mut encoder)
    }
}

/// The type as prometheus-client names it.
pub(super) fn metric_type(kind: FamilyKind) -> MetricType {
    match kind {
        FamilyKind::Gauge => MetricType::Gauge,
        FamilyKind::Counter => MetricType::Counter,
        FamilyKind::Info => MetricType::Info,
    }
}

/// The unit as prometheus-client names it.
pub(super) fn unit(unit: FamilyUnit) -> Unit {
    match unit {
        FamilyUnit::Bytes => Unit::Bytes,
        FamilyUnit::Seconds => Unit::Seconds,
    }
}

/// `litekeeper_databases{state}`.
fn encode_states(snapshot: &Snapshot, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let (name, help) = super::agent::DATABASES;
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for state in DatabaseState::ALL {
        let labels = Labels { db: None, extra: &[("state", state.label())] };
        ConstGauge::new(snapshot.count(state) as f64).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The families whose names come from the configuration: one family per name, whichever databases
/// have it.
fn encode_dynamic(snapshot: &Snapshot, encoder: &mut DescriptorEncoder) -> fmt::Result {
    for family in collectors::collectors().flat_map(|collector| collector.dynamic_families(snapshot)) {
        let kind = metric_type(family.kind);
        let mut metric = encoder.encode_descriptor(&family.name, &family.help, None, kind)?;
        for sample in family.samples {
            let labels = Labels { db: Some(sample.db), extra: &sample.labels };
            let encoder = metric.encode_family(&labels)?;
            match sample.kind {
                FamilyKind::Gauge | FamilyKind::Info => ConstGauge::new(sample.value).encode(encoder)?,
                FamilyKind::Counter => ConstCounter::new(sample.value).encode(encoder)?,
            }
        }
    }
    Ok(())
}
