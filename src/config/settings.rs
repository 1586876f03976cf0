//! The settings of a profile or a database, and how one is laid over the other.
//!
//! A layer holds what was written and nothing else; defaults come in once, when the layers are laid
//! together. Filled in earlier, a database's default would hide its profile's choice.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Collectors;
use crate::config::CustomMetric;
use crate::config::DatabaseSettings;
use crate::config::TimestampColumn;
use crate::config::TimestampFormat;
use crate::config::alerts::AlertThresholds;
use crate::config::alerts::read_alerts;
use crate::config::columns::parse_epoch;
use crate::config::columns::parse_unit;
use crate::config::custom::MetricDefinitions;
use crate::config::custom::read_custom_metrics;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::decode::quoted;
use crate::config::names::info_label_problem;
use crate::config::tasks_read::ParseContext;
use crate::config::tasks_read::TaskLayer;
use crate::config::tasks_read::read_tasks;
use crate::config::tree::Node;

/// The keys of a profile, and of every entry of `databases`.
pub(super) const SETTINGS_KEYS: [&str; 13] = [
    "labels",
    "row_counts",
    "timestamps",
    "custom_metrics",
    "table_interval",
    "count_timeout",
    "table_sizes_interval",
    "table_sizes_top",
    "table_sizes_timeout",
    "collectors",
    "owner_busy_timeout",
    "tasks",
    "alerts",
];

/// Below a second, counting would be all that the agent does; above a week, a metric is no metric.
const TABLE_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));

/// A count holds back checkpoints (WAL) or writers (rollback journal) as long as it runs.
const COUNT_TIMEOUT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(60));

/// A look at the space reads every page; more than once a minute it would be most of what the agent does.
const TABLE_SIZES_INTERVAL: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(30 * 86_400));

/// Tables by size; each is two series and one more for each index.
const TABLE_SIZES_TOP: (usize, usize) = (1, 1_000);

/// An application that waits longer than this for a lock is not heard of.
const OWNER_BUSY_TIMEOUT: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(3600));

/// What a profile or a database says itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    labels: BTreeMap<String, String>,
    row_counts: Option<Vec<String>>,
    timestamps: Option<Vec<TimestampColumn>>,
    custom_metrics: Vec<CustomMetric>,
    table_interval: Option<Duration>,
    count_timeout: Option<Duration>,
    table_sizes_interval: Option<Duration>,
    table_sizes_top: Option<usize>,
    table_sizes_timeout: Option<Duration>,
    schema: Option<bool>,
    count_rows: Option<bool>,
    read_timestamps: Option<bool>,
    run_custom_metrics: Option<bool>,
    measure_table_sizes: Option<bool>,
    owner_busy_timeout: Option<Option<Duration>>,
    tasks: TaskLayer,
    alerts: AlertThresholds,
}

impl Layer {
    /// The names of its own custom metrics.
    pub fn metric_names(&self) -> impl Iterator<Item = &str> {
        self.custom_metrics.iter().map(|metric| metric.name.as_str())
    }

    /// Lays the layer over settings: what it says replaces what was there, while labels and thresholds of alerts are
    /// merged by name and custom metrics are added.
    pub fn apply(self, settings: &mut DatabaseSettings) {
        settings.labels.extend(self.labels);
        settings.alerts.extend(self.alerts);
        settings.custom_metrics.extend(self.custom_metrics);
        replace(&mut settings.row_counts, self.row_counts);
        replace(&mut settings.timestamps, self.timestamps);
        replace(&mut settings.table_interval, self.table_interval);
        replace(&mut settings.count_timeout, self.count_timeout);
        replace(&mut settings.table_sizes_interval, self.table_sizes_interval);
        replace(&mut settings.table_sizes_top, self.table_sizes_top);
        replace(&mut settings.table_sizes_timeout, self.table_sizes_timeout);
        let Collectors { schema, row_counts, timestamps, custom_metrics, table_sizes } =
            &mut settings.collectors;
        replace(schema, self.schema);
        replace(row_counts, self.count_rows);
        replace(timestamps, self.read_timestamps);
        replace(custom_metrics, self.run_custom_metrics);
        replace(table_sizes, self.measure_table_sizes);
        replace(&mut settings.owner_busy_timeout, self.owner_busy_timeout);
        replace(&mut settings.tasks.health_check, self.tasks.health_check);
        replace(&mut settings.tasks.vacuum, self.tasks.vacuum);
        replace(&mut settings.tasks.log_cleaning, self.tasks.log_cleaning);
        replace(&mut settings.tasks.backup, self.tasks.backup);
        replace(&mut settings.tasks.checkpoint, self.tasks.checkpoint);
        replace(&mut settings.tasks.optimize, self.tasks.optimize);
    }
}

