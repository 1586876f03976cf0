//! `process_*`, as every Prometheus client names them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads `/proc/self` at every scrape; it cannot hang.
#[derive(Debug)]
pub(super) struct ProcessCollector;

/// Name, unit, type, HELP and value of a process metric.
pub(super) struct ProcessFamily {
    pub name: &'static str,
    pub unit: Option<Unit>,
    pub kind: MetricType,
    pub help: &'static str,
    value: fn(&Process) -> Option<f64>,
}

/// What `/proc/self` says.
struct Process {
    stat: procfs::process::Stat,
    open_fds: Option<usize>,
    max_fds: Option<u64>,
    boot_seconds: Option<u64>,
}

/// The families, in the order of the exposition.
pub(super) static PROCESS_FAMILIES: &[ProcessFamily] = &[
    ProcessFamily {
        name: "process_cpu",
        unit: Some(Unit::Seconds),
        kind: MetricType::Counter,
        help: "Total user and system CPU time spent in seconds.",
        value: |process| Some((process.stat.utime + process.stat.stime) as f64 / ticks_per_second()),
    },
    ProcessFamily {
        name: "process_resident_memory",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        help: "Resident memory size in bytes.",
        value: |process| Some((process.stat.rss * procfs::page_size()) as f64),
    },
    ProcessFamily {
        name: "process_virtual_memory",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        help: "Virtual memory size in bytes.",
        value: |process| Some(process.stat.vsize as f64),
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
        value: |process| {
            process.boot_seconds.map(|boot| boot as f64 + process.stat.starttime as f64 / ticks_per_second())
        },
    },
];

fn ticks_per_second() -> f64 {
    procfs::ticks_per_second() as f64
}

impl Process {
    fn read() -> Option<Self> {
        use procfs::CurrentSI;
        use procfs::process::LimitValue;
        let process = procfs::process::Process::myself().ok()?;
        let max_fds = process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(count) => Some(count),
            LimitValue::Unlimited => None,
        });
        Some(Self {
            stat: process.stat().ok()?,
            open_fds: process.fd_count().ok(),
            max_fds,
            boot_seconds: procfs::KernelStats::current().ok().map(|kernel| kernel.btime),
        })
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(process) = Process::read() else { return Ok(()) };
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
