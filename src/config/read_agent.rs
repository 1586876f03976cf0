//! The settings of the agent itself and of its maintenance, from the top level of a file.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::config::Config;
use crate::config::Listen;
use crate::config::Maintenance;
use crate::config::StateLocation;
use crate::config::WebSettings;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::paths::resolve_path;
use crate::config::tasks_read::read_timezone;
use crate::config::tree::Node;

/// From what a busy scraper needs, to what still shows a WAL that grows.
const SAMPLE_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// A scan walks directories; a day's delay for a new file is the most that is of use.
const DISCOVERY_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

/// Five times the default; a sample of each must fit into memory.
const MAX_DATABASES: (usize, usize) = (1, 100_000);

/// Two hundred times the default.
const SERIES_LIMIT: (usize, usize) = (1, 100_000);

/// More jobs than this would only wait for each other's disks.
const MAX_JOBS: (usize, usize) = (1, 64);

/// The keys of `web`.
const WEB_KEYS: [&str; 5] = ["config_file", "operators", "telemetry_path", "external_url", "route_prefix"];

/// From at once to the next day.
const CATCH_UP_DELAY: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(86_400));

/// A month of history says whether a monthly job works; ten years is a safe most.
const HISTORY_RETENTION: (Duration, Duration) =
    (Duration::from_secs(31 * 86_400), Duration::from_secs(3_660 * 86_400));

/// The settings of the agent itself.
pub(super) fn read_agent(fields: &Fields<'_>, config: &mut Config, decoder: &mut Decoder<'_>) {
    if let Some(listen) = fields.find("listen").and_then(|value| read_listen(&value, decoder)) {
        config.listen = listen;
    }
    let intervals = [
        ("sample_interval", SAMPLE_INTERVAL, &mut config.sample_interval),
        ("discovery_interval", DISCOVERY_INTERVAL, &mut config.discovery_interval),
    ];
    for (name, (least, most), place) in intervals {
        let Some(value) = fields.find(name) else { continue };
        *place = decoder.duration(&value, least..=most).unwrap_or(*place);
    }
    let numbers = [
        ("max_databases", MAX_DATABASES, &mut config.max_databases),
        ("series_limit", SERIES_LIMIT, &mut config.series_limit),
    ];
    for (name, (least, most), place) in numbers {
        let Some(value) = fields.find(name) else { continue };
        *place = decoder.number(&value, least..=most).unwrap_or(*place);
    }
}

/// How maintenance is done.
pub(super) fn read_maintenance(
    fields: &Fields<'_>,
    maintenance: &mut Maintenance,
    base: &Path,
    decoder: &mut Decoder<'_>,
) {
    let mut path = |name| {
        let text = fields.given(name).and_then(|value| decoder.text(&value))?;
        Some(resolve_path(base, &text))
    };
    if let Some(file) = path("state") {
        maintenance.state = StateLocation::File(file);
    }
    maintenance.temp_directory = path("temp_directory");
    maintenance.pause_file = path("pause_file");
    if let Some(zone) = fields.find("timezone").and_then(|value| read_timezone(&value, decoder)) {
        maintenance.timezone = zone;
    }
    let numbers = [
        ("max_jobs", &mut maintenance.max_jobs),
        ("max_jobs_per_filesystem", &mut maintenance.max_jobs_per_filesystem),
    ];
    for (name, place) in numbers {
        let Some(value) = fields.find(name) else { continue };
        *place = decoder.number(&value, MAX_JOBS.0..=MAX_JOBS.1).unwrap_or(*place);
    }
    let durations = [
        ("catch_up_delay", CATCH_UP_DELAY, &mut maintenance.catch_up_delay),
        ("history_retention", HISTORY_RETENTION, &mut maintenance.history_retention),
    ];
    for (name, (least, most), place) in durations {
        let Some(value) = fields.find(name) else { continue };
        *place = decoder.duration(&value, least..=most).unwrap_or(*place);
    }
}

/// One place to listen, or a list of them.
fn read_listen(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<Vec<Listen>> {
    if !matches!(value.tree.node, Node::Sequence(_)) {
        return parsed(value, decoder).map(|place| vec![place]);
    }
    let items = decoder.items(value)?;
    if items.is_empty() {
        decoder.refuse_value(value, "must name at least one address, as in `127.0.0.1:10321`");
    }
    Some(items.iter().filter_map(|item| parsed(item, decoder)).collect())
}

/// A value that its type itself reads.
fn parsed<T: FromStr<Err = String>>(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<T> {
    let text = decoder.scalar(value)?;
    match text.parse() {
        Ok(parsed) => Some(parsed),
        Err(problem) => {
            decoder.refuse_value(value, problem);
            None
        }
    }
}

/// Who may come in, and what they may do.
pub(super) fn read_web(fields: &Fields<'_>, base: &Path, decoder: &mut Decoder<'_>) -> WebSettings {
    let mut web = WebSettings::default();
    let Some(value) = fields.find("web") else { return web };
    let Some(fields) = decoder.fields(&value, &WEB_KEYS) else { return web };
    let file = fields.given("config_file").and_then(|value| decoder.text(&value));
    web.config_file = file.map(|text| resolve_path(base, &text));
    if let Some(value) = fields.find("operators") {
        web.operators = decoder.texts(&value).unwrap_or_default();
    }
    if let Some(path) = fields.find("telemetry_path").and_then(|value| parsed(&value, decoder)) {
        web.telemetry_path = path;
    }
    web.external_url = fields.given("external_url").and_then(|value| parsed(&value, decoder));
    web.route_prefix = fields.given("route_prefix").and_then(|value| parsed(&value, decoder));
    web
}