fn replace<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Reads the settings among the fields of a profile or an entry.
pub(super) fn read_layer(
    fields: &Fields<'_>,
    families: &mut MetricDefinitions,
    context: &ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Layer {
    let mut layer = Layer::default();
    if let Some(value) = fields.find("labels") {
        layer.labels = read_labels(&value, decoder);
    }
    layer.row_counts = fields.find("row_counts").and_then(|value| read_row_counts(&value, decoder));
    layer.timestamps = fields.find("timestamps").and_then(|value| read_timestamps(&value, decoder));
    if let Some(value) = fields.find("custom_metrics") {
        layer.custom_metrics = read_custom_metrics(&value, families, decoder);
    }
    layer.table_interval = fields
        .find("table_interval")
        .and_then(|value| decoder.duration(&value, TABLE_INTERVAL.0..=TABLE_INTERVAL.1));
    layer.count_timeout = fields
        .find("count_timeout")
        .and_then(|value| decoder.duration(&value, COUNT_TIMEOUT.0..=COUNT_TIMEOUT.1));
    read_space(fields, &mut layer, decoder);
    if let Some(value) = fields.find("collectors") {
        read_collectors(&value, &mut layer, decoder);
    }
    layer.owner_busy_timeout = fields
        .given("owner_busy_timeout")
        .and_then(|value| decoder.duration(&value, OWNER_BUSY_TIMEOUT.0..=OWNER_BUSY_TIMEOUT.1))
        .map(Some);
    if let Some(value) = fields.find("tasks") {
        layer.tasks = read_tasks(&value, context, decoder);
    }
    if let Some(value) = fields.find("alerts") {
        layer.alerts = read_alerts(&value, decoder);
    }
    layer
}

fn read_space(fields: &Fields<'_>, layer: &mut Layer, decoder: &mut Decoder<'_>) {
    let mut duration = |name, (least, most): (Duration, Duration)| {
        fields.find(name).and_then(|value| decoder.duration(&value, least..=most))
    };
    layer.table_sizes_interval = duration("table_sizes_interval", TABLE_SIZES_INTERVAL);
    layer.table_sizes_timeout = duration("table_sizes_timeout", COUNT_TIMEOUT);
    layer.table_sizes_top = fields
        .find("table_sizes_top")
        .and_then(|value| decoder.number(&value, TABLE_SIZES_TOP.0..=TABLE_SIZES_TOP.1));
}

fn read_labels(value: &Value<'_>, decoder: &mut Decoder<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (name, position, tree) in decoder.entries(value).unwrap_or_default() {
        let label = Value { tree, key: format!("{}.{name}", value.key) };
        if let Some(problem) = info_label_problem(name) {
            decoder.refuse(position, &label.key, problem);
        }
        if let Some(text) = decoder.scalar(&label) {
            labels.insert(name.to_owned(), text.into_owned());
        }
    }
    labels
}

/// A list of tables, or the word `all`.
fn read_row_counts(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<Vec<String>> {
    let Node::Scalar(_) = &value.tree.node else { return decoder.texts(value) };
    let text = decoder.scalar(value)?;
    if text == "all" {
        return Some(vec!["*".to_owned()]);
    }
    let message = format!("must be a list of tables or the word `all`, not {}", quoted(&text));
    decoder.refuse_value(value, message);
    None
}

fn read_timestamps(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<Vec<TimestampColumn>> {
    let mut columns: Vec<TimestampColumn> = Vec::new();
    for item in decoder.items(value)? {
        let Some(column) = read_timestamp(&item, decoder) else { continue };
        // The series have the table as their only label: a second column would be the same series.
        if columns.iter().any(|other| other.table == column.table) {
            let message =
                format!("the table {} is listed already; it has one time column", quoted(&column.table));
            decoder.refuse_value(&item, message);
            continue;
        }
        columns.push(column);
    }
    Some(columns)
}

fn read_timestamp(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<TimestampColumn> {
    let fields = decoder.fields(value, &["table", "column", "format"])?;
    let table = decoder.require(&fields, "table", "table: logs").and_then(|value| decoder.text(&value));
    let column =
        decoder.require(&fields, "column", "column: created_at").and_then(|value| decoder.text(&value));
    let format = match fields.find("format") {
        None => Some(TimestampFormat::Auto),
        Some(value) => read_format(&value, decoder),
    };
    Some(TimestampColumn { table: table?, column: column?, format: format? })
}

/// How a column writes a time: a word, or an epoch of the application's own with its unit.
pub(super) fn read_format(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<TimestampFormat> {
    if !matches!(value.tree.node, Node::Mapping(_)) {
        return decoder.choice(value, &TimestampFormat::WORDS);
    }
    let fields = decoder.fields(value, &["epoch", "unit"])?;
    let epoch = decoder.require(&fields, "epoch", "epoch: 2001-01-01");
    let unit = decoder.require(&fields, "unit", "unit: 1s");
    let seconds = epoch.and_then(|value| {
        let text = decoder.text(&value)?;
        let seconds = parse_epoch(&text);
        if seconds.is_none() {
            let words = "is no date; write it as in `2001-01-01` or `2001-01-01T12:00:00Z`";
            decoder.refuse_value(&value, format!("`{text}` {words}"));
        }
        seconds
    });
    let unit_nanoseconds = unit.and_then(|value| {
        let text = decoder.text(&value)?;
        let unit = parse_unit(&text);
        if unit.is_none() {
            let words = "is no unit; write it as in `1ns`, `100ns`, `1us`, `1ms`, `1s`, `1m`, `1h` or `1d`";
            decoder.refuse_value(&value, format!("`{text}` {words}"));
        }
        unit
    });
    Some(TimestampFormat::Epoch { seconds: seconds?, unit_nanoseconds: unit_nanoseconds? })
}

fn read_collectors(value: &Value<'_>, layer: &mut Layer, decoder: &mut Decoder<'_>) {
    let names = ["schema", "row_counts", "timestamps", "custom_metrics", "table_sizes"];
    let Some(fields) = decoder.fields(value, &names) else { return };
    let mut switch = |name| fields.find(name).and_then(|value| decoder.switch(&value));
    layer.schema = switch("schema");
    layer.count_rows = switch("row_counts");
    layer.read_timestamps = switch("timestamps");
    layer.run_custom_metrics = switch("custom_metrics");
    layer.measure_table_sizes = switch("table_sizes");
}
