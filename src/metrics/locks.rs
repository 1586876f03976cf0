//! The samples of who holds locks.

use std::fmt;

use crate::collectors::DatabaseSnapshot;
use crate::locks::LockKind;
use crate::locks::Locks;
use crate::os::LockView;
use crate::os::LostLocks;

use super::sample_writer::SampleWriter;

/// Whether a number says anything: where the kernel hides the locks of other namespaces, none seen is not none.
fn tells(locks: &Locks, number: u32) -> bool {
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

pub(super) fn holders(observed: &DatabaseSnapshot, sink: &mut SampleWriter<'_, '_>) -> fmt::Result {
    let Some(locks) = &observed.locks else { return Ok(()) };
    kinds(locks).try_for_each(|kind| match locks.holders(kind) {
        number if tells(locks, number) => sink.gauge(&[("lock", kind.label())], f64::from(number)),
        _ => Ok(()),
    })
}

pub(super) fn held(observed: &DatabaseSnapshot, sink: &mut SampleWriter<'_, '_>) -> fmt::Result {
    let Some(locks) = &observed.locks else { return Ok(()) };
    kinds(locks).try_for_each(|kind| match locks.longest(kind) {
        Some(held) => sink.gauge(&[("lock", kind.label())], held.as_secs_f64()),
        None => Ok(()),
    })
}

pub(super) fn connected(observed: &DatabaseSnapshot, sink: &mut SampleWriter<'_, '_>) -> fmt::Result {
    let Some(locks) = &observed.locks else { return Ok(()) };
    match locks.connected_count() {
        Some(number) if tells(locks, number) => sink.gauge(&[], f64::from(number)),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn lost(observed: &DatabaseSnapshot, sink: &mut SampleWriter<'_, '_>) -> fmt::Result {
    LostLocks::LABELS.into_iter().try_for_each(|label| match observed.owners.lost_processes(label) {
        Some(number) => sink.gauge(&[("loss", label)], number as f64),
        None => Ok(()),
    })
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
            assert_eq!(tells(&locks(view), number), expected, "{view:?} {number}");
        }
    }
}
