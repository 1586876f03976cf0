//! `process_*`, as every Prometheus client names them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::os::ResourceUsage;

/// Reads `/proc/self` at every scrape; it cannot hang.
#[derive(Debug)]
pub(super) struct ProcessCollector;

/// Name, unit, type, HELP and value of a process metric.
pub(super) struct ProcessFamily {
    pub name: &'static str,
    pub unit: Option<Unit>,
    pub kind: MetricType,
    pub help: &'static str,
    value: fn(&ResourceUsage) -> Option<f64>,
}

/// The families, in the order of the exposition.
pub(super) static PROCESS_FAMILIES: &[ProcessFamily] = &[
    ProcessFamily {
        name: "process_cpu",
        unit: Some(Unit::Seconds),
        kind: MetricType::Counter,
        help: "Total user and system CPU time spent in seconds.",
        value: |process| Some(process.cpu_seconds),
    },
    ProcessFamily {
        name: "process_resident_memory",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        help: "Resident memory size in bytes.",
        value: |process| Some(process.resident_bytes as f64),
    },
    ProcessFamily {
        name: "process_virtual_memory",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        help: "Virtual memory size in bytes.",
        value: |process| Some(process.virtual_bytes as f64),
    },
    ProcessFamily {
        name: "process_open_fds",
        unit: None,
        kind: MetricType::Gauge,
        help: "Number of open file descriptors.",
        value: |process| process.open_fds.map(|count| count as f64),
    },
    ProcessFamily {
        name: "process_max_fds",
        unit: None,
        kind: MetricType::Gauge,
        help: "Maximum number of open file descriptors.",
        value: |process| process.max_fds.map(|count| count as f64),
    },
    ProcessFamily {
        name: "process_start_time",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        help: "Start time of the process since unix epoch in seconds.",
        value: |process| process.started_at,
    },
];

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(process) = ResourceUsage::read() else { return Ok(()) };
        for family in PROCESS_FAMILIES {
            let Some(value) = (family.value)(&process) else { continue };
            let metric =
                encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), family.kind)?;
            if family.kind.as_str() == MetricType::Counter.as_str() {
                ConstCounter::new(value).encode(metric)?;
            } else {
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
}
