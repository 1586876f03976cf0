//! The effective configuration as YAML, every default filled in.
//!
//! What is shown must parse to an equal configuration: nothing may be left out, and a `$` in a value
//! must not become a variable.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Collectors;
use crate::config::Config;
use crate::config::CustomMetric;
use crate::config::Listen;
use crate::config::Source;
use crate::config::SourceLocation;
use crate::config::TimestampColumn;
use crate::config::WebSettings;
use crate::config::alerts::shown_alerts;
use crate::config::environment::escape;
use crate::config::on_off;
use crate::config::show_tasks::ShownMaintenance;
use crate::config::show_tasks::ShownTasks;
use crate::config::show_tasks::shown_maintenance;
use crate::config::show_tasks::shown_tasks;
use crate::config::tracing_read::ShownTracing;
use crate::config::tracing_read::shown_tracing;
use crate::config::units::format_duration;

#[derive(Serialize)]
#[expect(clippy::zero_sized_map_values, reason = "the map is written out, as `name: {}`")]
struct ShownConfig<'c> {
    listen: ShownListen,
    web: ShownWeb,
    #[serde(flatten)]
    maintenance: ShownMaintenance,
    sample_interval: String,
    discovery_interval: String,
    max_databases: usize,
    series_limit: usize,
    tracing: Option<ShownTracing>,
    /// Empty ones: their settings stand at each database, while the names are labels.
    profiles: BTreeMap<&'c str, ShownProfile>,
    databases: Vec<ShownSource>,
}

/// One place as it is written most often, several as a list.
#[derive(Serialize)]
#[serde(untagged)]
enum ShownListen {
    One(String),
    Several(Vec<String>),
}

#[derive(Serialize)]
struct ShownWeb {
    config_file: Option<String>,
    telemetry_path: String,
    external_url: Option<String>,
    route_prefix: Option<String>,
    operators: Vec<String>,
}

#[derive(Serialize)]
struct ShownProfile {}

