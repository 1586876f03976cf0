//! Exports traces over OTLP. No other module uses OpenTelemetry.
//!
//! A tracing layer exports the spans of the module `span`; it is installed only if the
//! configuration or the environment sets a collector. A collector that is down, slow or faulty
//! costs spans, which are counted, and nothing else: no run, no scrape and no collection waits for
//! it, and shutdown waits for at most three seconds.

mod context;
mod error;
mod export;
mod otel_env;
mod otlp_http;
mod sampling;
mod span_attributes;
#[cfg(test)]
mod tests;

pub use context::RemoteContext;
pub use context::RunScope;
pub use context::begin_run;
pub use context::current;
pub use context::within;
pub use error::TelemetryError;
pub use span_attributes::record_outcome;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::TracingSettings;
use crate::metrics::SpanCounts;
use crate::os::hostname;
use crate::span;

use export::BoundedSpanProcessor;
use export::Exporter;
use export::SHUTDOWN_TIMEOUT;
use otel_env::ExporterSettings;
use otlp_http::OtlpHttpClient;
use sampling::Sampling;

/// The trace exporter, if one is configured.
#[derive(Debug)]
pub struct Telemetry {
    pipeline: Option<Pipeline>,
    counts: Arc<SpanCounts>,
    warnings: Vec<String>,
}

/// The tracer provider and the exporter thread.
#[derive(Debug)]
struct Pipeline {
    provider: SdkTracerProvider,
    endpoint: String,
    stop: CancellationToken,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Telemetry {
    /// Starts the exporter if the configuration or the environment sets a collector.
    ///
    /// # Errors
    /// The settings are invalid, or the exporter cannot be started.
    pub fn start(file: &TracingSettings) -> Result<Self, TelemetryError> {
        let (settings, warnings) = otel_env::resolve(file, &|name| std::env::var(name).ok())?;
        let counts = Arc::new(SpanCounts::default());
        let pipeline = settings.map(|settings| Pipeline::open(settings, &counts)).transpose()?;
        Ok(Self { pipeline, counts, warnings })
    }

    /// Counts exported and dropped spans.
    #[must_use]
    pub fn counts(&self) -> Arc<SpanCounts> {
        Arc::clone(&self.counts)
    }

    /// The layer that exports spans; `None` without a collector, so that creating a span then costs
    /// nothing.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
    {
        let pipeline = self.pipeline.as_ref()?;
        let layer = tracing_opentelemetry::layer()
            .with_tracer(pipeline.provider.tracer("litekeeper"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        Some(layer.with_filter(filter_fn(|metadata| metadata.target() == span::TARGET)))
    }

    /// Logs the endpoint, and the environment variables that were ignored.
    pub fn log_status(&self) {
        if let Some(pipeline) = &self.pipeline {
            tracing::info!(endpoint = pipeline.endpoint, "exporting traces");
        }
        for note in &self.warnings {
            tracing::warn!(note, "traces");
        }
    }

    /// Exports the last spans, within a time limit.
    pub async fn end(&self) {
        const GRACE: Duration = Duration::from_secs(1);
        let Some(pipeline) = &self.pipeline else { return };
        pipeline.stop.cancel();
        let ended = pipeline.ended.lock().take();
        if let Some(ended) = ended {
            // The thread keeps to the limit itself, except during a DNS lookup, which cannot be
            // cancelled.
            let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT + GRACE, ended).await;
        }
    }
}

impl Pipeline {
    fn open(settings: ExporterSettings, counts: &Arc<SpanCounts>) -> Result<Self, TelemetryError> {
        let resource = resource(&settings);
        let (sender, queue) = mpsc::channel(settings.queue);
        let stop = CancellationToken::new();
        let endpoint = settings.endpoint.to_string();
        let client = OtlpHttpClient::new(settings.clone())
            .map_err(|error| TelemetryError::Tls { endpoint: endpoint.clone(), error })?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(Sampling { roots: settings.roots.clone(), sweep_fraction: settings.sweep_fraction })
            .with_span_processor(BoundedSpanProcessor { sender, counts: Arc::clone(counts) })
            .build();
        context::PROPAGATE.store(settings.propagate, Ordering::Relaxed);
        let exporter = Exporter {
            client,
            settings,
            resource: ResourceAttributesWithSchema::from(&resource),
            counts: Arc::clone(counts),
            stop: stop.clone(),
            export_failing: false,
        };
        let (done, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(TelemetryError::Thread)?;
        let work = move || {
            runtime.block_on(exporter.run(queue));
            // A DNS lookup may hang; abandon it.
            runtime.shutdown_background();
            // The receiver may have timed out.
            let _ = done.send(());
        };
        std::thread::Builder::new().name("traces".to_owned()).spawn(work).map_err(TelemetryError::Thread)?;
        Ok(Self { provider, endpoint, stop, ended: Mutex::new(Some(ended)) })
    }
}

/// The resource attributes: program, host and process, then those of the user.
fn resource(settings: &ExporterSettings) -> Resource {
    let own = [
        ("service.name", "litekeeper".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host.name", hostname()),
    ];
    let own = own.map(|(key, value)| KeyValue::new(key, value));
    let users = settings.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(own)
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
        .with_attributes(users)
        .build()
}
