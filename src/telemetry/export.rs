//! Batches finished spans and sends them to the collector, on a dedicated thread.
//!
//! A finished span is put into a bounded queue, or counted as dropped; nothing waits for it. Export
//! failures are logged once, and again on recovery.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::Span;
use opentelemetry_sdk::trace::SpanData;
use opentelemetry_sdk::trace::SpanProcessor;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::http_client::Bytes;
use crate::metrics::SpanCounts;
use crate::metrics::SpanDrop;

use super::context::DatabaseNamespace;
use super::otel_env::ExporterSettings;
use super::otlp_http::ExportError;
use super::otlp_http::ExportResponse;
use super::otlp_http::OtlpHttpClient;

/// Attempts per batch; the pause between them doubles. Meanwhile the queue fills.
const MAX_ATTEMPTS: u32 = 5;
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);

/// Time limit for the last batches when litekeeper stops.
pub(super) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Queues finished spans for the exporter and counts those that do not fit.
#[derive(Debug)]
pub(super) struct BoundedSpanProcessor {
    pub sender: mpsc::Sender<SpanData>,
    pub counts: Arc<SpanCounts>,
}

impl SpanProcessor for BoundedSpanProcessor {
    /// Adds the database to every span of a run.
    fn on_start(&self, span: &mut Span, parent: &Context) {
        if let Some(DatabaseNamespace(name)) = parent.get::<DatabaseNamespace>() {
            opentelemetry::trace::Span::set_attribute(span, KeyValue::new("db.namespace", name.clone()));
        }
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.sender.try_send(span).is_err() {
            self.counts.dropped(SpanDrop::QueueFull, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Exports the queued spans in batches.
pub(super) struct Exporter {
    pub client: OtlpHttpClient,
    pub settings: ExporterSettings,
    pub resource: ResourceAttributesWithSchema,
    pub counts: Arc<SpanCounts>,
    pub stop: CancellationToken,
    pub export_failing: bool,
}

impl Exporter {
    /// Exports until `stop`, and then the rest of the queue within a time limit.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<SpanData>) {
        let stop = self.stop.clone();
        let shutdown_timeout = async {
            stop.cancelled().await;
            tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
        };
        let endpoint = self.settings.endpoint.to_string();
        tokio::select! {
            () = self.export_batches(&mut queue) => {}
            () = shutdown_timeout => tracing::warn!(
                endpoint,
                spans_waiting = queue.len(),
                "the last spans were not exported in time and are lost"
            ),
        }
    }

    async fn export_batches(&mut self, queue: &mut mpsc::Receiver<SpanData>) {
        let max_batch = self.settings.batch;
        let stop = self.stop.clone();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                count = queue.recv_many(&mut batch, max_batch) => if count == 0 { return },
                () = stop.cancelled() => {}
            }
            let mut until = std::pin::pin!(tokio::time::sleep(self.settings.delay));
            while batch.len() < max_batch && !stop.is_cancelled() {
                let free = max_batch - batch.len();
                tokio::select! {
                    count = queue.recv_many(&mut batch, free) => if count == 0 { break },
                    () = until.as_mut() => break,
                    () = stop.cancelled() => {}
                }
            }
            if stop.is_cancelled() {
                while batch.len() < max_batch
                    && let Ok(span) = queue.try_recv()
                {
                    batch.push(span);
                }
                if batch.is_empty() {
                    return;
                }
            }
            self.export(batch).await;
        }
    }

    /// Sends one batch, with retries.
    async fn export(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let body = self.encode(batch);
        let mut backoff = INITIAL_BACKOFF;
        for attempt in 1.. {
            let is_last = attempt == MAX_ATTEMPTS || self.stop.is_cancelled();
            match self.client.send(body.clone()).await {
                Ok(record_response) => return self.record_response(count, &record_response),
                Err(error) => {
                    self.log_failure(&error);
                    if !error.is_retryable || is_last {
                        let reason = if error.is_retryable { SpanDrop::Failed } else { SpanDrop::Rejected };
                        return self.counts.dropped(reason, count);
                    }
                    tokio::select! {
                        () = tokio::time::sleep(error.retry_after.unwrap_or(backoff)) => {}
                        () = self.stop.cancelled() => {}
                    }
                    backoff *= 2;
                }
            }
        }
    }

    fn encode(&self, batch: Vec<SpanData>) -> Bytes {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        if !self.settings.gzip {
            return body.into();
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        let compressed = encoder.write_all(&body).and_then(|()| encoder.finish());
        compressed.expect("writing to memory does not fail").into()
    }

    fn record_response(&mut self, count: u64, record_response: &ExportResponse) {
        let rejected = record_response.rejected.min(count);
        self.counts.exported(count - rejected);
        self.counts.dropped(SpanDrop::Rejected, rejected);
        if rejected > 0 {
            let message =
                format!("the collector rejected {rejected} of {count} spans: {}", record_response.message);
            self.log_failure(&ExportError { message, is_retryable: false, retry_after: None });
        } else if std::mem::take(&mut self.export_failing) {
            tracing::info!(endpoint = %self.settings.endpoint, "trace export recovered");
        }
    }

    fn log_failure(&mut self, error: &ExportError) {
        if std::mem::replace(&mut self.export_failing, true) {
            tracing::debug!(endpoint = %self.settings.endpoint, reason = error.message, "trace export failed");
            return;
        }
        tracing::warn!(
            endpoint = %self.settings.endpoint,
            reason = error.message,
            "trace export failed; litekeeper_trace_spans_dropped_total counts the lost spans"
        );
    }
}
