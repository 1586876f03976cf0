//! How a database is watched: its profile with its own settings laid over it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Collectors;
use super::CustomKind;
use super::CustomMetric;
use super::Settings;
use super::TimestampColumn;
use super::TimestampFormat;
use super::decode::Decoder;
use super::decode::Fields;
use super::tree::Node;
use super::tree::Value;

const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const SHORTEST_BUDGET: Duration = Duration::from_millis(1);
/// The most rows of a custom metric.
const MOST_ROWS: usize = 10_000;
/// Labels of `sqlite_db_info` that are not the user's to give, and those that Prometheus gives itself.
const RESERVED_LABELS: [&str; 9] =
    ["db", "job", "instance", "path", "journal_mode", "auto_vacuum", "encoding", "application_id", "profile"];
/// Label columns of custom metrics that would collide.
const RESERVED_COLUMNS: [&str; 5] = ["db", "job", "instance", "le", "quantile"];
/// Suffixes that mean something to Prometheus; `_total` is added to a counter's name.
const RESERVED_SUFFIXES: [&str; 6] = ["_total", "_count", "_sum", "_bucket", "_info", "_created"];

/// The settings that a profile or a database names; what it leaves out is `None`.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrides {
    labels: BTreeMap<String, String>,
    row_counts: Option<Vec<String>>,
    timestamps: Option<Vec<TimestampColumn>>,
    custom_metrics: Vec<CustomMetric>,
    table_interval: Option<Duration>,
    count_budget: Option<Duration>,
    schema: Option<bool>,
    count_rows: Option<bool>,
    read_timestamps: Option<bool>,
    run_custom: Option<bool>,
}

impl Overrides {
    /// These settings with `own` laid over them: maps by key, lists of metrics one after the other.
    pub(super) fn under(mut self, own: Self) -> Self {
        self.labels.extend(own.labels);
        self.custom_metrics.extend(own.custom_metrics);
        Self {
            labels: self.labels,
            custom_metrics: self.custom_metrics,
            row_counts: own.row_counts.or(self.row_counts),
            timestamps: own.timestamps.or(self.timestamps),
            table_interval: own.table_interval.or(self.table_interval),
            count_budget: own.count_budget.or(self.count_budget),
            schema: own.schema.or(self.schema),
            count_rows: own.count_rows.or(self.count_rows),
            read_timestamps: own.read_timestamps.or(self.read_timestamps),
            run_custom: own.run_custom.or(self.run_custom),
        }
    }

    /// The settings with every default filled in.
    pub(super) fn settings(self, profile: String) -> Settings {
        let default = Settings::default();
        Settings {
            profile,
            labels: self.labels,
            row_counts: self.row_counts.unwrap_or(default.row_counts),
            timestamps: self.timestamps.unwrap_or(default.timestamps),
            custom_metrics: self.custom_metrics,
            table_interval: self.table_interval.unwrap_or(default.table_interval),
            count_budget: self.count_budget.unwrap_or(default.count_budget),
            collectors: Collectors {
                schema: self.schema.unwrap_or(default.collectors.schema),
                row_counts: self.count_rows.unwrap_or(default.collectors.row_counts),
                timestamps: self.read_timestamps.unwrap_or(default.collectors.timestamps),
                custom_metrics: self.run_custom.unwrap_or(default.collectors.custom_metrics),
            },
        }
    }
}

/// Takes the settings out of a mapping that may hold other keys besides.
pub(super) fn read_overrides(decoder: &mut Decoder<'_>, fields: &mut Fields) -> Overrides {
    let mut overrides = Overrides::default();
    if let Some((key, node)) = fields.take("labels") {
        overrides.labels = labels(decoder, node, &key);
    }
    if let Some((key, node)) = fields.take("row_counts") {
        overrides.row_counts = Some(row_counts(decoder, node, &key));
    }
    if let Some((key, node)) = fields.take("timestamps") {
        let items = decoder.items(node, &key);
        overrides.timestamps =
            Some(items.into_iter().filter_map(|(key, item)| timestamp(decoder, item, &key)).collect());
    }
    if let Some((key, node)) = fields.take("custom_metrics") {
        let items = decoder.items(node, &key);
        overrides.custom_metrics =
            items.into_iter().filter_map(|(key, item)| custom(decoder, item, &key)).collect();
    }
    if let Some((key, node)) = fields.take("table_interval") {
        overrides.table_interval = decoder.duration(&node, &key, SHORTEST_INTERVAL);
    }
    if let Some((key, node)) = fields.take("count_budget") {
        overrides.count_budget = decoder.duration(&node, &key, SHORTEST_BUDGET);
    }
    if let Some((key, node)) = fields.take("collectors") {
        let mut switches = decoder.fields(node, &key);
        for (name, switch) in [
            ("schema", &mut overrides.schema),
            ("row_counts", &mut overrides.count_rows),
            ("timestamps", &mut overrides.read_timestamps),
            ("custom_metrics", &mut overrides.run_custom),
        ] {
            *switch = switches.take(name).and_then(|(key, node)| decoder.switch(&node, &key));
        }
        switches.finish(decoder);
    }
    overrides
}

