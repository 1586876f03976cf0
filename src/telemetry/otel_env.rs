//! Exporter settings from the configuration and the standard environment variables
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
//!
//! The environment takes precedence: a cluster operator sets it for all programs alike. An invalid
//! value is ignored with a warning, as the specification requires; it is an error only where traces
//! would go to the wrong place, or nowhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;

use crate::config::CollectorTls;
use crate::config::Endpoint;
use crate::config::TracingSettings;
use crate::config::header_problem;

use super::error::TelemetryError;

/// Looks up an environment variable.
pub(super) type EnvLookup<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The resolved settings of the exporter.
#[derive(Debug, Clone)]
pub(super) struct ExporterSettings {
    pub endpoint: Endpoint,
    pub headers: BTreeMap<String, String>,
    pub timeout: Duration,
    pub gzip: bool,
    pub tls: CollectorTls,
    pub roots: Sampler,
    pub sweep_fraction: f64,
    /// The user's resource attributes.
    pub attributes: Vec<(String, String)>,
    pub queue: usize,
    pub batch: usize,
    pub delay: Duration,
    /// Whether to continue the trace of an incoming request.
    pub propagate: bool,
}

/// Upper limits for values from the environment, so that memory stays bounded.
const MAX_QUEUE: usize = 65_536;
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Resolves the settings; `None` without a collector. Also returns warnings for the log.
///
/// # Errors
/// The endpoint or the protocol is invalid.
pub(super) fn resolve(
    file: &TracingSettings,
    environment: EnvLookup<'_>,
) -> Result<(Option<ExporterSettings>, Vec<String>), TelemetryError> {
    let mut reading = EnvReader { environment, warnings: Vec::new() };
    let settings = reading.settings(file)?;
    Ok((settings, reading.warnings))
}

struct EnvReader<'e> {
    environment: EnvLookup<'e>,
    warnings: Vec<String>,
}

