//! The effective configuration as a file that says the same.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Collectors;
use super::Config;
use super::CustomMetric;
use super::Source;
use super::Target;
use super::TimestampColumn;
use super::duration;

#[derive(Serialize)]
struct Document<'a> {
    listen: String,
    sample_interval: String,
    discovery_interval: String,
    max_databases: usize,
    series_limit: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    profiles: BTreeMap<&'a str, BTreeMap<&'static str, &'static str>>,
    databases: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    glob: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recursive: Option<bool>,
    #[serde(skip_serializing_if = "str::is_empty")]
    profile: &'a str,
    labels: BTreeMap<&'a str, String>,
    row_counts: Vec<String>,
    timestamps: &'a [TimestampColumn],
    custom_metrics: Vec<CustomMetric>,
    table_interval: String,
    count_budget: String,
    collectors: Collectors,
}

impl Config {
    /// The configuration as YAML, every default filled in and every profile spelled out where it is used.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        // The profiles' settings stand in the entries; their names stay, as they are a label.
        let names = self.sources.iter().map(|source| source.settings.profile.as_str());
        let profiles = names.filter(|name| !name.is_empty()).map(|name| (name, BTreeMap::new())).collect();
        let document = Document {
            listen: self.listen.to_string(),
            sample_interval: duration::write(self.sample_interval),
            discovery_interval: duration::write(self.discovery_interval),
            max_databases: self.max_databases,
            series_limit: self.series_limit,
            profiles,
            databases: self.sources.iter().map(entry).collect(),
        };
        serde_saphyr::to_string(&document).expect("the document holds only texts, numbers, lists and maps")
    }
}

/// A dollar sign as it must be written, so that no variable is seen in it.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn entry(source: &Source) -> Entry<'_> {
    let settings = &*source.settings;
    let list = |texts: &[String]| Some(texts.iter().map(|text| literal(text)).collect());
    let mut entry = Entry {
        path: None,
        name: None,
        glob: None,
        directory: None,
        include: None,
        exclude: None,
        recursive: None,
        profile: &settings.profile,
        labels: settings.labels.iter().map(|(name, value)| (name.as_str(), literal(value))).collect(),
        row_counts: settings.row_counts.iter().map(|text| literal(text)).collect(),
        timestamps: &settings.timestamps,
        custom_metrics: settings.custom_metrics.iter().map(literal_metric).collect(),
        table_interval: duration::write(settings.table_interval),
        count_budget: duration::write(settings.count_budget),
        collectors: settings.collectors,
    };
    match &source.target {
        Target::File { path, name } => {
            entry.path = Some(literal(&path.to_string_lossy()));
            entry.name = name.as_deref();
        }
        Target::Glob { pattern, exclude } => {
            entry.glob = Some(literal(pattern));
            entry.exclude = list(exclude);
        }
        Target::Directory { path, include, exclude, recursive } => {
            entry.directory = Some(literal(&path.to_string_lossy()));
            entry.include = list(include);
            entry.exclude = list(exclude);
            entry.recursive = Some(*recursive);
        }
    }
    entry
}

fn literal_metric(metric: &CustomMetric) -> CustomMetric {
    CustomMetric { help: literal(&metric.help), sql: literal(&metric.sql), ..metric.clone() }
}