fn labels(decoder: &mut Decoder<'_>, node: Node, key: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (place, name, value) in decoder.fields(node, key).rest() {
        let key = format!("{key}.{name}");
        if RESERVED_LABELS.contains(&name.as_str()) {
            decoder.fail(
                place,
                &key,
                format!("the label {name:?} is given by litekeeper or Prometheus; choose another name"),
            );
        } else if !is_label_name(&name) {
            decoder.fail(
                place,
                &key,
                "this is no label name; letters, digits and _ are allowed, no digit first and no __",
            );
        }
        if let Some(value) = decoder.text(&value, &key) {
            labels.insert(name, value);
        }
    }
    labels
}

fn is_label_name(name: &str) -> bool {
    let first = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let all = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    first && all && !name.starts_with("__")
}

fn row_counts(decoder: &mut Decoder<'_>, node: Node, key: &str) -> Vec<String> {
    if matches!(&node.value, Value::Scalar(word) if word == "all") {
        return vec!["*".to_owned()];
    }
    if matches!(&node.value, Value::Scalar(_)) {
        decoder.fail(node.place, key, "a list of tables is wanted, [companies, logs_*], or the word all");
        return Vec::new();
    }
    decoder.patterns(node, key)
}

fn timestamp(decoder: &mut Decoder<'_>, node: Node, key: &str) -> Option<TimestampColumn> {
    let mut fields = decoder.fields(node, key);
    let table = fields.need(decoder, "table").and_then(|(key, node)| decoder.text(&node, &key));
    let column = fields.need(decoder, "column").and_then(|(key, node)| decoder.text(&node, &key));
    let format = fields.take("format").and_then(|(key, node)| {
        decoder.choice(
            &node,
            &key,
            &[
                ("auto", TimestampFormat::Auto),
                ("iso8601", TimestampFormat::Iso8601),
                ("unix_seconds", TimestampFormat::UnixSeconds),
                ("unix_milliseconds", TimestampFormat::UnixMilliseconds),
                ("unix_microseconds", TimestampFormat::UnixMicroseconds),
                ("julian_day", TimestampFormat::JulianDay),
            ],
        )
    });
    fields.finish(decoder);
    Some(TimestampColumn { table: table?, column: column?, format: format.unwrap_or(TimestampFormat::Auto) })
}

fn custom(decoder: &mut Decoder<'_>, node: Node, key: &str) -> Option<CustomMetric> {
    let mut fields = decoder.fields(node, key);
    let name = fields.need(decoder, "name").and_then(|(key, node)| metric_name(decoder, &node, &key));
    let kind = fields.need(decoder, "type").and_then(|(key, node)| {
        decoder.choice(&node, &key, &[("gauge", CustomKind::Gauge), ("counter", CustomKind::Counter)])
    });
    let help = fields.need(decoder, "help").and_then(|(key, node)| decoder.text(&node, &key));
    let sql = fields.need(decoder, "sql").and_then(|(key, node)| decoder.text(&node, &key));
    let value = fields.take("value").and_then(|(key, node)| decoder.text(&node, &key));
    let labels = fields.take("labels").map(|(key, node)| columns(decoder, node, &key));
    let interval =
        fields.take("interval").and_then(|(key, node)| decoder.duration(&node, &key, SHORTEST_INTERVAL));
    let budget = fields.take("budget").and_then(|(key, node)| decoder.duration(&node, &key, SHORTEST_BUDGET));
    let max_rows = fields.take("max_rows").and_then(|(key, node)| decoder.count(&node, &key, MOST_ROWS));
    fields.finish(decoder);
    Some(CustomMetric {
        name: name?,
        kind: kind?,
        help: help?,
        sql: sql?,
        value: value.unwrap_or_else(|| "value".to_owned()),
        labels: labels.unwrap_or_default(),
        interval: interval.unwrap_or(Duration::from_secs(60)),
        budget: budget.unwrap_or(Duration::from_millis(200)),
        max_rows: max_rows.unwrap_or(100),
    })
}

fn metric_name(decoder: &mut Decoder<'_>, node: &Node, key: &str) -> Option<String> {
    let name = decoder.text(node, key)?;
    let valid = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_');
    if !valid {
        decoder.fail(
            node.place,
            key,
            format!(
                "{name:?} is no metric name; lower-case letters, digits and _ are allowed, a letter first"
            ),
        );
    } else if let Some(suffix) = RESERVED_SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
        decoder.fail(node.place, key, format!("leave {suffix} out; a counter gets _total by itself"));
    }
    Some(name)
}

fn columns(decoder: &mut Decoder<'_>, node: Node, key: &str) -> Vec<String> {
    let items = decoder.items(node, key);
    let mut columns = Vec::new();
    for (key, item) in items {
        let Some(name) = decoder.text(&item, &key) else { continue };
        if RESERVED_COLUMNS.contains(&name.as_str()) || !is_label_name(&name) {
            decoder.fail(
                item.place,
                &key,
                format!("{name:?} cannot be a label here; rename the column with AS"),
            );
        } else if columns.contains(&name) {
            decoder.fail(item.place, &key, format!("{name:?} stands here twice"));
        }
        columns.push(name);
    }
    columns
}
