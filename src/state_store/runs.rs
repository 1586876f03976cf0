//! The runs in the state file.

use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use litekeeper_sqlite::rusqlite;
use litekeeper_sqlite::rusqlite::Connection;
use litekeeper_sqlite::rusqlite::OptionalExtension;
use litekeeper_sqlite::rusqlite::Row;
use litekeeper_sqlite::rusqlite::params;
use litekeeper_sqlite::rusqlite::params_from_iter;
use litekeeper_sqlite::rusqlite::types::Value;

use crate::database::DatabaseName;
use crate::task::TaskKind;
use crate::tasks;
use crate::tasks::Run;
use crate::tasks::RunStatus;
use crate::tasks::SkipReason;
use crate::tasks::Trigger;
use crate::tasks::parse_report;

use super::StateStore;
use super::StateStoreError;
use super::path_from_value;
use super::path_to_value;
use super::seconds;
use super::task_from_slot;
use super::time;

/// A run with its number in the file.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// Its number.
    pub id: i64,
    /// The run.
    pub run: Run,
}

/// What became of a run in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It stands there.
    Added,
    /// It stands there in place of the one before it, which came to the same.
    Repeated,
    /// It does not: there was nothing to do.
    Nothing,
}

/// Which runs are asked for.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    /// Of these databases; of all when empty.
    pub databases: Vec<String>,
    /// Of these tasks, by their label; of all when empty.
    pub tasks: Vec<String>,
    /// So many at the most.
    pub limit: u32,
}

const COLUMNS: &str =
    "id, database, path, task, trigger, due_at, started_at, elapsed, outcome, reason, message, details";

/// The runs after which the task has done what it is for, as [`Run::is_done`] has them.
const DONE: &str = "(outcome = 'success' OR outcome = 'skipped' AND reason = 'below_threshold')";

fn stored_run(row: &Row<'_>) -> rusqlite::Result<Option<StoredRun>> {
    // A task that a later version knows is passed over.
    let Some(task) = task_from_slot(&row.get::<_, String>(3)?) else { return Ok(None) };
    // So is one that ended in a way that a later version knows.
    let reason: Option<String> = row.get(9)?;
    let Some(status) = RunStatus::from_labels(&row.get::<_, String>(8)?, reason.as_deref()) else {
        return Ok(None);
    };
    let details: Option<String> = row.get(11)?;
    let details = details.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let run = Run {
        database: DatabaseName::new(&row.get::<_, String>(1)?),
        path: path_from_value(row.get_ref(2)?),
        task,
        trigger: Trigger::from_label(&row.get::<_, String>(4)?),
        due_at: row.get::<_, Option<f64>>(5)?.map(time),
        started_at: time(row.get(6)?),
        elapsed: Duration::try_from_secs_f64(row.get(7)?).unwrap_or_default(),
        status,
        message: row.get(10)?,
        report: parse_report(task, &details),
        details,
        trace: None,
    };
    Ok(Some(StoredRun { id: row.get(0)?, run }))
}

/// Removes the run before the one that was just written down, when it came to the same.
fn replace_equal(connection: &Connection, run: &Run) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM runs WHERE id = (SELECT id FROM runs WHERE path = ?1 AND task = ?2 ORDER BY id DESC LIMIT 1 OFFSET 1) \
               AND outcome = ?3 AND reason IS ?4 AND trigger <> ?5";
    let manual = Trigger::Manual.label();
    let parameters = params![
        path_to_value(&run.path),
        run.task.stored_name(),
        run.status.outcome(),
        run.status.reason(),
        manual
    ];
    Ok(connection.execute(sql, parameters)? > 0)
}

