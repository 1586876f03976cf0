//! The agent's own metrics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use crate::collectors::interval_collectors;
use crate::collectors::unix_seconds;
use crate::sqlite::sqlite_version;

use super::http_requests::HttpRequests;
use super::labels::CollectSkipReason;
use super::spans::SpanCounts;

/// Name and HELP of the one family that comes from the snapshot.
pub(super) const DATABASES: (&str, &str) = (
    "litekeeper_databases",
    "Monitored databases: readable (up), not readable (down), not yet read (pending)",
);

/// Counters and gauges of the agent's own work. Every counter is there from the start, at 0.
#[derive(Debug)]
pub struct AgentMetrics {
    looks: Histogram,
    sweep_nanoseconds: AtomicU64,
    skipped: [AtomicU64; CollectSkipReason::ALL.len()],
    /// Series that were left out, by interval collector.
    dropped: Vec<(&'static str, AtomicU64)>,
    discovery_errors: AtomicU64,
    reload_ok: AtomicU64,
    reload_at: AtomicU64,
    web_reload_ok: AtomicU64,
    sample_interval: AtomicU64,
    series_limit: AtomicU64,
    requests: HttpRequests,
    spans: Arc<SpanCounts>,
}

impl Default for AgentMetrics {
    fn default() -> Self {
        Self {
            // From the sample of an idle database (50 µs) to one that ended at its limit (2 s).
            looks: Histogram::new([
                0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5,
                10.0,
            ]),
            sweep_nanoseconds: AtomicU64::new(0),
            skipped: Default::default(),
            dropped: interval_collectors().map(|collector| (collector.name(), AtomicU64::new(0))).collect(),
            discovery_errors: AtomicU64::new(0),
            reload_ok: AtomicU64::new(1),
            reload_at: AtomicU64::new(0),
            web_reload_ok: AtomicU64::new(1),
            sample_interval: AtomicU64::new(0),
            series_limit: AtomicU64::new(0),
            requests: HttpRequests::default(),
            spans: Arc::default(),
        }
    }
}

impl AgentMetrics {
    /// With the counters of spans, which are kept where traces are exported.
    #[must_use]
    pub fn with_spans(spans: Arc<SpanCounts>) -> Self {
        Self { spans, ..Self::default() }
    }

    /// A database was opened and sampled.
    pub fn sampled(&self, elapsed: Duration) {
        self.looks.observe(elapsed.as_secs_f64());
    }

