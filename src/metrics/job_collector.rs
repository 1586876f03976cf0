//! Writes the families of maintenance and integrity at every scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::backup_families::BACKUP_FAMILIES;
use super::job_families::DURATION;
use super::job_families::INTEGRITY_FAMILIES;
use super::job_families::JOB_FAMILIES;
use super::job_families::PAUSED;
use super::jobs::Integrity;
use super::jobs::JobMetrics;
use super::jobs::Jobs;
use super::sample_writer::Labels;
use super::sample_writer::SampleWriter;
use super::scrub_families::encode_scrubs;

/// Formats what is known of maintenance at every scrape.
#[derive(Debug)]
pub(super) struct JobCollector(pub Arc<JobMetrics>);

impl Collector for JobCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        {
            let jobs = self.0.lock();
            encode_integrity(&jobs, &mut encoder)?;
            encode_scrubs(&jobs, &mut encoder)?;
            for family in JOB_FAMILIES.iter().chain(BACKUP_FAMILIES) {
                let mut metric =
                    encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), family.kind)?;
                for ((database, task), job) in &jobs.jobs {
                    let mut sink = SampleWriter { encoder: &mut metric, db: database.as_str() };
                    (family.samples)(job, task, &mut sink)?;
                }
            }
            encode_paused(&jobs, &mut encoder)?;
        }
        let (name, help) = DURATION;
        let mut metric =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (label, histogram) in &self.0.durations {
            let labels = Labels { db: None, extra: &[("task", label)] };
            histogram.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn encode_integrity(jobs: &Jobs, encoder: &mut DescriptorEncoder) -> fmt::Result {
    for family in INTEGRITY_FAMILIES {
        let mut metric =
            encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), MetricType::Gauge)?;
        for (database, Integrity { check_statuses, intervals }) in &jobs.integrity {
            let mut sink = SampleWriter { encoder: &mut metric, db: database.as_str() };
            for (check, interval) in intervals {
                if let Some(value) = (family.value)(check_statuses.get(check), interval.as_secs_f64()) {
                    sink.gauge(&[("check", check.label())], value)?;
                }
            }
        }
    }
    Ok(())
}

fn encode_paused(jobs: &Jobs, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let (name, help) = PAUSED;
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    let mut last = None;
    for (database, _) in jobs.jobs.keys() {
        if last == Some(database) {
            continue;
        }
        last = Some(database);
        let paused = jobs.everything_paused || jobs.paused.contains(database.as_str());
        let mut sink = SampleWriter { encoder: &mut metric, db: database.as_str() };
        sink.gauge(&[], f64::from(u8::from(paused)))?;
    }
    Ok(())
}
