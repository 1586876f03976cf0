//! Decides which traces are sampled.

use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::Link;
use opentelemetry::trace::SpanKind;
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::Sampler;
use opentelemetry_sdk::trace::SamplingDecision;
use opentelemetry_sdk::trace::SamplingResult;
use opentelemetry_sdk::trace::ShouldSample;

use crate::span;

/// The configured sampler, with a lower fraction for sweeps, of which there are thousands per day.
#[derive(Debug, Clone)]
pub(super) struct Sampling {
    pub roots: Sampler,
    pub sweep_fraction: f64,
}

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let result = self.roots.should_sample(parent, trace, name, kind, attributes, links);
        if name == span::SWEEP && result.decision == SamplingDecision::RecordAndSample {
            let share = Sampler::TraceIdRatioBased(self.sweep_fraction);
            return share.should_sample(parent, trace, name, kind, attributes, links);
        }
        result
    }
}
