//! The metric reference, docs/METRICS.md, from the same tables as the exposition.

use std::fmt::Write as _;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::agent::AGENT_FAMILIES;
use super::agent::DATABASES;
use super::families::Class;
use super::families::DATABASE_FAMILIES;
use super::job_families::DURATION;
use super::job_families::INTEGRITY_FAMILIES;
use super::job_families::JOB_FAMILIES;
use super::job_families::PAUSED;
use super::process::PROCESS_FAMILIES;

const HEAD: &str = "\
# Metrics

Generated from the tables in `src/metrics` by `litekeeper metrics`; a test fails if it is stale.

Names are an interface: dashboards, alerts and tests depend on them. `sqlite_*` are properties of a
database, `litekeeper_*` are properties of the agent and its work. Units are bytes and seconds,
times are seconds since 1970, and there are no percentages. Names are as in the text format and in
Prometheus; OpenMetrics names the family of a counter without `_total` and that of an info without
`_info`.
";

const CUSTOM: &str = "\
## Custom metrics

`sqlite_custom_<name>` (gauge) or `sqlite_custom_<name>_total` (counter), with `db` and the label
columns of the query: see `custom_metrics` in [CONFIGURATION.md](CONFIGURATION.md#custom-sql).
";

/// The reference as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    let mut section = |title: &str, words: &str, rows: &[[String; 4]]| {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {title}\n\n{words}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n"
        );
        for [name, kind, labels, help] in rows {
            let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
        }
    };
    let databases = |class: Class| -> Vec<[String; 4]> {
        DATABASE_FAMILIES
            .iter()
            .filter(|family| family.class == class)
            .map(|family| {
                let labels: Vec<&str> = std::iter::once("db").chain(family.labels.iter().copied()).collect();
                row(family.name, family.unit.as_ref(), family.kind, &labels, family.help)
            })
            .collect()
    };
    section("Databases", "Updated at every sample (`sample_interval`).", &databases(Class::Sample));
    section("Tables", "Updated at `table_interval`, if the database changed.", &databases(Class::Table));
    section(
        "Table sizes",
        "Updated at `table_sizes_interval`, if the database changed; only with `collectors: {table_sizes: on}`.",
        &databases(Class::Space),
    );
    let integrity: Vec<[String; 4]> = INTEGRITY_FAMILIES
        .iter()
        .map(|family| {
            row(family.name, family.unit.as_ref(), MetricType::Gauge, &["db", "check"], family.help)
        })
        .collect();
    section("Integrity", "Updated by `health_check`, for databases that have it configured.", &integrity);
    section("Tasks", "For every configured task, from the start of the agent.", &jobs());
    let mut agent: Vec<[String; 4]> = AGENT_FAMILIES
        .iter()
        .map(|family| row(family.name, family.unit.as_ref(), family.kind, family.labels, family.help))
        .collect();
    agent.insert(1, row(DATABASES.0, None, MetricType::Gauge, &["state"], DATABASES.1));
    section("Agent", "Properties of litekeeper and its work.", &agent);
    let process: Vec<[String; 4]> = PROCESS_FAMILIES
        .iter()
        .map(|family| row(family.name, family.unit.as_ref(), family.kind, &[], family.help))
        .collect();
    section("Process", "The standard metrics of Prometheus clients.", &process);
    let _ = write!(text, "\n{CUSTOM}");
    text
}

fn jobs() -> Vec<[String; 4]> {
    let mut rows: Vec<[String; 4]> = JOB_FAMILIES
        .iter()
        .map(|family| {
            let labels: Vec<&str> = ["db", "task"].into_iter().chain(family.labels.iter().copied()).collect();
            row(family.name, family.unit.as_ref(), family.kind, &labels, family.help)
        })
        .collect();
    rows.push(row(PAUSED.0, None, MetricType::Gauge, &["db"], PAUSED.1));
    rows.push(row(DURATION.0, Some(&Unit::Seconds), MetricType::Histogram, &["task"], DURATION.1));
    rows
}

fn row(name: &str, unit: Option<&Unit>, kind: MetricType, labels: &[&str], help: &str) -> [String; 4] {
    let unit = unit.map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
    let suffix = match kind {
        MetricType::Counter => "_total",
        MetricType::Info => "_info",
        MetricType::Gauge | MetricType::Histogram | MetricType::Unknown => "",
    };
    let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    [format!("{name}{unit}{suffix}"), kind.as_str().to_owned(), labels, help.to_owned()]
}