    /// A database was not opened.
    pub fn sample_skipped(&self, reason: CollectSkipReason) {
        self.skipped[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Databases that were not opened so far.
    #[must_use]
    pub fn samples_skipped(&self, reason: CollectSkipReason) -> u64 {
        self.skipped[reason as usize].load(Ordering::Relaxed)
    }

    /// A sweep over all databases ended.
    pub fn swept(&self, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.sweep_nanoseconds.store(nanoseconds, Ordering::Relaxed);
    }

    /// A collector left series out of the exposition.
    pub fn series_dropped(&self, collector: &str, count: u64) {
        if let Some((_, dropped)) = self.dropped.iter().find(|(name, _)| *name == collector) {
            dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// A scan for files met errors.
    pub fn discovery_failed(&self, errors: u64) {
        self.discovery_errors.fetch_add(errors, Ordering::Relaxed);
    }

    /// The configuration was loaded, at the start or again, or could not be.
    pub fn reloaded(&self, successful: bool) {
        self.reload_ok.store(u64::from(successful), Ordering::Relaxed);
        if successful {
            self.reload_at.store(unix_seconds(SystemTime::now()).to_bits(), Ordering::Relaxed);
        }
    }

    /// A changed web configuration, or one of its certificates or keys, was taken over, or could
    /// not be.
    pub fn web_reloaded(&self, successful: bool) {
        self.web_reload_ok.store(u64::from(successful), Ordering::Relaxed);
    }

    /// Creates the counters of the statuses with which a handler can respond, at 0.
    pub fn declare_requests(&self, handler: &'static str, statuses: impl IntoIterator<Item = u16>) {
        self.requests.declare(handler, statuses);
    }

    /// Counts a response.
    pub fn count_request(&self, handler: &'static str, status: u16) {
        self.requests.count(handler, status);
    }

    /// How often every database is sampled.
    pub fn set_sample_interval(&self, interval: Duration) {
        self.sample_interval.store(interval.as_secs_f64().to_bits(), Ordering::Relaxed);
    }

    /// The series that one database may have in its table and custom collectors.
    pub fn set_series_limit(&self, limit: usize) {
        self.series_limit.store(limit as u64, Ordering::Relaxed);
    }
}

/// The value or values of a family of the agent.
pub(super) enum Value<'a> {
    Gauge(f64),
    Counter(u64),
    CounterBy(Vec<(Vec<(&'static str, &'static str)>, u64)>),
    HttpRequests(&'a HttpRequests),
    Info([(&'static str, &'static str); 4]),
    Histogram(&'a Histogram),
}

/// One family of the agent.
pub(super) struct AgentFamily {
    pub name: &'static str,
    pub unit: Option<Unit>,
    pub labels: &'static [&'static str],
    pub kind: MetricType,
    pub help: &'static str,
    pub value: fn(&AgentMetrics) -> Value<'_>,
}

/// The labels of `litekeeper_build_info`.
fn build() -> [(&'static str, &'static str); 4] {
    [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", env!("LITEKEEPER_REVISION")),
        ("rustc", env!("LITEKEEPER_RUSTC")),
        ("sqlite_version", sqlite_version()),
    ]
}

/// The families, in the order of the exposition.
pub(super) static AGENT_FAMILIES: &[AgentFamily] = &[
    AgentFamily {
        name: "litekeeper_build",
        unit: None,
        labels: &["version", "revision", "rustc", "sqlite_version"],
        kind: MetricType::Info,
        help: "The build: version and revision of litekeeper, compiler, and version of the bundled SQLite",
        value: |_| Value::Info(build()),
    },
    AgentFamily {
        name: "litekeeper_config_last_reload_successful",
        unit: None,
        labels: &[],
        kind: MetricType::Gauge,
        help: "Whether the last load of the configuration succeeded",
        value: |agent| Value::Gauge(agent.reload_ok.load(Ordering::Relaxed) as f64),
    },
    AgentFamily {
        name: "litekeeper_config_last_reload_success_timestamp",
        unit: Some(Unit::Seconds),
        labels: &[],
        kind: MetricType::Gauge,
        help: "When the configuration in effect was loaded, in seconds since 1970",
        value: |agent| Value::Gauge(f64::from_bits(agent.reload_at.load(Ordering::Relaxed))),
    },
    AgentFamily {
        name: "litekeeper_web_config_last_reload_successful",
        unit: None,
        labels: &[],
        kind: MetricType::Gauge,
        help: "Whether the last change of the web configuration file, its certificates or keys was loaded",
        value: |agent| Value::Gauge(agent.web_reload_ok.load(Ordering::Relaxed) as f64),
    },
    AgentFamily {
        name: "litekeeper_discovery_errors",
        unit: None,
        labels: &[],
        kind: MetricType::Counter,
        help: "Errors of the scans for database files: directories that cannot be read, scans that hang, files beyond the limit",
        value: |agent| Value::Counter(agent.discovery_errors.load(Ordering::Relaxed)),
    },
    AgentFamily {
        name: "litekeeper_sample_duration",
        unit: Some(Unit::Seconds),
        labels: &[],
        kind: MetricType::Histogram,
        help: "Duration of one sample of one database; unchanged databases, which are not opened, are not included",
        value: |agent| Value::Histogram(&agent.looks),
    },
    AgentFamily {
        name: "litekeeper_sample_interval",
        unit: Some(Unit::Seconds),
        labels: &[],
        kind: MetricType::Gauge,
        help: "Configured interval at which every database is sampled",
        value: |agent| Value::Gauge(f64::from_bits(agent.sample_interval.load(Ordering::Relaxed))),
    },
    AgentFamily {
        name: "litekeeper_sweep_duration",
        unit: Some(Unit::Seconds),
        labels: &[],
        kind: MetricType::Gauge,
        help: "Duration of the last complete sweep over all databases",
        value: |agent| Value::Gauge(agent.sweep_nanoseconds.load(Ordering::Relaxed) as f64 / 1e9),
    },
    AgentFamily {
        name: "litekeeper_samples_skipped",
        unit: None,
        labels: &["reason"],
        kind: MetricType::Counter,
        help: "Databases not read in a sweep: their files had not changed (unchanged), their file system does not respond (stuck), or another process had them locked or wrote to them (busy)",
        value: |agent| {
            let by = |reason: CollectSkipReason| {
                (vec![("reason", reason.label())], agent.skipped[reason as usize].load(Ordering::Relaxed))
            };
            Value::CounterBy(CollectSkipReason::ALL.map(by).into())
        },
    },
    AgentFamily {
        name: "litekeeper_series_limit",
        unit: None,
        labels: &[],
        kind: MetricType::Gauge,
        help: "Maximum number of series that the table and custom collectors may each export for one database",
        value: |agent| Value::Gauge(agent.series_limit.load(Ordering::Relaxed) as f64),
    },
    AgentFamily {
        name: "litekeeper_series_dropped",
        unit: None,
        labels: &["collector"],
        kind: MetricType::Counter,
        help: "Series dropped because a limit was reached",
        value: |agent| {
            let by = |(collector, count): &(&'static str, AtomicU64)| {
                (vec![("collector", *collector)], count.load(Ordering::Relaxed))
            };
            Value::CounterBy(agent.dropped.iter().map(by).collect())
        },
    },
    AgentFamily {
        name: "litekeeper_http_requests",
        unit: None,
        labels: &["handler", "code"],
        kind: MetricType::Counter,
        help: "HTTP requests by handler and status code",
        value: |agent| Value::HttpRequests(&agent.requests),
    },
    AgentFamily {
        name: "litekeeper_trace_spans_exported",
        unit: None,
        labels: &[],
        kind: MetricType::Counter,
        help: "Spans that the receiver of traces has accepted",
        value: |agent| Value::Counter(agent.spans.exported_count()),
    },
    AgentFamily {
        name: "litekeeper_trace_spans_dropped",
        unit: None,
        labels: &["reason"],
        kind: MetricType::Counter,
        help: "Spans that were lost: the queue was full (queue_full), the receiver was unreachable or unavailable (failed), \
               or it refused them (rejected)",
        value: |agent| {
            let counts = agent.spans.dropped_counts().into_iter();
            Value::CounterBy(counts.map(|(reason, count)| (vec![("reason", reason)], count)).collect())
        },
    },
];

impl Collector for AgentMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for family in AGENT_FAMILIES {
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), family.kind)?;
            match (family.value)(self) {
                Value::Gauge(value) => ConstGauge::new(value).encode(metric)?,
                Value::Counter(value) => ConstCounter::new(value).encode(metric)?,
                Value::CounterBy(values) => {
                    for (labels, value) in values {
                        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
                    }
                }
                Value::HttpRequests(requests) => requests.encode(metric)?,
                Value::Info(labels) => metric.encode_info(&labels)?,
                Value::Histogram(histogram) => histogram.encode(metric)?,
            }
        }
        Ok(())
    }
}
