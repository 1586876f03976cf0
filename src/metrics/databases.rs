//! The collector over the last snapshot: a database that is gone from it has no series any more.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeLabel;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::LabelSetEncoder;
use prometheus_client::encoding::MetricEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::config::CustomKind;
use crate::config::CustomMetric;
use crate::sample::Condition;
use crate::sample::Observed;
use crate::sample::Snapshot;
use crate::sqlite::CustomRows;

use super::families::DATABASE_FAMILIES;

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

/// `db` and the labels of one sample.
#[derive(Debug)]
struct Labels<'a> {
    db: Option<&'a str>,
    more: &'a [(&'a str, &'a str)],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        if let Some(db) = self.db {
            ("db", db).encode(encoder.encode_label())?;
        }
        self.more.iter().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

/// Where the samples of one database in one family go.
pub(super) struct Sink<'a, 'e> {
    encoder: &'a mut MetricEncoder<'e>,
    db: &'a str,
}

impl Sink<'_, '_> {
    /// One sample of a gauge. Values are f64: prometheus-client fails the whole text on a u64 above `i64::MAX`.
    pub(super) fn gauge(&mut self, more: &[(&str, &str)], value: f64) -> fmt::Result {
        let labels = Labels { db: Some(self.db), more };
        ConstGauge::new(value).encode(self.encoder.encode_family(&labels)?)
    }

    /// One sample of a counter.
    pub(super) fn counter(&mut self, more: &[(&str, &str)], value: u64) -> fmt::Result {
        let labels = Labels { db: Some(self.db), more };
        ConstCounter::new(value).encode(self.encoder.encode_family(&labels)?)
    }

    /// One info sample.
    pub(super) fn info(&mut self, more: &[(&str, &str)]) -> fmt::Result {
        self.encoder.encode_info(&Labels { db: Some(self.db), more })
    }

    /// `sqlite_db_info`. What is not known is an empty label, which Prometheus takes for an absent one.
    pub(super) fn database_info(&mut self, observed: &Observed) -> fmt::Result {
        let settings = &observed.database.settings;
        let path = observed.database.path.to_string_lossy();
        let header = observed.facts.as_ref().map(|facts| facts.header);
        let application_id = header.map(|header| header.application_id.to_string()).unwrap_or_default();
        let mut labels: Vec<(&str, &str)> = vec![
            ("path", &path),
            ("journal_mode", header.map_or("", |header| header.journal_mode.label())),
            ("auto_vacuum", header.map_or("", |header| header.auto_vacuum.label())),
            ("encoding", header.map_or("", |header| header.encoding.label())),
            ("application_id", &application_id),
            ("profile", &settings.profile),
        ];
        labels.extend(settings.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.info(&labels)
    }
}

impl Collector for DatabaseCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let snapshot = self.snapshot.load();
        for family in DATABASE_FAMILIES {
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), family.kind)?;
            for observed in &snapshot.databases {
                let mut sink = Sink { encoder: &mut metric, db: observed.database.name.as_str() };
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
    for condition in Condition::ALL {
        let labels = Labels { db: None, more: &[("state", condition.label())] };
        ConstGauge::new(snapshot.count(condition) as f64).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The user's own metrics: one family a name, whichever databases have it.
fn encode_custom(snapshot: &Snapshot, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let mut families: BTreeMap<&str, Vec<(&Observed, &CustomMetric, &CustomRows)>> = BTreeMap::new();
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