impl StateStore {
    /// Writes a run down, and what it found of the database's health.
    ///
    /// Of a light task, which runs every few minutes, a scheduled run that had nothing to do is not
    /// written down, and one that came to the same as the run before takes its place: history tells
    /// when something changed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn record(&self, run: &Run) -> Result<Recorded, StateStoreError> {
        let is_light = tasks::task(run.task).is_light() && run.trigger != Trigger::Manual;
        if is_light && run.status == RunStatus::Skipped(SkipReason::BelowThreshold) {
            return Ok(Recorded::Nothing);
        }
        let mut connection = self.connection();
        let failed = self.failed();
        let transaction = connection.transaction().map_err(&failed)?;
        let sql = "INSERT INTO runs (process, database, path, task, trigger, due_at, started_at, elapsed, outcome, reason, \
                   message, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        transaction
            .execute(
                sql,
                params![
                    self.process,
                    run.database.as_str(),
                    path_to_value(&run.path),
                    run.task.stored_name(),
                    run.trigger.label(),
                    run.due_at.map(seconds),
                    seconds(run.started_at),
                    run.elapsed.as_secs_f64(),
                    run.status.outcome(),
                    run.status.reason(),
                    run.message,
                    (!run.details.is_null()).then(|| run.details.to_string()),
                ],
            )
            .map_err(&failed)?;
        let repeats = is_light && replace_equal(&transaction, run).map_err(&failed)?;
        super::check_status::apply(&transaction, run).map_err(&failed)?;
        super::scrub_status::apply(&transaction, run).map_err(&failed)?;
        transaction.commit().map_err(failed)?;
        Ok(if repeats { Recorded::Repeated } else { Recorded::Added })
    }

    /// The last runs that a question asks for, the newest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn runs(&self, query: &RunQuery) -> Result<Vec<StoredRun>, StateStoreError> {
        let mut sql = format!("SELECT {COLUMNS} FROM runs WHERE true");
        let mut parameters: Vec<Value> = Vec::new();
        let mut narrow = |column: &str, values: Vec<String>| {
            if values.is_empty() {
                return;
            }
            let marks = vec!["?"; values.len()].join(", ");
            sql.push_str(&format!(" AND {column} IN ({marks})"));
            parameters.extend(values.into_iter().map(Value::Text));
        };
        narrow("database", query.databases.clone());
        let labelled = |task: &TaskKind| query.tasks.iter().any(|label| label == task.label());
        let tasks =
            TaskKind::ALL.iter().filter(|task| labelled(task)).map(|task| task.stored_name().to_owned());
        narrow("task", tasks.collect());
        sql.push_str(&format!(" ORDER BY id DESC LIMIT {}", query.limit));
        self.select(&sql, parameters)
    }

    /// Runs that other processes wrote down after a run's number, the oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn by_other_processes_since(&self, id: i64) -> Result<Vec<StoredRun>, StateStoreError> {
        /// More come with the next question.
        const LIMIT: u32 = 1000;
        let sql =
            format!("SELECT {COLUMNS} FROM runs WHERE id > ?1 AND process <> ?2 ORDER BY id LIMIT {LIMIT}");
        self.select(&sql, vec![Value::Integer(id), Value::Text(self.process.clone())])
    }

    /// The number of the last run.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_id(&self) -> Result<i64, StateStoreError> {
        let sql = "SELECT ifnull(max(id), 0) FROM runs";
        self.connection().query_row(sql, (), |row| row.get(0)).map_err(self.failed())
    }

    fn select(&self, sql: &str, parameters: Vec<Value>) -> Result<Vec<StoredRun>, StateStoreError> {
        let connection = self.connection();
        let failed = self.failed();
        let mut statement = connection.prepare(sql).map_err(&failed)?;
        let rows = statement.query_map(params_from_iter(parameters), stored_run).map_err(&failed)?;
        rows.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(failed)
    }

    /// The last run of a task that was not skipped, and the last after which there was nothing left
    /// to do.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_runs(
        &self,
        path: &Path,
        task: TaskKind,
    ) -> Result<(Option<StoredRun>, Option<StoredRun>), StateStoreError> {
        let connection = self.connection();
        let last = |which: &str| {
            let sql = format!(
                "SELECT {COLUMNS} FROM runs WHERE path = ?1 AND task = ?2 AND {which} ORDER BY id DESC LIMIT 1"
            );
            connection
                .query_row(&sql, params![path_to_value(path), task.stored_name()], stored_run)
                .optional()
                .map(Option::flatten)
                .map_err(self.failed())
        };
        Ok((last("outcome <> 'skipped'")?, last(DONE)?))
    }

    /// Forgets runs that began before a moment.
    ///
    /// # Errors
    /// SQLite's.
    pub fn prune_runs(&self, moment: SystemTime) -> Result<usize, StateStoreError> {
        // The last success of each task stays: timestamps in metrics come from it.
        let sql = format!(
            "DELETE FROM runs WHERE started_at < ?1 AND id NOT IN \
             (SELECT max(id) FROM runs WHERE {DONE} GROUP BY path, task)"
        );
        self.connection().execute(&sql, [seconds(moment)]).map_err(self.failed())
    }
}
