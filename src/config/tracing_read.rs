//! The key `tracing`, read and shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::config::CollectorTls;
use crate::config::Endpoint;
use crate::config::TracingSettings;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::environment::escape;
use crate::config::header_problem;
use crate::config::paths::resolve_path;
use crate::config::units::format_duration;

const KEYS: [&str; 8] = [
    "client_type",
    "endpoint",
    "headers",
    "timeout",
    "compression",
    "sampling_fraction",
    "sweep_sampling_fraction",
    "tls_config",
];

/// From a collector on the same machine to one that is far away and busy.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// What stands for a secret that is not shown.
const SECRET: &str = "<secret>";

/// Where traces go; nowhere without the key.
pub(super) fn read_tracing(fields: &Fields<'_>, base: &Path, decoder: &mut Decoder<'_>) -> TracingSettings {
    let mut settings = TracingSettings::default();
    let Some(value) = fields.given("tracing") else { return settings };
    let Some(fields) = decoder.fields(&value, &KEYS) else { return settings };
    if let Some(value) = fields.find("client_type")
        && decoder.choice(&value, &[("http", true), ("grpc", false)]) == Some(false)
    {
        decoder.refuse_value(
            &value,
            "OTLP over gRPC is not spoken; write `http` and the collector's port for OTLP over HTTP (usually 4318)",
        );
    }
    let endpoint = decoder.require(&fields, "endpoint", "endpoint: http://127.0.0.1:4318");
    if let Some(value) = endpoint
        && let Some(text) = decoder.text(&value)
    {
        match Endpoint::from_base_url(&text) {
            Ok(endpoint) => settings.endpoint = Some(endpoint),
            Err(problem) => decoder.refuse_value(&value, problem),
        }
    }
    if let Some(value) = fields.find("headers") {
        settings.headers = read_headers(&value, decoder);
    }
    if let Some(value) = fields.find("timeout") {
        settings.timeout = decoder.duration(&value, TIMEOUT.0..=TIMEOUT.1).unwrap_or(settings.timeout);
    }
    if let Some(value) = fields.find("compression") {
        settings.gzip = decoder.choice(&value, &[("none", false), ("gzip", true)]).unwrap_or(false);
    }
    let fractions = [
        ("sampling_fraction", &mut settings.sampling_fraction),
        ("sweep_sampling_fraction", &mut settings.sweep_sampling_fraction),
    ];
    for (name, place) in fractions {
        let Some(value) = fields.find(name) else { continue };
        *place = decoder.fraction(&value, 0.0..=1.0).unwrap_or(*place);
    }
    if let Some(value) = fields.given("tls_config") {
        settings.tls = read_tls(&value, base, decoder);
    }
    settings
}

fn read_headers(value: &Value<'_>, decoder: &mut Decoder<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, position, tree) in decoder.entries(value).unwrap_or_default() {
        let header = Value { tree, key: format!("{}.{name}", value.key) };
        let Some(text) = decoder.text(&header) else { continue };
        match header_problem(name, &text) {
            Some(problem) => decoder.refuse(position, &header.key, problem),
            None => {
                headers.insert(name.to_ascii_lowercase(), text);
            }
        }
    }
    headers
}

fn read_tls(value: &Value<'_>, base: &Path, decoder: &mut Decoder<'_>) -> CollectorTls {
    let known = ["ca_file", "cert_file", "key_file", "server_name"];
    let Some(fields) = decoder.fields(value, &known) else { return CollectorTls::default() };
    let mut file = |name| {
        let text = fields.given(name).and_then(|value| decoder.text(&value))?;
        Some(resolve_path(base, &text))
    };
    let (ca_file, cert_file, key_file) = (file("ca_file"), file("cert_file"), file("key_file"));
    if cert_file.is_some() != key_file.is_some() {
        decoder.refuse_value(value, "`cert_file` and `key_file` go together");
    }
    let server_name = fields.given("server_name").and_then(|value| decoder.text(&value));
    CollectorTls { ca_file, cert_file, key_file, server_name }
}

/// The key as it is shown.
#[derive(Serialize)]
pub(super) struct ShownTracing {
    client_type: &'static str,
    endpoint: String,
    headers: BTreeMap<String, &'static str>,
    timeout: String,
    compression: &'static str,
    sampling_fraction: f64,
    sweep_sampling_fraction: f64,
    tls_config: ShownTls,
}

#[derive(Serialize)]
struct ShownTls {
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    server_name: Option<String>,
}

/// Nothing where no traces go anywhere.
pub(super) fn shown_tracing(settings: &TracingSettings) -> Option<ShownTracing> {
    let endpoint = settings.endpoint.as_ref()?;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| escape(&path.to_string_lossy()));
    let CollectorTls { ca_file, cert_file, key_file, server_name } = &settings.tls;
    let tls = ShownTls {
        ca_file: path(ca_file),
        cert_file: path(cert_file),
        key_file: path(key_file),
        server_name: server_name.as_deref().map(escape),
    };
    Some(ShownTracing {
        client_type: "http",
        endpoint: escape(&endpoint.to_string()),
        headers: settings.headers.keys().map(|name| (escape(name), SECRET)).collect(),
        timeout: format_duration(settings.timeout),
        compression: if settings.gzip { "gzip" } else { "none" },
        sampling_fraction: settings.sampling_fraction,
        sweep_sampling_fraction: settings.sweep_sampling_fraction,
        tls_config: tls,
    })
}
