//! Custom metrics: the user's own SQL as one metric family each.
//!
//! A family has one type, one help text and one set of labels over all databases; `OpenMetrics` knows
//! no other kind. The SQL itself is not judged here, as only its database can.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::CustomKind;
use crate::config::CustomMetric;
use crate::config::DEFAULT_CUSTOM_INTERVAL;
use crate::config::DEFAULT_CUSTOM_MAX_ROWS;
use crate::config::DEFAULT_CUSTOM_TIMEOUT;
use crate::config::DEFAULT_CUSTOM_VALUE;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::decode::quoted;
use crate::config::names::metric_label_problem;
use crate::config::names::metric_name_problem;

const METRIC_KEYS: [&str; 9] =
    ["name", "type", "help", "sql", "value", "labels", "interval", "timeout", "max_rows"];

const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));

/// A read transaction holds back checkpoints for as long as the query runs.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(60));

/// Rows are series; the bound keeps one query from being most of the exposition.
const MAX_ROWS: (usize, usize) = (1, 10_000);

/// What every definition of one metric has in common, by name, with the key of the first.
#[derive(Debug, Default)]
pub(super) struct MetricDefinitions(BTreeMap<String, Family>);

#[derive(Debug)]
struct Family {
    key: String,
    kind: CustomKind,
    help: String,
    labels: Vec<String>,
}

/// Reads a list of custom metrics.
pub(super) fn read_custom_metrics(
    value: &Value<'_>,
    families: &mut MetricDefinitions,
    decoder: &mut Decoder<'_>,
) -> Vec<CustomMetric> {
    let mut metrics: Vec<CustomMetric> = Vec::new();
    for item in decoder.items(value).unwrap_or_default() {
        let Some(fields) = decoder.fields(&item, &METRIC_KEYS) else { continue };
        let Some(metric) = read_metric(&fields, decoder) else { continue };
        families.compare(&metric, &fields, decoder);
        if metrics.iter().any(|other| other.name == metric.name) {
            let message = format!("{} is listed already; a database has a metric once", quoted(&metric.name));
            decoder.refuse(fields.position_of("name"), &fields.child("name"), message);
        }
        metrics.push(metric);
    }
    metrics
}

fn read_metric(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Option<CustomMetric> {
    let name =
        decoder.require(fields, "name", "name: queue_depth").and_then(|value| read_name(&value, decoder));
    let kinds = [("gauge", CustomKind::Gauge), ("counter", CustomKind::Counter)];
    let kind =
        decoder.require(fields, "type", "type: gauge").and_then(|value| decoder.choice(&value, &kinds));
    let help =
        decoder.require(fields, "help", "help: Jobs that wait.").and_then(|value| decoder.text(&value));
    let sql = decoder
        .require(fields, "sql", "sql: SELECT count(*) AS value FROM jobs")
        .and_then(|value| decoder.text(&value));
    let column = optional(fields, "value", DEFAULT_CUSTOM_VALUE.to_owned(), |value| decoder.text(value));
    let labels = optional(fields, "labels", Vec::new(), |value| read_labels(value, decoder));
    let interval = optional(fields, "interval", DEFAULT_CUSTOM_INTERVAL, |value| {
        decoder.duration(value, INTERVAL.0..=INTERVAL.1)
    });
    let timeout = optional(fields, "timeout", DEFAULT_CUSTOM_TIMEOUT, |value| {
        decoder.duration(value, TIMEOUT.0..=TIMEOUT.1)
    });
    let max_rows = optional(fields, "max_rows", DEFAULT_CUSTOM_MAX_ROWS, |value| {
        decoder.number(value, MAX_ROWS.0..=MAX_ROWS.1)
    });
    let metric = CustomMetric {
        name: name?,
        kind: kind?,
        // A block scalar ends in a line break that no one wants in HELP.
        help: help?.trim().to_owned(),
        sql: sql?,
        value: column?,
        labels: labels?,
        interval: interval?,
        timeout: timeout?,
        max_rows: max_rows?,
    };
    refuse_value_as_label(&metric, fields, decoder);
    Some(metric)
}

/// The default without the key; with it, what is read, or nothing when that is wrong.
fn optional<'t, T>(
    fields: &Fields<'t>,
    name: &str,
    default: T,
    read: impl FnOnce(&Value<'t>) -> Option<T>,
) -> Option<T> {
    match fields.find(name) {
        None => Some(default),
        Some(value) => read(&value),
    }
}

fn read_name(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<String> {
    let name = decoder.text(value)?;
    let Some(problem) = metric_name_problem(&name) else { return Some(name) };
    decoder.refuse_value(value, format!("{} {problem}", quoted(&name)));
    None
}

fn read_labels(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<Vec<String>> {
    let mut labels: Vec<String> = Vec::new();
    let mut sound = true;
    for item in decoder.items(value)? {
        let Some(label) = decoder.text(&item) else {
            sound = false;
            continue;
        };
        let repeated = labels.contains(&label).then(|| "is listed already".to_owned());
        if let Some(problem) = metric_label_problem(&label).or(repeated) {
            decoder.refuse_value(&item, format!("{} {problem}", quoted(&label)));
            sound = false;
        }
        labels.push(label);
    }
    sound.then_some(labels)
}

fn refuse_value_as_label(metric: &CustomMetric, fields: &Fields<'_>, decoder: &mut Decoder<'_>) {
    if metric.labels.contains(&metric.value)
        && let Some(labels) = fields.find("labels")
    {
        let message =
            format!("{} is the column of the value and cannot be a label too", quoted(&metric.value));
        decoder.refuse_value(&labels, message);
    }
}

impl MetricDefinitions {
    /// Notes what is different from the first definition of the same metric, or keeps this one as first.
    fn compare(&mut self, metric: &CustomMetric, fields: &Fields<'_>, decoder: &mut Decoder<'_>) {
        let mut labels = metric.labels.clone();
        labels.sort();
        let Some(first) = self.0.get(&metric.name) else {
            let (key, kind, help) = (fields.key.clone(), metric.kind, metric.help.clone());
            self.0.insert(metric.name.clone(), Family { key, kind, help, labels });
            return;
        };
        let differences = [
            ("type", first.kind != metric.kind),
            ("help", first.help != metric.help),
            ("labels", first.labels != labels),
        ];
        for (key, _) in differences.iter().filter(|(_, different)| *different) {
            let message = format!(
                "{} has another {key} in {}; a metric has one type, help and set of labels in all databases",
                quoted(&metric.name),
                first.key
            );
            decoder.refuse(fields.position_of(key), &fields.child(key), message);
        }
    }
}