impl EnvReader<'_> {
    fn settings(&mut self, file: &TracingSettings) -> Result<Option<ExporterSettings>, TelemetryError> {
        if self.is_disabled() {
            return Ok(None);
        }
        let Some(endpoint) = self.endpoint(file)? else { return Ok(None) };
        if let Some((name, protocol)) = self.exporter_variable("PROTOCOL")
            && protocol != "http/protobuf"
        {
            return Err(TelemetryError::Protocol { variable: name, protocol });
        }
        let headers = self.headers(file, &endpoint);
        let gzip = match self.exporter_variable("COMPRESSION") {
            None => file.gzip,
            Some((_, word)) if word == "gzip" => true,
            Some((_, word)) if word == "none" => false,
            Some((name, word)) => {
                self.warnings.push(format!("{name}={word} is unknown; use gzip or none"));
                file.gzip
            }
        };
        let exporter_timeout =
            self.exporter_variable("TIMEOUT").map(|(name, text)| self.milliseconds(name, &text, MAX_TIMEOUT));
        let queue = self.count("OTEL_BSP_MAX_QUEUE_SIZE", 2_048);
        Ok(Some(ExporterSettings {
            headers,
            timeout: exporter_timeout.flatten().unwrap_or(file.timeout),
            gzip,
            tls: self.tls(&endpoint, file),
            endpoint,
            roots: self.sampler(file.sampling_fraction),
            sweep_fraction: file.sweep_sampling_fraction,
            attributes: self.attributes(),
            queue,
            batch: self.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512).min(queue),
            delay: self.delay(),
            propagate: self
                .value("OTEL_PROPAGATORS")
                .is_none_or(|list| list.split(',').any(|propagator| propagator.trim() == "tracecontext")),
        }))
    }

    /// An empty variable counts as unset, as the specification requires.
    fn value(&self, name: &str) -> Option<String> {
        (self.environment)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The variable for traces, or else the one for all signals.
    fn exporter_variable(&self, suffix: &str) -> Option<(String, String)> {
        ["TRACES_", ""].iter().find_map(|signal| {
            let name = format!("OTEL_EXPORTER_OTLP_{signal}{suffix}");
            self.value(&name).map(|value| (name, value))
        })
    }

    fn is_disabled(&mut self) -> bool {
        match self.value("OTEL_SDK_DISABLED") {
            Some(word) if word.eq_ignore_ascii_case("true") => return true,
            Some(word) if !word.eq_ignore_ascii_case("false") => {
                self.warnings
                    .push(format!("OTEL_SDK_DISABLED={word} is neither true nor false; using false"));
            }
            Some(_) | None => {}
        }
        match self.value("OTEL_TRACES_EXPORTER") {
            None => false,
            Some(list) if list == "none" => true,
            Some(list) if list.split(',').any(|exporter| exporter.trim() == "otlp") => false,
            Some(list) => {
                self.warnings.push(format!(
                    "OTEL_TRACES_EXPORTER={list} is not supported, no traces are exported; use otlp or none"
                ));
                true
            }
        }
    }

    fn endpoint(&self, file: &TracingSettings) -> Result<Option<Endpoint>, TelemetryError> {
        let of_traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        if let Some(url) = self.value(of_traces) {
            return Endpoint::from_url(&url)
                .map(Some)
                .map_err(|problem| TelemetryError::Endpoint { variable: of_traces, problem });
        }
        let of_all = "OTEL_EXPORTER_OTLP_ENDPOINT";
        if let Some(url) = self.value(of_all) {
            return Endpoint::from_base_url(&url)
                .map(Some)
                .map_err(|problem| TelemetryError::Endpoint { variable: of_all, problem });
        }
        Ok(file.endpoint.clone())
    }

    /// The headers of the environment override those of the file. The file's may be secrets, so
    /// they are sent to no other host than the file's.
    fn headers(&mut self, file: &TracingSettings, endpoint: &Endpoint) -> BTreeMap<String, String> {
        let mut headers =
            if is_configured_host(endpoint, file) { file.headers.clone() } else { BTreeMap::new() };
        let Some((variable, text)) = self.exporter_variable("HEADERS") else { return headers };
        for (name, value) in self.pairs(&variable, &text) {
            match header_problem(&name, &value) {
                Some(problem) => self.warnings.push(format!("{variable}: {problem}")),
                None => {
                    headers.insert(name.to_ascii_lowercase(), value);
                }
            }
        }
        headers
    }

    fn tls(&self, endpoint: &Endpoint, file: &TracingSettings) -> CollectorTls {
        let mut tls = file.tls.clone();
        // The configured name belongs to the configured host.
        if !is_configured_host(endpoint, file) {
            tls.server_name = None;
        }
        let places = [
            ("CERTIFICATE", &mut tls.ca_file),
            ("CLIENT_CERTIFICATE", &mut tls.cert_file),
            ("CLIENT_KEY", &mut tls.key_file),
        ];
        for (suffix, place) in places {
            if let Some((_, path)) = self.exporter_variable(suffix) {
                *place = Some(path.into());
            }
        }
        tls
    }

    fn sampler(&mut self, fraction: f64) -> Sampler {
        let Some(name) = self.value("OTEL_TRACES_SAMPLER") else {
            return Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(fraction)));
        };
        let argument = self.value("OTEL_TRACES_SAMPLER_ARG");
        let ratio = argument.as_deref().map_or(Some(1.0), |text| text.parse().ok());
        let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or_else(|| {
            let text = argument.as_deref().unwrap_or_default();
            self.warnings
                .push(format!("OTEL_TRACES_SAMPLER_ARG={text} is not a number from 0 to 1; using 1"));
            1.0
        });
        let based = |root| Sampler::ParentBased(Box::new(root));
        match name.as_str() {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio),
            "parentbased_always_on" => based(Sampler::AlwaysOn),
            "parentbased_always_off" => based(Sampler::AlwaysOff),
            "parentbased_traceidratio" => based(Sampler::TraceIdRatioBased(ratio)),
            _ => {
                self.warnings.push(format!("OTEL_TRACES_SAMPLER={name} is unknown; sampling every trace"));
                based(Sampler::AlwaysOn)
            }
        }
    }

    /// Attributes of the resource; the name of the service is the last, so that it wins.
    fn attributes(&mut self) -> Vec<(String, String)> {
        const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let mut attributes = self.value(VARIABLE).map(|text| self.pairs(VARIABLE, &text)).unwrap_or_default();
        attributes.extend(self.value("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
        attributes
    }

    /// `name=value,name=value`, with `%20` and the like in the values.
    fn pairs(&mut self, variable: &str, text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let read = pair
                .split_once('=')
                .and_then(|(name, value)| Some((name.trim(), percent_decode(value.trim())?)));
            match read.filter(|(name, _)| !name.is_empty()) {
                Some((name, value)) => pairs.push((name.to_owned(), value)),
                // It may be a secret, so it is not repeated.
                None => self.warnings.push(format!("{variable} has an entry that is not `name=value`")),
            }
        }
        pairs
    }

    fn delay(&mut self) -> Duration {
        const NAME: &str = "OTEL_BSP_SCHEDULE_DELAY";
        let delay = self.value(NAME).and_then(|text| self.milliseconds(NAME.to_owned(), &text, MAX_DELAY));
        delay.unwrap_or(Duration::from_secs(5))
    }

    fn milliseconds(&mut self, name: String, text: &str, max_batch: Duration) -> Option<Duration> {
        let length = text.parse().ok().map(Duration::from_millis);
        let length = length.filter(|length| !length.is_zero() && *length <= max_batch);
        if length.is_none() {
            self.warnings.push(format!(
                "{name}={text} is not a number of milliseconds up to {}",
                max_batch.as_millis()
            ));
        }
        length
    }

    fn count(&mut self, name: &str, default: usize) -> usize {
        let Some(text) = self.value(name) else { return default };
        match text.parse() {
            Ok(count) if (1..=MAX_QUEUE).contains(&count) => count,
            Ok(_) | Err(_) => {
                self.warnings.push(format!("{name}={text} is not a number from 1 to {MAX_QUEUE}"));
                default
            }
        }
    }
}

/// Whether an endpoint is on the host of the configured one.
fn is_configured_host(endpoint: &Endpoint, file: &TracingSettings) -> bool {
    file.endpoint.as_ref().is_some_and(|of_file| of_file.host == endpoint.host)
}

/// Decodes percent-encoding; `None` if invalid.
fn percent_decode(text: &str) -> Option<String> {
    let is_code = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let is_valid = text.split('%').skip(1).all(is_code);
    percent_decode_str(text).decode_utf8().ok().filter(|_| is_valid).map(Cow::into_owned)
}
