//! The exposition of metrics. No other module uses prometheus-client.
//!
//! A scrape formats the last snapshot and some counters. Nothing here may touch a file, wait for
//! anything but a short lock, or know how a value came to be.

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;

use crate::collectors::DatabaseSnapshot;
use crate::collectors::Snapshot;

mod agent;
mod backup_families;
mod databases;
mod http_requests;
mod job_collector;
mod job_families;
mod jobs;
mod kept_backups;
mod labels;
mod process;
mod reference;
mod sample_writer;
mod scrub_families;
mod scrubs;
mod spans;
mod status;
mod text;

pub use agent::AgentMetrics;
pub use jobs::JobMetrics;
pub use jobs::JobTarget;
pub use labels::CollectSkipReason;
pub use reference::reference;
pub use spans::SpanCounts;
pub use spans::SpanDrop;
pub use status::MaintenanceStatus;
pub use status::ScheduledRun;
pub use status::TaskState;
pub use text::Format;
pub use text::TextPart;
pub use text::text_parts;

use databases::DatabaseCollector;
use job_collector::JobCollector;
use process::ProcessCollector;

/// The text of a scrape.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
    snapshot: Arc<ArcSwap<Snapshot>>,
    last_bytes: std::sync::atomic::AtomicUsize,
}

impl Exposition {
    /// An exposition of a snapshot, of maintenance and of the agent's own metrics.
    #[must_use]
    pub fn new(snapshot: Arc<ArcSwap<Snapshot>>, jobs: &Arc<JobMetrics>, agent: &Arc<AgentMetrics>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(DatabaseCollector::new(Arc::clone(&snapshot))));
        registry.register_collector(Box::new(JobCollector(Arc::clone(jobs))));
        registry.register_collector(Box::new(Arc::clone(agent)));
        registry.register_collector(Box::new(ProcessCollector));
        Self { registry, snapshot, last_bytes: std::sync::atomic::AtomicUsize::new(0) }
    }

    /// The samples of one database, without what describes them.
    ///
    /// # Errors
    /// None is known; prometheus-client's signature has one.
    pub fn encode_database(&self, database: DatabaseSnapshot) -> Result<String, std::fmt::Error> {
        let snapshot = Snapshot { databases: vec![database], complete: true };
        let mut registry = Registry::default();
        registry
            .register_collector(Box::new(DatabaseCollector::new(Arc::new(ArcSwap::from_pointee(snapshot)))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        // Families of all databases together are left out.
        let lines = text.lines().filter(|line| line.starts_with("sqlite_"));
        Ok(lines.map(|line| format!("{line}\n")).collect())
    }

    /// Formats what is known now.
    ///
    /// Cost: 6 µs a database; nothing that waits.
    ///
    /// # Errors
    /// None is known; prometheus-client's signature has one.
    pub fn encode(&self, format: Format) -> Result<String, std::fmt::Error> {
        use std::sync::atomic::Ordering;
        /// An estimate of the text of one database.
        const BYTES_PER_DATABASE: usize = 3_000;
        let databases = self.snapshot.load().databases.len();
        // Growing a buffer of megabytes by doubling would copy it several times.
        let last = self.last_bytes.load(Ordering::Relaxed);
        let guess = if last == 0 { databases * BYTES_PER_DATABASE + 16_384 } else { last + last / 16 };
        let mut openmetrics = String::with_capacity(guess);
        prometheus_client::encoding::text::encode(&mut openmetrics, &self.registry)?;
        self.last_bytes.store(openmetrics.len(), Ordering::Relaxed);
        Ok(match format {
            Format::OpenMetrics => openmetrics,
            Format::Text => text::to_text_format(&openmetrics),
        })
    }
}
