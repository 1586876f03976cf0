//! The environment over the file, as values.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Endpoint;
use crate::config::TracingSettings;

use super::otel_env::ExporterSettings;
use super::otel_env::resolve;

fn file() -> TracingSettings {
    TracingSettings {
        endpoint: Some(Endpoint::from_base_url("http://file:1").unwrap()),
        headers: BTreeMap::from([("x-token".to_owned(), "secret".to_owned())]),
        ..TracingSettings::default()
    }
}

fn resolved(file: &TracingSettings, variables: &[(&str, &str)]) -> (Option<ExporterSettings>, Vec<String>) {
    let environment =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    resolve(file, &environment).unwrap()
}

fn on(variables: &[(&str, &str)]) -> ExporterSettings {
    let (settings, warnings) = resolved(&file(), variables);
    assert!(warnings.is_empty(), "{warnings:?}");
    settings.unwrap()
}

#[test]
fn traces_are_off_until_a_collector_is_named_and_when_they_are_switched_off() {
    assert!(resolved(&TracingSettings::default(), &[]).0.is_none());
    assert!(resolved(&TracingSettings::default(), &[("OTEL_TRACES_EXPORTER", "otlp")]).0.is_none());
    assert!(resolved(&TracingSettings::default(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).0.is_none());
    assert!(resolved(&file(), &[("OTEL_SDK_DISABLED", "TRUE")]).0.is_none());
    assert!(resolved(&file(), &[("OTEL_TRACES_EXPORTER", "none")]).0.is_none());
    let (settings, warnings) = resolved(&file(), &[("OTEL_TRACES_EXPORTER", "zipkin")]);
    assert!(settings.is_none() && warnings[0].contains("zipkin"), "{warnings:?}");
}

#[test]
fn the_environment_wins_and_its_variable_for_traces_most() {
    assert_eq!(on(&[]).endpoint.to_string(), "http://file:1/v1/traces");
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://all:2/base");
    assert_eq!(on(&[all]).endpoint.to_string(), "https://all:2/base/v1/traces");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:3/as-it-is");
    assert_eq!(on(&[all, traces]).endpoint.to_string(), "http://traces:3/as-it-is");
    let settings = on(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_PROPAGATORS", "b3, none"),
    ]);
    assert_eq!((settings.timeout, settings.gzip), (Duration::from_millis(1500), true));
    assert_eq!(settings.tls.ca_file, Some("/ca.pem".into()));
    assert_eq!((settings.delay, settings.queue, settings.batch), (Duration::from_millis(50), 100, 100));
    assert!(!settings.propagate && on(&[]).propagate);
}

#[test]
fn headers_of_the_file_go_to_its_own_collector_alone() {
    let more = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, X-Tenant = a ,");
    let headers = on(&[more]).headers;
    let shown: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(shown, [("authorization", "Basic abc"), ("x-tenant", "a"), ("x-token", "secret")]);
    let other = on(&[more, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:1")]);
    assert!(!other.headers.contains_key("x-token"), "{:?}", other.headers);
}

#[test]
fn service_and_resource_are_named() {
    let settings = on(&[
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,service.name=other"),
        ("OTEL_SERVICE_NAME", "keeper"),
    ]);
    let last = settings.attributes.last().unwrap();
    assert_eq!((last.0.as_str(), last.1.as_str()), ("service.name", "keeper"));
    assert_eq!(settings.attributes[0], ("deployment.environment.name".to_owned(), "prod".to_owned()));
}

#[test]
fn samplers_are_known_by_their_names() {
    for (name, argument, expected) in [
        ("always_off", "", "AlwaysOff"),
        ("traceidratio", "0.25", "TraceIdRatioBased(0.25)"),
        ("parentbased_traceidratio", "", "ParentBased(TraceIdRatioBased(1.0))"),
        ("parentbased_always_on", "", "ParentBased(AlwaysOn)"),
    ] {
        let variables = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        assert_eq!(format!("{:?}", on(&variables).roots), expected);
    }
}

#[test]
fn what_cannot_be_used_is_noted_and_passed_over() {
    let (settings, warnings) = resolved(
        &file(),
        &[
            ("OTEL_SDK_DISABLED", "maybe"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no-value,bad name=x,broken=%f"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ],
    );
    let settings = settings.unwrap();
    assert_eq!((settings.timeout, settings.queue), (Duration::from_secs(10), 2_048));
    assert_eq!(settings.delay, Duration::from_secs(5));
    assert_eq!(warnings.len(), 10, "{warnings:#?}");
    assert!(!warnings.iter().any(|note| note.contains("broken=")), "a value may be a secret: {warnings:?}");
}

#[test]
fn what_would_send_traces_to_nowhere_is_refused() {
    for (variable, value, message) in [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: litekeeper supports only http/protobuf",
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT names no host"),
    ] {
        let environment = |name: &str| (name == variable).then(|| value.to_owned());
        let error = resolve(&file(), &environment).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
    }
}
