//! Custom metrics: the user's own SQL as one metric family each.
//!
//! A family has one type, one help text and one set of labels over all databases, as `OpenMetrics`
//! requires. The SQL itself is checked when it runs, as only its database can.

use std::time::Duration;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::environment::escape;
use crate::config::kinds::Required;
use crate::config::messages::quoted;
use crate::config::metric_definitions::CustomKind;
use crate::config::names::metric_label_problem;
use crate::config::names::metric_name_problem;
use crate::config::section::Section;
use crate::config::section::read_section;
use crate::config::section::section;
use crate::config::units::DAY;
use crate::config::units::MILLISECOND;
use crate::config::units::MINUTE;
use crate::config::units::SECOND;
use crate::config::values::Between;
use crate::config::values::By;
use crate::config::values::Choice;
use crate::config::values::Text;
use crate::config::values::escape_all;

section! {
    /// A metric from the user's own read-only SQL.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CustomMetric {
        /// The name after `sqlite_custom_`, without `_total`.
        pub name: String = String::new() => Required("name: queue_depth", By(read_name, |name| escape(name))),
        /// Gauge or counter.
        pub kind as "type": CustomKind = CustomKind::Gauge => Required("type: gauge", Choice(&KINDS)),
        /// The text of `# HELP`.
        pub help: String = String::new() => Required("help: Jobs that wait.", By(read_help, |help| escape(help))),
        /// One SELECT.
        pub sql: String = String::new() => Required("sql: SELECT count(*) AS value FROM jobs", Text),
        /// The column with the value.
        pub value: String = "value".to_owned() => Text,
        /// Columns that become labels.
        pub labels: Vec<String> = Vec::new() => By(read_labels, |labels| escape_all(labels)),
        /// How often the query runs.
        pub interval: Duration = MINUTE => Between(SECOND, 7 * DAY),
        /// How long the query may run. Its read transaction holds back checkpoints for that long.
        pub timeout: Duration = 200 * MILLISECOND => Between(MILLISECOND, MINUTE),
        /// The most rows taken. Rows are series; the bound keeps one query from being most of the
        /// exposition.
        pub max_rows: usize = 100 => Between(1, 10_000),
    }
}

const KINDS: [(&str, CustomKind); 2] = [("gauge", CustomKind::Gauge), ("counter", CustomKind::Counter)];

/// Reads a list of custom metrics.
pub(super) fn read_custom_metrics(
    value: &Value<'_>,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Vec<CustomMetric>> {
    let mut metrics: Vec<CustomMetric> = Vec::new();
    for item in decoder.items(value)? {
        let Some(fields) = decoder.fields(&item, &CustomMetric::keys()) else { continue };
        let Some(metric) = read_section::<CustomMetric>(&fields, context, decoder) else { continue };
        refuse_value_as_label(&metric, &fields, decoder);
        let CustomMetric { name, kind, help, labels, .. } = &metric;
        context.metrics.compare(name, (*kind, help, labels), &fields, decoder);
        if metrics.iter().any(|other| other.name == metric.name) {
            let message = format!("{} is listed already; a database has a metric once", quoted(&metric.name));
            decoder.refuse(fields.position_of("name"), &fields.child("name"), message);
        }
        metrics.push(metric);
    }
    Some(metrics)
}

fn read_name(value: &Value<'_>, _: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<String> {
    let name = decoder.text(value)?;
    let Some(problem) = metric_name_problem(&name) else { return Some(name) };
    decoder.refuse_value(value, format!("{} {problem}", quoted(&name)));
    None
}

/// Reads the help text without the line break in which a block scalar ends.
fn read_help(value: &Value<'_>, _: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<String> {
    decoder.text(value).map(|help| help.trim().to_owned())
}

fn read_labels(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Vec<String>> {
    let mut labels: Vec<String> = Vec::new();
    for item in decoder.items(value)? {
        let Some(label) = decoder.text(&item) else { continue };
        let repeated = labels.contains(&label).then(|| "is listed already".to_owned());
        if let Some(problem) = metric_label_problem(&label).or(repeated) {
            decoder.refuse_value(&item, format!("{} {problem}", quoted(&label)));
        }
        labels.push(label);
    }
    Some(labels)
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
