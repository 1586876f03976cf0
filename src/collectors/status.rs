//! Whether a database can be read, and what it is: reachability, time of the last sample, path and
//! modes, thresholds.

use std::fmt;

use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyGroup;
use super::collector::FamilyKind;
use super::collector::FamilyUnit;
use super::collector::SampleWriter;
use super::snapshot::DatabaseSnapshot;
use super::snapshot::DatabaseState;
use super::snapshot::unix_seconds;

pub(super) struct StatusCollector;

impl Collector for StatusCollector {
    fn name(&self) -> &'static str {
        "status"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }
}

static FAMILIES: [Family; 5] = [
    Family {
        group: FamilyGroup::Identity,
        ..Family::gauge(
            "sqlite_up",
            "Whether the last sample opened the database and parsed its first page (1) or could not (0); a locked database keeps its last value",
            |snapshot, writer| match snapshot.state {
                DatabaseState::Up => writer.gauge(&[], 1.0),
                DatabaseState::Down => writer.gauge(&[], 0.0),
                DatabaseState::Pending => Ok(()),
            },
        )
    },
    Family {
        labels: &["reason"],
        group: FamilyGroup::Identity,
        ..Family::gauge(
            "sqlite_down_reason",
            "1 for the reason for which the database is down (missing, not_a_file, denied, empty, not_a_database, encrypted, newer_version, damaged, io, other); absent while it is up",
            |snapshot, writer| match snapshot.down {
                Some(reason) => writer.gauge(&[("reason", reason)], 1.0),
                None => Ok(()),
            },
        )
    },
    Family {
        group: FamilyGroup::Identity,
        unit: Some(FamilyUnit::Seconds),
        ..Family::gauge(
            "sqlite_sample_timestamp",
            "When the values of this database were last read or found unchanged, in seconds since 1970",
            |snapshot, writer| writer.optional(snapshot.confirmed_at.map(unix_seconds)),
        )
    },
    Family {
        name: "sqlite_db",
        unit: None,
        kind: FamilyKind::Info,
        labels: &["path", "journal_mode", "auto_vacuum", "encoding", "application_id", "profile"],
        group: FamilyGroup::Identity,
        help: "What the database is: its path, modes and the configured labels, to join on db; encoding and auto_vacuum are as of the last checkpoint",
        samples: database_info,
    },
    Family {
        labels: &["alert"],
        group: FamilyGroup::Identity,
        ..Family::gauge(
            "litekeeper_alert_threshold",
            "Threshold of an alert that the configuration sets for this database, in the unit of the alert's value; +Inf, or 0 for alerts on low values, means off",
            |snapshot, writer| {
                let mut thresholds = snapshot.database.settings.alerts.iter();
                thresholds.try_for_each(|(alert, value)| writer.gauge(&[("alert", alert)], *value))
            },
        )
    },
];

/// What is not known is an empty label, which Prometheus takes for an absent one.
fn database_info(snapshot: &DatabaseSnapshot, writer: &mut dyn SampleWriter) -> fmt::Result {
    let settings = &snapshot.database.settings;
    let path = snapshot.database.path.to_string_lossy();
    let header = snapshot.facts.as_ref().map(|facts| facts.header);
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
    writer.info(&labels)
}
