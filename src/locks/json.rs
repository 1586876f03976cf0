//! The locks of a database as JSON: one shape for the API and for the command line. Unknown is `null`, never 0.

use std::time::SystemTime;

use serde_json::Value;
use serde_json::json;

use crate::os::LockView;
use crate::os::Loss;
use crate::os::LostLocks;
use crate::sqlite::WalFrames;

use super::Hold;
use super::LockOwner;
use super::Locks;

/// Holds and processes that are listed of one database; all are counted.
const MAX_LISTED: usize = 200;

impl Locks {
    /// What is described in `openapi.json` under `Locks`.
    #[must_use]
    pub fn to_json(&self, wal: Option<WalFrames>) -> Value {
        let connected = self.connected.as_ref();
        json!({
            "whole": self.view == LockView::Whole,
            "holds": self.holds.iter().take(MAX_LISTED).map(hold).collect::<Vec<_>>(),
            "connected_processes": self.connected_count(),
            "connected": connected.map(|all| all.iter().take(MAX_LISTED).map(owner).collect::<Vec<_>>()),
            "wal_frames": wal.map(|wal| wal.total),
            "wal_checkpointed_frames": wal.map(|wal| wal.checkpointed),
        })
    }
}

/// What is described in `openapi.json` under `LostLocks`.
#[must_use]
pub fn lost_locks_to_json(lost: &LostLocks) -> Value {
    let (descriptor, path) = match &lost.loss {
        Loss::Locks => (None, None),
        Loss::Name(descriptor, path) => (Some(descriptor), Some(path.to_string_lossy())),
    };
    json!({
        "pid": lost.pid,
        "loss": lost.label(),
        "descriptor": descriptor,
        "path": path,
        "what": lost.to_string(),
    })
}

fn hold(hold: &Hold) -> Value {
    let mut value = owner(&hold.owner);
    value["lock"] = hold.lock.kind().label().into();
    value["sqlite_lock"] = hold.lock.to_string().into();
    value["first_seen_at"] = iso(hold.first_seen_at).into();
    value["held_seconds"] = hold.held.as_secs_f64().into();
    value["pinned_frames"] = hold.pinned_frames.into();
    value
}

fn owner(owner: &LockOwner) -> Value {
    let process = owner.process.as_ref();
    json!({
        "pid": owner.pid,
        "count": owner.count,
        "process": process.map(|process| &process.name),
        "command": process.map(|process| &process.command),
        "user": process.and_then(|process| process.user.as_ref()),
        "process_started_at": process.and_then(|process| process.started_at).map(iso),
    })
}

/// A moment as RFC 3339 has it.
fn iso(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
