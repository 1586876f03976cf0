//! The key `tracing`: where traces go, much like Prometheus' own.
//!
//! The environment of OpenTelemetry (`OTEL_…`) is laid over it in the module `telemetry`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::ser::SerializeMap;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::endpoint::Endpoint;
use crate::config::endpoint::header_problem;
use crate::config::environment::escape;
use crate::config::kinds::Given;
use crate::config::kinds::Nested;
use crate::config::kinds::Optional;
use crate::config::kinds::Required;
use crate::config::section::Change;
use crate::config::section::Entries;
use crate::config::section::Kind;
use crate::config::section::Section;
use crate::config::section::section;
use crate::config::units::MILLISECOND;
use crate::config::units::MINUTE;
use crate::config::units::SECOND;
use crate::config::values::Between;
use crate::config::values::By;
use crate::config::values::Choice;
use crate::config::values::FilePath;
use crate::config::values::Text;

/// What `config show` prints in place of a secret.
const SECRET: &str = "<secret>";

section! {
    /// Where traces go, and which.
    #[derive(Debug, Clone, PartialEq)]
    pub struct TracingSettings {
        /// The protocol.
        pub client_type: ClientType = ClientType::Http => By(read_client_type, |_| "http"),
        /// The collector; no traces without one.
        pub endpoint: Option<Endpoint> = None
            => Required("endpoint: http://127.0.0.1:4318", By(read_endpoint, shown_endpoint)),
        /// Further headers of each request, names in lower case; mostly secrets.
        pub headers: BTreeMap<String, String> = BTreeMap::new() => By(read_headers, shown_headers),
        /// How long one request may take. The default is that of the OpenTelemetry specification.
        pub timeout: Duration = 10 * SECOND => Between(100 * MILLISECOND, MINUTE),
        /// Whether requests are compressed by gzip.
        pub gzip as "compression": bool = false => Choice(&[("none", false), ("gzip", true)]),
        /// The share of runs that are traced.
        pub sampling_fraction: f64 = 1.0 => Between(0.0, 1.0),
        /// The share of sweeps that are traced. By default about one in 25 minutes: a sweep shows
        /// little that the metrics do not.
        pub sweep_sampling_fraction: f64 = 0.01 => Between(0.0, 1.0),
        /// The collector's TLS.
        pub tls as "tls_config": CollectorTls = CollectorTls::default() => Given(CertificateAndKey),
    }
}

impl Default for TracingSettings {
    fn default() -> Self {
        Self::defaults()
    }
}

/// The protocols in which a collector takes traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientType {
    /// OTLP over HTTP.
    Http,
}

section! {
    /// How the collector is verified, and how it verifies the agent.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CollectorTls {
        /// The authorities that may sign its certificate; those of the system when none is named.
        pub ca_file: Option<PathBuf> = None => Optional(FilePath),
        /// The agent's certificate.
        pub cert_file: Option<PathBuf> = None => Optional(FilePath),
        /// The key of that certificate.
        pub key_file: Option<PathBuf> = None => Optional(FilePath),
        /// The name in the collector's certificate, where it is not the endpoint's host.
        pub server_name: Option<String> = None => Optional(Text),
    }
}

impl Default for CollectorTls {
    fn default() -> Self {
        Self::defaults()
    }
}

/// The section `tracing`, which is `null` where no traces go anywhere.
pub(super) struct Tracing;

impl Kind<TracingSettings> for Tracing {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<TracingSettings>> {
        Given(Nested).read(key, fields, context, decoder)
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &TracingSettings,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        entries.add(key, &value.endpoint.as_ref().map(|_| value))
    }
}

/// The section `tls_config`, whose certificate and key go together.
struct CertificateAndKey;

impl Kind<CollectorTls> for CertificateAndKey {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<CollectorTls>> {
        let change = Nested.read(key, fields, context, decoder)?;
        let mut tls = CollectorTls::default();
        change(&mut tls);
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            let message = "`cert_file` and `key_file` go together";
            decoder.refuse(fields.position_of(key), &fields.child(key), message);
        }
        Some(change)
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &CollectorTls,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        entries.add(key, value)
    }
}

fn read_client_type(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<ClientType> {
    let is_http = decoder.choice(value, &[("http", true), ("grpc", false)])?;
    if !is_http {
        decoder.refuse_value(
            value,
            "OTLP over gRPC is not supported; write `http` and the collector's port for OTLP over HTTP (usually 4318)",
        );
    }
    is_http.then_some(ClientType::Http)
}

fn read_endpoint(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Option<Endpoint>> {
    let text = decoder.text(value)?;
    Endpoint::from_base_url(&text)
        .map(Some)
        .map_err(|problem| decoder.refuse_value(value, problem.to_string()))
        .ok()
}

fn shown_endpoint(endpoint: &Option<Endpoint>) -> Option<String> {
    endpoint.as_ref().map(|endpoint| escape(&endpoint.to_string()))
}

fn read_headers(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<BTreeMap<String, String>> {
    let mut headers = BTreeMap::new();
    for (name, position, tree) in decoder.entries(value)? {
        let header = Value { tree, key: format!("{}.{name}", value.key) };
        let Some(text) = decoder.text(&header) else { continue };
        match header_problem(name, &text) {
            Some(problem) => decoder.refuse(position, &header.key, problem),
            None => {
                headers.insert(name.to_ascii_lowercase(), text);
            }
        }
    }
    Some(headers)
}

fn shown_headers(headers: &BTreeMap<String, String>) -> BTreeMap<String, &'static str> {
    headers.keys().map(|name| (name.clone(), SECRET)).collect()
}
