//! The section "Locks" on the page of a database: holders, their age, and reads that block
//! checkpoints.

use std::time::SystemTime;

use maud::Markup;
use maud::html;

use crate::collectors::DatabaseSnapshot;
use crate::humanize::counted_of;
use crate::humanize::span;
use crate::locks::Hold;
use crate::locks::LockKind;
use crate::locks::LockOwner;
use crate::locks::Locks;
use crate::os::LockView;

use super::format::format_date;
use super::format::relative_time;

/// The most rows of the table and names in the list; the counts include all.
const MAX_ROWS: usize = 50;

pub(super) fn locks(observed: &DatabaseSnapshot, now: SystemTime) -> Markup {
    html! {
        h2 id="locks" { "Locks" }
        @match &observed.locks {
            None => p.empty { "The operating system does not report the locks on this database." },
            Some(locks) => (seen(observed, locks, now)),
        }
    }
}

fn seen(observed: &DatabaseSnapshot, locks: &Locks, now: SystemTime) -> Markup {
    let total = observed.facts.as_ref().and_then(|facts| facts.wal).map(|wal| wal.total);
    html! {
        @for hold in locks.pins().into_iter().take(3) { (pin(hold, total)) }
        @if locks.holds.is_empty() { p.empty { "No locks held at the last sample." } }
        @else { (holds_table(locks, now)) }
        @if let Some(connected) = &locks.connected { (connections(connected, locks.connected_count())) }
        @match locks.view {
            LockView::Whole => {}
            LockView::OwnNamespace => p.soft {
                "litekeeper runs in a PID namespace of its own: locks of processes outside it are hidden."
            },
        }
    }
}

/// `pid 123 python3 pins 4,200 of 9,000 frames …`
fn pin(hold: &Hold, total: Option<u32>) -> Markup {
    let frames = counted_of(hold.pinned_frames.unwrap_or(0).into(), total.map(u64::from), "frame");
    html! {
        p.note {
            (hold.owner) " pins " (frames) " of the WAL: checkpoints cannot copy them until its read ends; held for at least "
            (span(hold.held.as_secs()))
        }
    }
}

fn holds_table(locks: &Locks, now: SystemTime) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "Lock" } th scope="col" { "Process" } th.wide scope="col" { "User" }
                th scope="col" { "Command" } th scope="col" { "Held for at least" } th.wide scope="col" { "First seen" }
            } }
            tbody {
                @for hold in locks.holds.iter().take(MAX_ROWS) {
                    @let process = hold.owner.process.as_ref();
                    tr {
                        th scope="row" { (kind(hold.lock.kind())) " " small { (hold.lock) } }
                        td.text { (hold.owner) }
                        td.wide { @if let Some(user) = process.and_then(|process| process.user.as_ref()) { (user) } }
                        td.text { @if let Some(process) = process { code { (process.command) } } }
                        td.number { (span(hold.held.as_secs())) }
                        td.wide { (relative_time(hold.first_seen_at, now)) }
                    }
                }
            }
        }
        @if locks.holds.len() > MAX_ROWS { p.soft { "and " (locks.holds.len() - MAX_ROWS) " more" } }
    }
}

fn connections(connected: &[LockOwner], number: Option<u32>) -> Markup {
    let number = number.unwrap_or(0);
    html! {
        @if number == 0 { p.soft { "No process has the database open." } } @else {
            p {
                (number) @if number == 1 { " process has" } @else { " processes have" } " the database open: "
                @for (index, owner) in connected.iter().take(MAX_ROWS).enumerate() {
                    @if index > 0 { ", " }
                    @let started = owner.process.as_ref().and_then(|process| process.started_at);
                    span title=[started.map(|time| format!("started {}", format_date(time)))] { (owner) }
                }
                @if connected.len() > MAX_ROWS { " and " (connected.len() - MAX_ROWS) " more" }
            }
        }
    }
}

fn kind(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Writer => "write",
        LockKind::Reader => "read",
        LockKind::Checkpointer => "checkpoint",
        LockKind::Exclusive => "exclusive",
    }
}