#[derive(Serialize)]
struct ShownSource {
    #[serde(flatten)]
    location: ShownLocation,
    #[serde(skip_serializing_if = "String::is_empty")]
    profile: String,
    labels: BTreeMap<String, String>,
    row_counts: Vec<String>,
    timestamps: Vec<TimestampColumn>,
    custom_metrics: Vec<CustomMetric>,
    table_interval: String,
    count_timeout: String,
    table_sizes_interval: String,
    table_sizes_top: usize,
    table_sizes_timeout: String,
    collectors: Collectors,
    owner_busy_timeout: Option<String>,
    tasks: ShownTasks,
    alerts: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ShownLocation {
    File {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        path: String,
    },
    Glob {
        glob: String,
        exclude: Vec<String>,
    },
    Directory {
        directory: String,
        include: Vec<String>,
        exclude: Vec<String>,
        #[serde(serialize_with = "on_off")]
        recursive: bool,
    },
}

impl Config {
    /// The configuration as YAML that [`Config::load`] reads to an equal one: every default is filled in,
    /// what is not set is `null`, a task that is not named is `off`, profiles are laid into the databases that use them, and
    /// paths stand as they were resolved. Two
    /// file names of the command line cannot be written as they are: bytes that are no UTF-8 are
    /// replaced, and a file with a `*` in its name becomes a `glob` for it alone. Values of `tracing.headers` are secrets
    /// and not shown.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the expectation below cannot fail")]
    pub fn to_yaml(&self) -> String {
        let profiles = self.sources.iter().map(|source| source.settings.profile.as_str());
        let shown = ShownConfig {
            listen: shown_listen(&self.listen),
            web: shown_web(&self.web),
            maintenance: shown_maintenance(&self.maintenance),
            sample_interval: format_duration(self.sample_interval),
            discovery_interval: format_duration(self.discovery_interval),
            max_databases: self.max_databases,
            series_limit: self.series_limit,
            tracing: shown_tracing(&self.tracing),
            profiles: profiles.filter(|name| !name.is_empty()).map(|name| (name, ShownProfile {})).collect(),
            databases: self.sources.iter().map(shown_source).collect(),
        };
        let options = serde_saphyr::ser_options! {
            // A long text stays on its line; one with line breaks becomes a block.
            folded_wrap_chars: usize::MAX,
            // `on` and `off` need no quotes: this room reads every scalar as text.
            yaml_12: true,
            no_lang_directive: true,
        };
        serde_saphyr::to_string_with_options(&shown, options)
            .expect("maps, lists, texts and numbers can always be written as YAML")
    }
}

fn shown_listen(listen: &[Listen]) -> ShownListen {
    let shown = |listen: &Listen| escape(&listen.to_string());
    match listen {
        [one] => ShownListen::One(shown(one)),
        several => ShownListen::Several(several.iter().map(shown).collect()),
    }
}

fn shown_web(web: &WebSettings) -> ShownWeb {
    ShownWeb {
        config_file: web.config_file.as_ref().map(|path| escape(&path.to_string_lossy())),
        telemetry_path: web.telemetry_path.to_string(),
        external_url: web.external_url.as_ref().map(ToString::to_string),
        route_prefix: web.route_prefix.as_ref().map(ToString::to_string),
        operators: escape_all(&web.operators),
    }
}

fn shown_source(source: &Source) -> ShownSource {
    let settings = &source.settings;
    let labels = settings.labels.iter().map(|(name, value)| (name.clone(), escape(value)));
    ShownSource {
        location: shown_location(&source.location),
        profile: escape(&settings.profile),
        labels: labels.collect(),
        row_counts: escape_all(&settings.row_counts),
        timestamps: settings.timestamps.iter().map(shown_timestamp).collect(),
        custom_metrics: settings.custom_metrics.iter().map(shown_metric).collect(),
        table_interval: format_duration(settings.table_interval),
        count_timeout: format_duration(settings.count_timeout),
        table_sizes_interval: format_duration(settings.table_sizes_interval),
        table_sizes_top: settings.table_sizes_top,
        table_sizes_timeout: format_duration(settings.table_sizes_timeout),
        collectors: settings.collectors,
        owner_busy_timeout: settings.owner_busy_timeout.map(format_duration),
        tasks: shown_tasks(&settings.tasks),
        alerts: shown_alerts(&settings.alerts),
    }
}

fn shown_location(location: &SourceLocation) -> ShownLocation {
    match location {
        // A shell can hand over a file with a `*` in its name. In a file, such a `path` is refused, as a
        // pattern was meant almost always; a pattern that matches this file alone says the same.
        SourceLocation::File { path, name: None } if path.to_string_lossy().contains('*') => {
            ShownLocation::Glob {
                glob: escape(&globset::escape(&path.to_string_lossy())),
                exclude: Vec::new(),
            }
        }
        SourceLocation::File { path, name } => {
            ShownLocation::File { name: name.as_deref().map(escape), path: escape(&path.to_string_lossy()) }
        }
        SourceLocation::Glob { pattern, exclude } => {
            ShownLocation::Glob { glob: escape(pattern), exclude: escape_all(exclude) }
        }
        SourceLocation::Directory { path, include, exclude, recursive } => ShownLocation::Directory {
            directory: escape(&path.to_string_lossy()),
            include: escape_all(include),
            exclude: escape_all(exclude),
            recursive: *recursive,
        },
    }
}

fn shown_timestamp(column: &TimestampColumn) -> TimestampColumn {
    let TimestampColumn { table, column, format } = column;
    TimestampColumn { table: escape(table), column: escape(column), format: *format }
}

fn shown_metric(metric: &CustomMetric) -> CustomMetric {
    CustomMetric {
        name: escape(&metric.name),
        help: escape(&metric.help),
        sql: escape(&metric.sql),
        value: escape(&metric.value),
        labels: escape_all(&metric.labels),
        kind: metric.kind,
        interval: metric.interval,
        timeout: metric.timeout,
        max_rows: metric.max_rows,
    }
}

fn escape_all(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| escape(text)).collect()
}
