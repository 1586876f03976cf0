//! The header of page 1, and the WAL's frames beside it: versions, sizes in pages, checkpoint
//! progress.

use std::fmt;

use crate::sqlite::Header;
use crate::sqlite::WalFrames;

use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyGroup;
use super::collector::FamilyUnit;
use super::collector::SampleWriter;
use super::snapshot::DatabaseSnapshot;

pub(super) struct HeaderCollector;

impl Collector for HeaderCollector {
    fn name(&self) -> &'static str {
        "header"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }
}

static FAMILIES: [Family; 8] = [
    Family {
        group: FamilyGroup::Identity,
        ..Family::gauge(
            "sqlite_writer_version",
            "SQLite version number of the last writer, e.g. 3046001 for 3.46.1, as of the last checkpoint",
            |snapshot, writer| header(snapshot, writer, |header| f64::from(header.writer_version)),
        )
    },
    Family {
        group: FamilyGroup::Identity,
        ..Family::gauge(
            "sqlite_user_version",
            "PRAGMA user_version, which applications use for their migrations, at the last sample",
            |snapshot, writer| header(snapshot, writer, |header| f64::from(header.user_version)),
        )
    },
    Family {
        group: FamilyGroup::Identity,
        ..Family::gauge(
            "sqlite_schema_version",
            "PRAGMA schema_version, which every DDL statement increments, at the last sample",
            |snapshot, writer| header(snapshot, writer, |header| f64::from(header.schema_version)),
        )
    },
    Family {
        unit: Some(FamilyUnit::Bytes),
        group: FamilyGroup::Pages,
        ..Family::gauge("sqlite_page_size", "Bytes per page", |snapshot, writer| {
            header(snapshot, writer, |header| f64::from(header.page_size))
        })
    },
    Family {
        group: FamilyGroup::Pages,
        ..Family::gauge(
            "sqlite_pages",
            "Pages of the database including those in the WAL, at the last sample",
            |snapshot, writer| header(snapshot, writer, |header| f64::from(header.pages)),
        )
    },
    Family {
        group: FamilyGroup::Pages,
        ..Family::gauge(
            "sqlite_freelist_pages",
            "Unused pages, which a vacuum would release, at the last sample",
            |snapshot, writer| header(snapshot, writer, |header| f64::from(header.freelist_pages)),
        )
    },
    Family {
        group: FamilyGroup::Wal,
        ..Family::gauge(
            "sqlite_wal_frames",
            "Valid frames (pages) in the WAL at the last sample; absent outside WAL mode",
            |snapshot, writer| wal(snapshot, writer, |wal| wal.total),
        )
    },
    Family {
        group: FamilyGroup::Wal,
        ..Family::gauge(
            "sqlite_wal_checkpointed_frames",
            "Frames of the WAL that a checkpoint has copied into the main file at the last sample; absent outside WAL mode",
            |snapshot, writer| wal(snapshot, writer, |wal| wal.checkpointed),
        )
    },
];

fn header(
    snapshot: &DatabaseSnapshot,
    writer: &mut dyn SampleWriter,
    value: fn(&Header) -> f64,
) -> fmt::Result {
    writer.optional(snapshot.facts.as_ref().map(|facts| value(&facts.header)))
}

fn wal(
    snapshot: &DatabaseSnapshot,
    writer: &mut dyn SampleWriter,
    value: fn(&WalFrames) -> u32,
) -> fmt::Result {
    let wal = snapshot.facts.as_ref().and_then(|facts| facts.wal);
    writer.optional(wal.map(|wal| f64::from(value(&wal))))
}
