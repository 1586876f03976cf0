//! The metric reference, docs/METRICS.md, from the same declarations as the exposition.

use std::fmt::Write as _;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::collectors::Family;
use crate::collectors::Section;
use crate::collectors::collectors;

use super::agent::AGENT_FAMILIES;
use super::agent::DATABASES;
use super::backup_families::BACKUP_FAMILIES;
use super::databases::metric_type;
use super::databases::unit;
use super::job_families::DURATION;
use super::job_families::INTEGRITY_FAMILIES;
use super::job_families::JOB_FAMILIES;
use super::job_families::PAUSED;
use super::process::PROCESS_FAMILIES;
use super::scrub_families::SCRUB_FAMILIES;

const HEAD: &str = "\
# Metrics

Generated from the declarations in `src/collectors` and `src/metrics` by `litekeeper metrics`; a
test fails if it is stale.

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
    for (Section { title, text }, families) in sections() {
        let rows: Vec<[String; 4]> = families.into_iter().map(database_row).collect();
        section(title, text, &rows);
    }
    let integrity: Vec<[String; 4]> = INTEGRITY_FAMILIES
        .iter()
        .map(|family| {
            row(family.name, family.unit.as_ref(), MetricType::Gauge, &["db", "check"], family.help)
        })
        .collect();
    section("Integrity", "Updated by `health_check`, for databases that have it configured.", &integrity);
    let scrubs: Vec<[String; 4]> = SCRUB_FAMILIES
        .iter()
        .map(|family| {
            let labels: Vec<&str> = std::iter::once("db").chain(family.labels.iter().copied()).collect();
            row(family.name, family.unit.as_ref(), MetricType::Gauge, &labels, family.help)
        })
        .collect();
    section("Scrub", "Updated by `scrub`, for databases that have it configured.", &scrubs);
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

/// The sections of the collectors in the order of their registration, with their families.
fn sections() -> Vec<(Section, Vec<&'static Family>)> {
    let mut sections: Vec<(Section, Vec<&'static Family>)> = Vec::new();
    for collector in collectors().filter(|collector| !collector.families().is_empty()) {
        let section = collector.section();
        match sections.iter_mut().find(|(known, _)| *known == section) {
            Some((_, families)) => families.extend(collector.families()),
            None => sections.push((section, collector.families().iter().collect())),
        }
    }
    for (_, families) in &mut sections {
        families.sort_by_key(|family| family.group);
    }
    sections
}

fn database_row(family: &Family) -> [String; 4] {
    let labels: Vec<&str> = std::iter::once("db").chain(family.labels.iter().copied()).collect();
    let unit = family.unit.map(unit);
    row(family.name, unit.as_ref(), metric_type(family.kind), &labels, family.help)
}

fn jobs() -> Vec<[String; 4]> {
    let mut rows: Vec<[String; 4]> = JOB_FAMILIES
        .iter()
        .chain(BACKUP_FAMILIES)
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
