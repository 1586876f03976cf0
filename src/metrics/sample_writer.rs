//! Where the samples of one database in one family go.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::encoding::EncodeLabel;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::LabelSetEncoder;
use prometheus_client::encoding::MetricEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::collectors;

/// The maximum number of characters of a label's value, as in a metric of the user's own.
const MAX_LABEL_CHARACTERS: usize = 200;

/// A label's value as it is published. A long one is cut and ends in a hash of the whole, so that
/// two that begin alike stay two series: sixty names of 400 kB in a hostile schema made each scrape
/// 24 MB.
pub(super) fn label_value(value: &str) -> Cow<'_, str> {
    const HASH_DIGITS: usize = 16;
    if value.len() <= MAX_LABEL_CHARACTERS || value.chars().count() <= MAX_LABEL_CHARACTERS {
        return Cow::Borrowed(value);
    }
    // FNV-1a, which is the same in every version of litekeeper: the label is too.
    let hash = value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let kept: String = value.chars().take(MAX_LABEL_CHARACTERS - HASH_DIGITS - 1).collect();
    Cow::Owned(format!("{kept}~{hash:016x}"))
}

/// `db` and the labels of one sample.
#[derive(Debug)]
pub(super) struct Labels<'a> {
    pub db: Option<&'a str>,
    pub extra: &'a [(&'a str, &'a str)],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        if let Some(db) = self.db {
            ("db", &*label_value(db)).encode(encoder.encode_label())?;
        }
        self.extra.iter().try_for_each(|&(name, value)| {
            // A path is bounded by the system, and cut it would be no path.
            let value = if name == "path" { Cow::Borrowed(value) } else { label_value(value) };
            (name, &*value).encode(encoder.encode_label())
        })
    }
}

/// Where the samples of one database in one family go.
pub(super) struct SampleWriter<'a, 'e> {
    pub encoder: &'a mut MetricEncoder<'e>,
    pub db: &'a str,
}

impl SampleWriter<'_, '_> {
    /// One sample of a gauge. Values are f64: prometheus-client fails the whole text on a u64 above
    /// `i64::MAX`.
    pub(super) fn gauge(&mut self, extra: &[(&str, &str)], value: f64) -> fmt::Result {
        let labels = Labels { db: Some(self.db), extra };
        ConstGauge::new(value).encode(self.encoder.encode_family(&labels)?)
    }

    /// One sample of a counter.
    pub(super) fn counter(&mut self, extra: &[(&str, &str)], value: u64) -> fmt::Result {
        let labels = Labels { db: Some(self.db), extra };
        ConstCounter::new(value).encode(self.encoder.encode_family(&labels)?)
    }
}

impl collectors::SampleWriter for SampleWriter<'_, '_> {
    fn gauge(&mut self, labels: &[(&str, &str)], value: f64) -> fmt::Result {
        SampleWriter::gauge(self, labels, value)
    }

    fn counter(&mut self, labels: &[(&str, &str)], value: u64) -> fmt::Result {
        SampleWriter::counter(self, labels, value)
    }

    fn info(&mut self, labels: &[(&str, &str)]) -> fmt::Result {
        self.encoder.encode_info(&Labels { db: Some(self.db), extra: labels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_and_stay_distinct() {
        let name = |end: &str| format!("{}{end}", "n\u{e9}".repeat(200_000));
        let (one, other) = (name("a"), name("b"));
        assert_eq!(label_value(&one).chars().count(), MAX_LABEL_CHARACTERS);
        assert_ne!(label_value(&one), label_value(&other));
        for kept in ["", "logs", &"\u{e9}".repeat(MAX_LABEL_CHARACTERS)] {
            assert_eq!(label_value(kept), kept);
        }
    }
}
