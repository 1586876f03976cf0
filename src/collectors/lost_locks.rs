//! Processes that have a database open without their POSIX locks, or write to deleted files of it.
//! The collection loop finds them in one pass over the descriptors of all processes.

use crate::os::LostLocks;

use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyGroup;

pub(super) struct LostLocksCollector;

impl Collector for LostLocksCollector {
    fn name(&self) -> &'static str {
        "lost_locks"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }
}

static FAMILIES: [Family; 1] = [Family {
    labels: &["loss"],
    group: FamilyGroup::Locks,
    ..Family::gauge(
        "sqlite_lost_lock_processes",
        "Processes that have the database open without their POSIX locks (main_lock), or write to a deleted main file or -wal (deleted_file), so that their commits are or will be lost; updated once per sample interval, or less often if /proc is large; absent if such a process could be hidden from litekeeper",
        |snapshot, writer| {
            LostLocks::LABELS.into_iter().try_for_each(|label| match snapshot.owners.lost_processes(label) {
                Some(number) => writer.gauge(&[("loss", label)], number as f64),
                None => Ok(()),
            })
        },
    )
}];
