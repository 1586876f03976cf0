//! JSON of the API. Unknown values are `null`, never 0.

use std::time::Duration;
use std::time::SystemTime;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::collectors::DatabaseSnapshot;
use crate::collectors::IndexSize;
use crate::collectors::TableSize;
use crate::collectors::TableSizes;
use crate::locks::lost_locks_to_json;
use crate::metrics::MaintenanceStatus;
use crate::metrics::ScheduledRun;
use crate::state_store::ActionRecord;
use crate::state_store::StoredRun;

use super::api::iso;

/// Formats seconds since 1970.
fn at(seconds: f64) -> String {
    iso(SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A database with its tasks and checks.
pub(super) fn database(observed: &DatabaseSnapshot, upkeep: &MaintenanceStatus) -> Value {
    let database = &observed.database;
    let header = observed.facts.as_ref().map(|facts| facts.header);
    let files = observed.files.as_ref();
    let tables: Vec<Value> = observed
        .tables
        .rows
        .iter()
        .map(|reading| {
            let age = observed.tables.ages.iter().find(|age| age.table == reading.table);
            json!({
                "table": reading.table,
                "rows": reading.rows,
                "estimated": reading.method.label() != "count",
                "oldest_row_at": age.map(|age| at(age.oldest)),
                "newest_row_at": age.map(|age| at(age.newest)),
            })
        })
        .collect();
    json!({
        "name": database.name.as_str(),
        "path": database.path.to_string_lossy(),
        "labels": database.settings.labels,
        "state": observed.state.label(),
        "reason": observed.reason.as_deref(),
        "confirmed_at": observed.confirmed_at.map(iso),
        "last_write_at": files.map(|files| at(files.last_write_seconds)),
        "size_bytes": files.map(|files| files.main.size),
        "wal_bytes": files.and_then(|files| files.wal).map(|wal| wal.size),
        "page_size_bytes": header.map(|header| header.page_size),
        "pages": header.map(|header| header.pages),
        "freelist_pages": header.map(|header| header.freelist_pages),
        "journal_mode": header.map(|header| header.journal_mode.label()),
        "tables": tables,
        "table_sizes": table_sizes(&observed.space),
        "paused": upkeep.paused,
        "tasks": upkeep.tasks.iter().map(task).collect::<Vec<_>>(),
        "checks": checks(upkeep),
    })
}

/// The largest tables; `null` before they are measured, and if that is not configured.
fn table_sizes(readings: &TableSizes) -> Option<Value> {
    let table = |table: &TableSize| {
        let index = |index: &IndexSize| json!({ "index": index.index, "size_bytes": index.bytes });
        json!({
            "table": table.table,
            "size_bytes": table.own.map(|own| own.bytes),
            "unused_bytes": table.own.map(|own| own.unused),
            "indexes": table.indexes.iter().map(index).collect::<Vec<_>>(),
        })
    };
    readings.is_known().then(|| {
        json!({
            "tables": readings.tables.iter().map(table).collect::<Vec<_>>(),
            "other_tables": readings.others,
            "other_bytes": readings.others_bytes,
            "timed_out": readings.timed_out,
        })
    })
}

/// Processes that lost their locks on a database.
pub(super) fn lost_locks(observed: &DatabaseSnapshot) -> Value {
    observed.owners.lost.iter().map(lost_locks_to_json).collect()
}

/// The locks on a database.
pub(super) fn locks(observed: &DatabaseSnapshot) -> Value {
    let wal = observed.facts.as_ref().and_then(|facts| facts.wal);
    observed.locks.as_ref().map_or(Value::Null, |locks| locks.to_json(wal))
}

fn task(state: &crate::metrics::TaskState) -> Value {
    json!({
        "task": state.task,
        "running": state.progress.is_some(),
        "progress": state.progress,
        "last_completed_at": state.last_completion.map(at),
        "last_succeeded": state.succeeded,
        "next_run_at": state.next_run.map(at),
    })
}

fn checks(upkeep: &MaintenanceStatus) -> Vec<Value> {
    let check = |(check, standing): &(crate::sqlite::Check, crate::state_store::CheckStatus)| {
        json!({
            "check": check.label(),
            "ok": standing.ok,
            "problems": standing.problems,
            "first_problem": standing.first_problem,
            "completed_at": iso(standing.completed_at),
        })
    };
    upkeep.verdicts.iter().map(check).collect()
}

/// A completed run.
pub(super) fn run(recent: &StoredRun) -> Value {
    let run = &recent.run;
    let details = match &run.details {
        Value::Object(details) => details.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    json!({
        "id": recent.id,
        "database": run.database.as_str(),
        "task": run.task.label(),
        "trigger": run.trigger.label(),
        "due_at": run.due_at.map(iso),
        "started_at": iso(run.started_at),
        "elapsed_seconds": run.elapsed.as_secs_f64(),
        "outcome": run.outcome,
        "reason": run.reason,
        "message": run.message,
        "details": details,
    })
}

/// A scheduled run.
pub(super) fn upcoming(entry: &ScheduledRun) -> Value {
    json!({
        "database": entry.database.as_str(),
        "task": entry.task.label(),
        "quick": entry.task == crate::task::TaskKind::QuickCheck,
        "next_run_at": entry.at.map(at),
    })
}

/// An action of a user.
pub(super) fn action(action: &ActionRecord) -> Value {
    json!({
        "id": action.id,
        "at": iso(action.at),
        "user": action.user,
        "address": action.address,
        "kind": action.kind,
        "database": action.database,
        "task": action.task,
        "result": action.result,
    })
}
