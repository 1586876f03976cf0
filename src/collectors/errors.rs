//! Errors that litekeeper met with a database, by SQLite result code.

use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyGroup;
use super::collector::FamilyKind;

pub(super) struct ErrorsCollector;

impl Collector for ErrorsCollector {
    fn name(&self) -> &'static str {
        "errors"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }
}

static FAMILIES: [Family; 1] = [Family {
    name: "sqlite_errors",
    unit: None,
    kind: FamilyKind::Counter,
    labels: &["code"],
    group: FamilyGroup::Identity,
    help: "Errors of litekeeper's accesses to the database, by SQLite result code; a missing or unreadable file counts as SQLITE_CANTOPEN",
    samples: |snapshot, writer| {
        snapshot.errors.iter().try_for_each(|(code, count)| writer.counter(&[("code", code.label())], count))
    },
}];
