//! The locks of a database as JSON, for the API and for `litekeeper locks --json`. Unknown values
//! are `null`, never 0.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::Schema;
use utoipa::openapi::Type;

use crate::os::LockView;
use crate::os::Loss;
use crate::os::LostLocks;
use crate::sqlite::WalFrames;

use super::Hold;
use super::LockKind;
use super::LockOwner;
use super::Locks;

/// The most holds and processes listed per database; the counts include all.
const MAX_LISTED: usize = 200;

/// The locks of a database.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Locks)]
pub struct LocksJson {
    /// false if the kernel hides the locks of other PID namespaces
    whole: bool,
    holds: Vec<HoldJson>,
    connected_processes: Option<u32>,
    connected: Option<Vec<OwnerJson>>,
    wal_frames: Option<u32>,
    wal_checkpointed_frames: Option<u32>,
}

/// A process that has the database open without its locks, or writes to a deleted file of it:
/// runbook SqliteOwnerLostLocks
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LostLocks)]
pub struct LostLocksJson {
    pid: u32,
    #[schema(schema_with = loss_schema)]
    loss: &'static str,
    /// The file descriptor of the deleted file
    descriptor: Option<u32>,
    /// The former path of the deleted file
    path: Option<String>,
    what: String,
}

/// A lock and its owner.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hold)]
struct HoldJson {
    /// null if the kernel does not report it, as for open file description locks
    #[schema(minimum = 1)]
    pid: Option<u32>,
    /// 1, or the number of owners without a pid
    #[schema(minimum = 1)]
    count: u32,
    /// null if the process is not visible in /proc
    process: Option<String>,
    command: Option<String>,
    user: Option<String>,
    #[schema(format = DateTime)]
    process_started_at: Option<String>,
    #[schema(schema_with = kind_schema)]
    lock: &'static str,
    /// The name of the lock in SQLite's documentation
    sqlite_lock: String,
    #[schema(format = DateTime)]
    first_seen_at: String,
    /// The minimal age of the lock
    #[schema(minimum = 0)]
    held_seconds: f64,
    /// Frames of the WAL that no checkpoint can copy because of this read lock
    pinned_frames: Option<u32>,
}

/// A process that has the database open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Owner)]
struct OwnerJson {
    /// null if the kernel does not report it, as for open file description locks
    #[schema(minimum = 1)]
    pid: Option<u32>,
    /// 1, or the number of owners without a pid
    #[schema(minimum = 1)]
    count: u32,
    /// null if the process is not visible in /proc
    process: Option<String>,
    command: Option<String>,
    user: Option<String>,
    #[schema(format = DateTime)]
    process_started_at: Option<String>,
}

impl LocksJson {
    /// The locks as last sampled, with the WAL's frames.
    #[must_use]
    pub fn new(locks: &Locks, wal: Option<WalFrames>) -> Self {
        let connected = locks.connected.as_ref();
        Self {
            whole: locks.view == LockView::Whole,
            holds: locks.holds.iter().take(MAX_LISTED).map(HoldJson::new).collect(),
            connected_processes: locks.connected_count(),
            connected: connected.map(|owners| owners.iter().take(MAX_LISTED).map(OwnerJson::new).collect()),
            wal_frames: wal.map(|wal| wal.total),
            wal_checkpointed_frames: wal.map(|wal| wal.checkpointed),
        }
    }
}

impl LostLocksJson {
    /// What a process has lost.
    #[must_use]
    pub fn new(lost: &LostLocks) -> Self {
        let (descriptor, path) = match &lost.loss {
            Loss::Locks => (None, None),
            Loss::Name(descriptor, path) => (Some(*descriptor), Some(path.to_string_lossy().into_owned())),
        };
        Self { pid: lost.pid, loss: lost.label(), descriptor, path, what: lost.to_string() }
    }
}

impl HoldJson {
    fn new(hold: &Hold) -> Self {
        let OwnerJson { pid, count, process, command, user, process_started_at } =
            OwnerJson::new(&hold.owner);
        Self {
            pid,
            count,
            process,
            command,
            user,
            process_started_at,
            lock: hold.lock.kind().label(),
            sqlite_lock: hold.lock.to_string(),
            first_seen_at: iso(hold.first_seen_at),
            held_seconds: hold.held.as_secs_f64(),
            pinned_frames: hold.pinned_frames,
        }
    }
}

impl OwnerJson {
    fn new(owner: &LockOwner) -> Self {
        let process = owner.process.as_ref();
        Self {
            pid: owner.pid,
            count: owner.count,
            process: process.map(|process| process.name.clone()),
            command: process.map(|process| process.command.clone()),
            user: process.and_then(|process| process.user.clone()),
            process_started_at: process.and_then(|process| process.started_at).map(iso),
        }
    }
}

fn loss_schema() -> Schema {
    one_of(LostLocks::LABELS)
}

fn kind_schema() -> Schema {
    one_of(LockKind::ALL.map(LockKind::label))
}

fn one_of<const N: usize>(values: [&'static str; N]) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).into()
}

/// A time in RFC 3339 format.
fn iso(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
