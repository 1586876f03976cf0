//! From ended spans to batches to the collector, on a thread of its own.
//!
//! A span that ends is put into a bounded queue, or counted as dropped; nothing else of this is ever waited for. What a
//! collector does wrong is said once, and again when it is well.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
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

use crate::metrics::SpanCounts;
use crate::metrics::SpanDrop;

use super::context::Namespace;
use super::otel_env::Settings;
use super::otlp_http::ExportError;
use super::otlp_http::ExportResponse;
use super::otlp_http::OtlpHttpClient;

/// How often a batch is sent before it is given up; between the tries the pause doubles from the first. Meanwhile the queue
/// fills.
const MAX_TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long the last batches may take when litekeeper ends.
pub(super) const LAST_LIMIT: Duration = Duration::from_secs(3);

/// Takes spans that end.
#[derive(Debug)]
pub(super) struct Queue {
    pub sender: mpsc::Sender<SpanData>,
    pub counts: Arc<SpanCounts>,
}

impl SpanProcessor for Queue {
    /// Every span of a run names the database.
    fn on_start(&self, span: &mut Span, parent: &Context) {
        if let Some(Namespace(name)) = parent.get::<Namespace>() {
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

/// Sends what comes out of the queue.
pub(super) struct Exporter {
    pub wire: OtlpHttpClient,
    pub settings: Settings,
    pub resource: ResourceAttributesWithSchema,
    pub counts: Arc<SpanCounts>,
    pub stop: CancellationToken,
    pub is_ill: bool,
}

impl Exporter {
    /// Works until it is told to stop, and then for a moment more.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<SpanData>) {
        let stop = self.stop.clone();
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_LIMIT).await;
        };
        let endpoint = self.settings.endpoint.to_string();
        tokio::select! {
            () = self.pump(&mut queue) => {}
            () = too_late => tracing::warn!(
                endpoint,
                spans_waiting = queue.len(),
                "the last traces were not taken in time and are lost"
            ),
        }
    }

    async fn pump(&mut self, queue: &mut mpsc::Receiver<SpanData>) {
        let most = self.settings.batch;
        let stop = self.stop.clone();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                count = queue.recv_many(&mut batch, most) => if count == 0 { return },
                () = stop.cancelled() => {}
            }
            let mut until = std::pin::pin!(tokio::time::sleep(self.settings.delay));
            while batch.len() < most && !stop.is_cancelled() {
                let room = most - batch.len();
                tokio::select! {
                    count = queue.recv_many(&mut batch, room) => if count == 0 { break },
                    () = until.as_mut() => break,
                    () = stop.cancelled() => {}
                }
            }
            if stop.is_cancelled() {
                while batch.len() < most
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

    /// Sends one batch until it is taken, or given up.
    async fn export(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let body = self.encode(batch);
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let is_last = attempt == MAX_TRIES || self.stop.is_cancelled();
            match self.wire.send(body.clone()).await {
                Ok(taken) => return self.taken(count, &taken),
                Err(trouble) => {
                    self.say_ill(&trouble);
                    if !trouble.passes || is_last {
                        let reason = if trouble.passes { SpanDrop::Failed } else { SpanDrop::Rejected };
                        return self.counts.dropped(reason, count);
                    }
                    tokio::select! {
                        () = tokio::time::sleep(trouble.retry_after.unwrap_or(pause)) => {}
                        () = self.stop.cancelled() => {}
                    }
                    pause *= 2;
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

    fn taken(&mut self, count: u64, taken: &ExportResponse) {
        let rejected = taken.rejected.min(count);
        self.counts.exported(count - rejected);
        self.counts.dropped(SpanDrop::Rejected, rejected);
        if rejected > 0 {
            let words = format!("it rejected {rejected} of {count} spans: {}", taken.words);
            self.say_ill(&ExportError { words, passes: false, retry_after: None });
        } else if std::mem::take(&mut self.is_ill) {
            tracing::info!(endpoint = %self.settings.endpoint, "the collector takes traces again");
        }
    }

    fn say_ill(&mut self, trouble: &ExportError) {
        if std::mem::replace(&mut self.is_ill, true) {
            tracing::debug!(endpoint = %self.settings.endpoint, reason = trouble.words, "a batch of traces was not taken");
            return;
        }
        tracing::warn!(
            endpoint = %self.settings.endpoint,
            reason = trouble.words,
            "the collector does not take traces; what is lost is counted in litekeeper_trace_spans_dropped_total"
        );
    }
}
