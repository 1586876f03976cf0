//! Sizes and times of a database's files, from `stat` alone, so that they are there while the
//! database is locked or damaged.

use std::fmt;

use crate::os::FileSize;

use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyGroup;
use super::collector::FamilyKind;
use super::collector::FamilyUnit;
use super::collector::SampleWriter;
use super::snapshot::DatabaseSnapshot;

pub(super) struct FilesCollector;

impl Collector for FilesCollector {
    fn name(&self) -> &'static str {
        "files"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }
}

static FAMILIES: [Family; 4] = [
    Family {
        unit: Some(FamilyUnit::Seconds),
        group: FamilyGroup::Identity,
        ..Family::gauge(
            "sqlite_last_write_timestamp",
            "Newest modification time of main file and WAL, in seconds since 1970",
            |snapshot, writer| writer.optional(snapshot.files.map(|files| files.last_write_seconds)),
        )
    },
    Family {
        name: "sqlite_file_replaced",
        unit: None,
        kind: FamilyKind::Counter,
        labels: &[],
        group: FamilyGroup::Identity,
        help: "Number of times that the database file was replaced by another one (inode or device changed)",
        samples: |snapshot, writer| writer.counter(&[], snapshot.replaced),
    },
    Family {
        unit: Some(FamilyUnit::Bytes),
        labels: &["file"],
        group: FamilyGroup::Files,
        ..Family::gauge(
            "sqlite_file_size",
            "Size of the main file, WAL, shared memory and rollback journal, from stat, also while the database is locked or damaged",
            |snapshot, writer| files(snapshot, writer, |file| file.size),
        )
    },
    Family {
        unit: Some(FamilyUnit::Bytes),
        labels: &["file"],
        group: FamilyGroup::Files,
        ..Family::gauge(
            "sqlite_file_allocated",
            "Disk space that the file occupies, from stat",
            |snapshot, writer| files(snapshot, writer, |file| file.allocated),
        )
    },
];

fn files(
    snapshot: &DatabaseSnapshot,
    writer: &mut dyn SampleWriter,
    value: fn(&FileSize) -> u64,
) -> fmt::Result {
    let Some(files) = &snapshot.files else { return Ok(()) };
    writer.gauge(&[("file", "main")], value(&files.main) as f64)?;
    for (label, file) in [("wal", files.wal), ("shm", files.shm), ("journal", files.journal)] {
        if let Some(file) = file {
            writer.gauge(&[("file", label)], value(&file) as f64)?;
        }
    }
    Ok(())
}
