//! Where the samples of one database in one family go.

use std::fmt;
use std::time::SystemTime;

use prometheus_client::encoding::EncodeLabel;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::LabelSetEncoder;
use prometheus_client::encoding::MetricEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::sample::Observed;

/// Seconds since 1970.
pub(super) fn timestamp(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// `db` and the labels of one sample.
#[derive(Debug)]
pub(super) struct Labels<'a> {
    pub db: Option<&'a str>,
    pub more: &'a [(&'a str, &'a str)],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        if let Some(db) = self.db {
            ("db", db).encode(encoder.encode_label())?;
        }
        self.more.iter().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

/// Where the samples of one database in one family go.
pub(super) struct Sink<'a, 'e> {
    pub encoder: &'a mut MetricEncoder<'e>,
    pub db: &'a str,
}

impl Sink<'_, '_> {
    /// One sample of a gauge. Values are f64: prometheus-client fails the whole text on a u64 above `i64::MAX`.
    pub(super) fn gauge(&mut self, more: &[(&str, &str)], value: f64) -> fmt::Result {
        let labels = Labels { db: Some(self.db), more };
        ConstGauge::new(value).encode(self.encoder.encode_family(&labels)?)
    }

    /// One sample of a counter.
    pub(super) fn counter(&mut self, more: &[(&str, &str)], value: u64) -> fmt::Result {
        let labels = Labels { db: Some(self.db), more };
        ConstCounter::new(value).encode(self.encoder.encode_family(&labels)?)
    }

    /// One info sample.
    pub(super) fn info(&mut self, more: &[(&str, &str)]) -> fmt::Result {
        self.encoder.encode_info(&Labels { db: Some(self.db), more })
    }

    /// `sqlite_db_info`. What is not known is an empty label, which Prometheus takes for an absent one.
    pub(super) fn database_info(&mut self, observed: &Observed) -> fmt::Result {
        let settings = &observed.database.settings;
        let path = observed.database.path.to_string_lossy();
        let header = observed.facts.as_ref().map(|facts| facts.header);
        let application_id = header.map(|header| header.application_id.to_string()).unwrap_or_default();
        let mut labels: Vec<(&str, &str)> = vec![
            ("path", &path),
            ("journal_mode", header.map_or("", |header| header.journal_mode.label())),
            ("auto_vacuum", header.map_or("", |header| header.auto_vacuum.label())),
            ("encoding", header.map_or("", |header| header.encoding.label())),
            ("application_id", &application_id),
            ("profile", &settings.profile),
        ];
        labels.extend(settings.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.info(&labels)
    }
}
