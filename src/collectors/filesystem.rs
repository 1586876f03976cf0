//! The file system of a database's directory: space and type. The collection loop asks for it once
//! per directory.

use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyGroup;
use super::collector::FamilyKind;
use super::collector::FamilyUnit;

pub(super) struct FilesystemCollector;

impl Collector for FilesystemCollector {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }
}

static FAMILIES: [Family; 3] = [
    Family {
        unit: Some(FamilyUnit::Bytes),
        group: FamilyGroup::FileSystem,
        ..Family::gauge(
            "sqlite_filesystem_avail",
            "Bytes that ordinary users may still write on the file system of the database's directory; absent while it does not respond",
            |snapshot, writer| {
                writer.optional(snapshot.filesystem.as_ref().map(|facts| facts.available_bytes as f64))
            },
        )
    },
    Family {
        unit: Some(FamilyUnit::Bytes),
        group: FamilyGroup::FileSystem,
        ..Family::gauge(
            "sqlite_filesystem_size",
            "Size of the file system of the database's directory",
            |snapshot, writer| {
                writer.optional(snapshot.filesystem.as_ref().map(|facts| facts.size_bytes as f64))
            },
        )
    },
    Family {
        name: "sqlite_filesystem",
        unit: None,
        kind: FamilyKind::Info,
        labels: &["fstype", "network"],
        group: FamilyGroup::FileSystem,
        help: "Type of the file system of the database; WAL mode is unsafe on a network or virtual one (network true)",
        samples: |snapshot, writer| {
            let Some(facts) = &snapshot.filesystem else { return Ok(()) };
            writer
                .info(&[("fstype", &facts.fstype), ("network", if facts.network { "true" } else { "false" })])
        },
    },
];
