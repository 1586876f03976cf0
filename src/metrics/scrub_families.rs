//! The families of scrubs, and their part of the exposition.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::collectors::unix_seconds;
use crate::database::DatabaseName;
use crate::sealed::SealedFindingKind;
use crate::sealed::SealedTableStatus;
use crate::state_store::ScrubStatus;
use crate::tasks::ScrubResult;

use super::jobs::JobMetrics;
use super::jobs::Jobs;
use super::sample_writer::SampleWriter;
use super::scrubs::Scrubs;

/// One family of a database's scrubs.
pub(super) struct ScrubFamily {
    pub name: &'static str,
    pub unit: Option<Unit>,
    /// Labels besides `db`.
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub samples: fn(&Scrubs, &mut SampleWriter<'_, '_>) -> fmt::Result,
}

const fn family(
    name: &'static str,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Scrubs, &mut SampleWriter<'_, '_>) -> fmt::Result,
) -> ScrubFamily {
    ScrubFamily { name, unit, labels, help, samples }
}

fn result(scrubs: &Scrubs, samples: impl FnOnce(&ScrubResult, &ScrubStatus) -> fmt::Result) -> fmt::Result {
    scrubs.status.as_ref().map_or(Ok(()), |status| samples(&status.result, status))
}

fn compared(scrubs: &Scrubs) -> impl Iterator<Item = &SealedTableStatus> {
    scrubs.sealed.iter().filter(|table| table.compared_at != 0)
}

/// The families of scrubs, in the order of the exposition.
pub(super) static SCRUB_FAMILIES: &[ScrubFamily] = &[
    family(
        "sqlite_scrub_ok",
        None,
        &[],
        "Whether scrubs know of no damage (1), or found bytes on the disk that nobody wrote (0); stays 0 until a scrub finds the good pages again, the file is replaced or an operator accepts it; kept across restarts; absent before the first scrub",
        |scrubs, sink| result(scrubs, |_, status| sink.gauge(&[], f64::from(u8::from(status.is_ok())))),
    ),
    family(
        "sqlite_scrub_mismatches",
        None,
        &[],
        "Pages and WAL frames on the disk that the last scrub found other than they were written; kept across restarts",
        |scrubs, sink| result(scrubs, |result, _| sink.gauge(&[], result.mismatches as f64)),
    ),
    family(
        "sqlite_scrub_pages",
        None,
        &["state"],
        "Pages by the result of the last scrub: as they were (verified), not verifiable but the base of the next scrub (rebased), or neither (unverified); kept across restarts",
        |scrubs, sink| {
            result(scrubs, |result, _| {
                let states = [
                    ("verified", result.verified),
                    ("rebased", result.rebased),
                    ("unverified", result.unverified),
                ];
                states
                    .into_iter()
                    .try_for_each(|(state, pages)| sink.gauge(&[("state", state)], pages as f64))
            })
        },
    ),
    family(
        "sqlite_scrub_unverified_pages",
        None,
        &["reason"],
        "Pages that the last scrub could not verify, by reason, such as first_scrub, written, rewritten or wal_incomplete; kept across restarts",
        |scrubs, sink| {
            result(scrubs, |result, _| {
                let mut reasons = result.reasons.iter();
                reasons.try_for_each(|(reason, pages)| sink.gauge(&[("reason", reason)], *pages as f64))
            })
        },
    ),
    family(
        "sqlite_scrub_verified_ratio",
        None,
        &[],
        "Fraction of the pages that the last scrub verified, from 0 to 1, without free pages; kept across restarts",
        |scrubs, sink| {
            result(scrubs, |result, _| result.verified_ratio.map_or(Ok(()), |ratio| sink.gauge(&[], ratio)))
        },
    ),
    family(
        "sqlite_scrub_last_completed_timestamp",
        Some(Unit::Seconds),
        &[],
        "When a scrub last completed, in seconds since 1970, kept across restarts; 0 means never",
        |scrubs, sink| {
            let completed = scrubs.status.as_ref().map(|status| unix_seconds(status.completed_at));
            sink.gauge(&[], completed.unwrap_or(0.0))
        },
    ),
    family(
        "sqlite_scrub_interval",
        Some(Unit::Seconds),
        &[],
        "Interval of the scrub by its schedule",
        |scrubs, sink| sink.gauge(&[], scrubs.interval.as_secs_f64()),
    ),
    family(
        "sqlite_sealed_rows",
        None,
        &["table"],
        "Sealed rows at the last comparison, those with findings among them; kept across restarts; absent before the first comparison",
        |scrubs, sink| {
            compared(scrubs).try_for_each(|table| sink.gauge(&[("table", &table.table)], table.rows as f64))
        },
    ),
    family(
        "sqlite_sealed_findings",
        None,
        &["table", "kind"],
        "Sealed rows whose content is another one (changed), that are gone (deleted) or for which the condition is not true any more (unsealed), until they are as they were or somebody accepts the change; kept across restarts; absent before the first comparison",
        |scrubs, sink| {
            compared(scrubs).try_for_each(|table| {
                SealedFindingKind::ALL.into_iter().try_for_each(|kind| {
                    let labels = [("table", table.table.as_str()), ("kind", kind.label())];
                    sink.gauge(&labels, table.found.of_kind(kind) as f64)
                })
            })
        },
    ),
    family(
        "sqlite_sealed_last_compared_timestamp",
        Some(Unit::Seconds),
        &["table"],
        "When the sealed rows of the table were last compared, by a scrub or `litekeeper sealed`, in seconds since 1970, kept across restarts; 0 means never",
        |scrubs, sink| {
            scrubs
                .sealed
                .iter()
                .try_for_each(|table| sink.gauge(&[("table", &table.table)], table.compared_at as f64))
        },
    ),
];

/// Writes the families of scrubs.
pub(super) fn encode_scrubs(jobs: &Jobs, encoder: &mut DescriptorEncoder) -> fmt::Result {
    for family in SCRUB_FAMILIES {
        let mut metric =
            encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), MetricType::Gauge)?;
        for (database, scrubs) in &jobs.scrubs {
            let mut sink = SampleWriter { encoder: &mut metric, db: database.as_str() };
            (family.samples)(scrubs, &mut sink)?;
        }
    }
    Ok(())
}

impl JobMetrics {
    /// Whether a scrub of a database found damage that nothing has cleared.
    #[must_use]
    pub fn has_scrub_damage(&self, database: &DatabaseName) -> bool {
        let jobs = self.lock();
        let status = jobs.scrubs.get(database).and_then(|scrubs| scrubs.status.as_ref());
        status.is_some_and(|status| !status.is_ok())
    }

    /// Publishes the last completed scrub of a database.
    pub fn set_scrub(&self, database: &DatabaseName, status: Option<ScrubStatus>) {
        if let Some(scrubs) = self.lock().scrubs.get_mut(database) {
            scrubs.status = status;
        }
    }

    /// Publishes what is known of the sealed rows of a database.
    pub fn set_sealed(&self, database: &DatabaseName, tables: Vec<SealedTableStatus>) {
        if let Some(scrubs) = self.lock().scrubs.get_mut(database) {
            scrubs.sealed = tables;
        }
    }
}
