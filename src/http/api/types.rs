//! The responses of the API. Unknown values are `null`, never 0.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::Schema;

use crate::collectors;
use crate::collectors::DatabaseSnapshot;
use crate::collectors::DatabaseState;
use crate::locks::LocksJson;
use crate::locks::LostLocksJson;
use crate::metrics;
use crate::metrics::MaintenanceStatus;
use crate::sqlite::Check;
use crate::state_store::ActionRecord;
use crate::state_store::StoredRun;
use crate::task::TaskKind;

use super::parameters::one_of;
use super::parameters::task_schema;
use super::scrub::Scrub;
use super::time::at;
use super::time::iso;

/// Databases that match a filter.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Databases {
    /// The number of matching databases
    pub total: usize,
    /// Whether the first sweep is complete
    pub complete: bool,
    pub databases: Vec<Database>,
}

/// A database. Only the response for a single database has `locks` and `lost_locks`; `locks` is
/// null if the operating system does not report them
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Database {
    name: String,
    path: String,
    labels: BTreeMap<String, String>,
    #[schema(schema_with = state_schema)]
    state: &'static str,
    reason: Option<String>,
    #[schema(format = DateTime)]
    confirmed_at: Option<String>,
    #[schema(format = DateTime)]
    last_write_at: Option<String>,
    size_bytes: Option<u64>,
    wal_bytes: Option<u64>,
    page_size_bytes: Option<u32>,
    pages: Option<u32>,
    freelist_pages: Option<u32>,
    journal_mode: Option<&'static str>,
    tables: Vec<Table>,
    /// The largest tables; null if table sizes are not collected
    table_sizes: Option<TableSizes>,
    paused: bool,
    tasks: Vec<Task>,
    checks: Vec<CheckResult>,
    /// The last completed scrub; null before the first one, and without the task `scrub`
    scrub: Option<Scrub>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LocksJson>)]
    locks: Option<Option<LocksJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<LostLocksJson>)]
    lost_locks: Option<Vec<LostLocksJson>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Table {
    table: String,
    rows: i64,
    estimated: bool,
    #[schema(format = DateTime)]
    oldest_row_at: Option<String>,
    #[schema(format = DateTime)]
    newest_row_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TableSizes {
    tables: Vec<TableSize>,
    /// The number of other tables
    other_tables: usize,
    /// The size of the other tables and their indexes
    other_bytes: u64,
    /// Tables and indexes that were not measured within the time limit: their values are old or
    /// missing
    timed_out: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TableSize {
    table: String,
    size_bytes: Option<u64>,
    unused_bytes: Option<u64>,
    indexes: Vec<IndexSize>,
}

#[derive(Debug, Serialize, ToSchema)]
struct IndexSize {
    index: String,
    size_bytes: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Task {
    #[schema(schema_with = task_schema)]
    task: &'static str,
    running: bool,
    #[schema(minimum = 0)]
    progress: Option<f64>,
    #[schema(format = DateTime)]
    last_completed_at: Option<String>,
    last_succeeded: Option<bool>,
    #[schema(format = DateTime)]
    next_run_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CheckResult {
    #[schema(schema_with = check_schema)]
    check: &'static str,
    ok: bool,
    problems: u32,
    first_problem: Option<String>,
    #[schema(format = DateTime)]
    completed_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Runs {
    pub runs: Vec<Run>,
}

/// A completed run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Run {
    #[schema(minimum = 0)]
    id: i64,
    database: String,
    #[schema(schema_with = task_schema)]
    task: &'static str,
    #[schema(schema_with = trigger_schema)]
    trigger: &'static str,
    #[schema(format = DateTime)]
    due_at: Option<String>,
    #[schema(format = DateTime)]
    started_at: String,
    #[schema(minimum = 0)]
    elapsed_seconds: f64,
    #[schema(schema_with = outcome_schema)]
    outcome: String,
    reason: Option<String>,
    message: Option<String>,
    /// The report of the run, as in `litekeeper history --json`
    #[schema(value_type = Object)]
    details: Map<String, Value>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Schedule {
    pub total: usize,
    /// Whether all maintenance is paused
    pub paused: bool,
    pub schedule: Vec<ScheduledRun>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScheduledRun {
    database: String,
    #[schema(schema_with = task_schema)]
    task: &'static str,
    quick: bool,
    #[schema(format = DateTime)]
    next_run_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Actions {
    pub actions: Vec<Action>,
}

/// An action of a user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Action {
    #[schema(minimum = 0)]
    id: i64,
    #[schema(format = DateTime)]
    at: String,
    user: String,
    address: String,
    #[schema(schema_with = kind_schema)]
    kind: String,
    database: Option<String>,
    task: Option<String>,
    result: String,
}

impl Database {
    pub fn new(observed: &DatabaseSnapshot, maintenance: &MaintenanceStatus) -> Self {
        let database = &observed.database;
        let header = observed.facts.as_ref().map(|facts| facts.header);
        let files = observed.files.as_ref();
        Self {
            name: database.name.as_str().to_owned(),
            path: database.path.to_string_lossy().into_owned(),
            labels: database
                .settings
                .labels
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            state: observed.state.label(),
            reason: observed.reason.as_deref().map(str::to_owned),
            confirmed_at: observed.confirmed_at.map(iso),
            last_write_at: files.map(|files| at(files.last_write_seconds)),
            size_bytes: files.map(|files| files.main.size),
            wal_bytes: files.and_then(|files| files.wal).map(|wal| wal.size),
            page_size_bytes: header.map(|header| header.page_size),
            pages: header.map(|header| header.pages),
            freelist_pages: header.map(|header| header.freelist_pages),
            journal_mode: header.map(|header| header.journal_mode.label()),
            tables: tables(observed),
            table_sizes: observed.table_sizes().is_known().then(|| TableSizes::new(observed.table_sizes())),
            paused: maintenance.paused,
            tasks: maintenance.tasks.iter().map(Task::new).collect(),
            checks: checks(maintenance),
            scrub: maintenance.scrub.as_ref().map(Scrub::new),
            locks: None,
            lost_locks: None,
        }
    }

    /// Adds the locks, for the response for a single database.
    pub fn with_locks(self, observed: &DatabaseSnapshot) -> Self {
        let wal = observed.facts.as_ref().and_then(|facts| facts.wal);
        let locks = observed.locks.as_ref().map(|locks| LocksJson::new(locks, wal));
        let lost_locks = observed.owners.lost.iter().map(LostLocksJson::new).collect();
        Self { locks: Some(locks), lost_locks: Some(lost_locks), ..self }
    }
}

fn tables(observed: &DatabaseSnapshot) -> Vec<Table> {
    let ages = &observed.tables().ages;
    let table = |counted: &collectors::TableRows| {
        let age = ages.iter().find(|age| age.table == counted.table);
        Table {
            table: counted.table.clone(),
            rows: counted.rows,
            estimated: counted.method.label() != "count",
            oldest_row_at: age.map(|age| at(age.oldest)),
            newest_row_at: age.map(|age| at(age.newest)),
        }
    };
    observed.tables().rows.iter().map(table).collect()
}

fn checks(maintenance: &MaintenanceStatus) -> Vec<CheckResult> {
    let results = maintenance.verdicts.iter().map(|(check, status)| CheckResult {
        check: check.label(),
        ok: status.ok,
        problems: status.problems,
        first_problem: status.first_problem.clone(),
        completed_at: iso(status.completed_at),
    });
    results.collect()
}

impl TableSizes {
    fn new(sizes: &collectors::TableSizes) -> Self {
        let table = |table: &collectors::TableSize| TableSize {
            table: table.table.clone(),
            size_bytes: table.own.map(|own| own.bytes),
            unused_bytes: table.own.map(|own| own.unused),
            indexes: table.indexes.iter().map(index_size).collect(),
        };
        Self {
            tables: sizes.tables.iter().map(table).collect(),
            other_tables: sizes.others,
            other_bytes: sizes.others_bytes,
            timed_out: sizes.timed_out.clone(),
        }
    }
}

fn index_size(index: &collectors::IndexSize) -> IndexSize {
    IndexSize { index: index.index.clone(), size_bytes: index.bytes }
}

impl Task {
    fn new(state: &metrics::TaskState) -> Self {
        Self {
            task: state.task,
            running: state.progress.is_some(),
            progress: state.progress,
            last_completed_at: state.last_completion.map(at),
            last_succeeded: state.succeeded,
            next_run_at: state.next_run.map(at),
        }
    }
}

impl Run {
    pub fn new(stored: &StoredRun) -> Self {
        let run = &stored.run;
        Self {
            id: stored.id,
            database: run.database.as_str().to_owned(),
            task: run.task.label(),
            trigger: run.trigger.label(),
            due_at: run.due_at.map(iso),
            started_at: iso(run.started_at),
            elapsed_seconds: run.elapsed.as_secs_f64(),
            outcome: run.status.outcome().to_owned(),
            reason: run.status.reason().map(str::to_owned),
            message: run.message.clone(),
            details: run.details.as_object().cloned().unwrap_or_default(),
        }
    }
}

impl ScheduledRun {
    pub fn new(run: &metrics::ScheduledRun) -> Self {
        Self {
            database: run.database.as_str().to_owned(),
            task: run.task.label(),
            quick: run.task == TaskKind::QuickCheck,
            next_run_at: run.at.map(at),
        }
    }
}

impl Action {
    pub fn new(action: &ActionRecord) -> Self {
        Self {
            id: action.id,
            at: iso(action.at),
            user: action.user.clone(),
            address: action.address.clone(),
            kind: action.kind.clone(),
            database: action.database.clone(),
            task: action.task.clone(),
            result: action.result.clone(),
        }
    }
}

fn state_schema() -> Schema {
    one_of(&DatabaseState::ALL.map(DatabaseState::label))
}

fn check_schema() -> Schema {
    one_of(&Check::ALL.map(Check::label))
}

fn trigger_schema() -> Schema {
    one_of(&["schedule", "catch_up", "manual"])
}

fn outcome_schema() -> Schema {
    one_of(&["success", "skipped", "failed"])
}

fn kind_schema() -> Schema {
    one_of(&["run", "recheck", "pause", "resume"])
}
