//! Processes that hold locks on a database. The collection loop reads one list of the kernel's per
//! sweep and follows each lock from sweep to sweep.

use std::fmt;

use crate::locks::LockKind;
use crate::locks::Locks;
use crate::os::LockView;

use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyGroup;
use super::collector::FamilyUnit;
use super::collector::SampleWriter;
use super::snapshot::DatabaseSnapshot;

pub(super) struct LocksCollector;

impl Collector for LocksCollector {
    fn name(&self) -> &'static str {
        "locks"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }
}

static FAMILIES: [Family; 3] = [
    Family {
        labels: &["lock"],
        group: FamilyGroup::Locks,
        ..Family::gauge(
            "sqlite_lock_holders",
            "Processes that held a lock at the last sweep, without litekeeper, from /proc/locks (absent where it is not available): writer (RESERVED or PENDING; WAL: its write lock), reader (SHARED; WAL: a read lock), checkpointer (WAL only), exclusive (EXCLUSIVE; WAL: being recovered)",
            holders,
        )
    },
    Family {
        unit: Some(FamilyUnit::Seconds),
        labels: &["lock"],
        group: FamilyGroup::Locks,
        ..Family::gauge(
            "sqlite_lock_held",
            "Longest time for which one process has been seen to hold the lock, without a commit that would have ended the hold: a lower bound, 0 when first seen; absent while nobody holds the lock",
            held,
        )
    },
    Family {
        group: FamilyGroup::Locks,
        ..Family::gauge(
            "sqlite_connected_processes",
            "Processes that had the database open in WAL mode at the last sweep (shared lock on byte 128 of the -shm file), without litekeeper; absent outside WAL mode",
            connected,
        )
    },
];

/// Whether a number is known: where the kernel hides the locks of other namespaces, none seen is
/// not none.
fn is_known(locks: &Locks, number: u32) -> bool {
    match locks.view {
        LockView::Whole => true,
        LockView::OwnNamespace => number > 0,
    }
}

/// The kinds of lock that a database in its journal mode can have.
fn kinds(locks: &Locks) -> impl Iterator<Item = LockKind> {
    let wal = locks.connected.is_some();
    LockKind::ALL.into_iter().filter(move |kind| wal || *kind != LockKind::Checkpointer)
}

fn holders(snapshot: &DatabaseSnapshot, writer: &mut dyn SampleWriter) -> fmt::Result {
    let Some(locks) = &snapshot.locks else { return Ok(()) };
    kinds(locks).try_for_each(|kind| match locks.holders(kind) {
        number if is_known(locks, number) => writer.gauge(&[("lock", kind.label())], f64::from(number)),
        _ => Ok(()),
    })
}

fn held(snapshot: &DatabaseSnapshot, writer: &mut dyn SampleWriter) -> fmt::Result {
    let Some(locks) = &snapshot.locks else { return Ok(()) };
    kinds(locks).try_for_each(|kind| match locks.longest(kind) {
        Some(held) => writer.gauge(&[("lock", kind.label())], held.as_secs_f64()),
        None => Ok(()),
    })
}

fn connected(snapshot: &DatabaseSnapshot, writer: &mut dyn SampleWriter) -> fmt::Result {
    let Some(locks) = &snapshot.locks else { return Ok(()) };
    match locks.connected_count() {
        Some(number) if is_known(locks, number) => writer.gauge(&[], f64::from(number)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_seen_is_not_none_in_a_namespace_of_its_own() {
        let locks = |view| Locks { view, holds: Vec::new(), connected: None };
        for (view, number, expected) in [
            (LockView::Whole, 0, true),
            (LockView::Whole, 1, true),
            (LockView::OwnNamespace, 0, false),
            (LockView::OwnNamespace, 1, true),
        ] {
            assert_eq!(is_known(&locks(view), number), expected, "{view:?} {number}");
        }
    }
}
