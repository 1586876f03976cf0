//! The status of each check of a database, which is kept over restarts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use litekeeper_sqlite::rusqlite;
use litekeeper_sqlite::rusqlite::Connection;
use litekeeper_sqlite::rusqlite::params;

use crate::sqlite::Check;
use crate::tasks::FailureReason;
use crate::tasks::Notes;
use crate::tasks::Run;
use crate::tasks::RunStatus;
use crate::tasks::Verdict;

use super::StateStore;
use super::StateStoreError;
use super::path_to_value;
use super::seconds;
use super::time;

/// The status of one check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckStatus {
    /// Whether the database is sound, as far as this check can tell.
    pub ok: bool,
    /// Problems that the last failed one found; 0 when it is sound.
    pub problems: u32,
    /// The first of them.
    pub first_problem: Option<String>,
    /// When it last ran to its end, whatever it found.
    pub completed_at: SystemTime,
    /// When it last looked at the whole database at once; the epoch when never.
    pub whole_at: SystemTime,
    /// Notes of the last one, in addition to its verdict.
    pub notes: Notes,
}

/// Updates the statuses of a database's checks by a new verdict.
///
/// A failure stays until a check that could have seen the same damage passes: a quick check sees
/// less than a full one, and a full one table by table sees less than one on the whole database. So
/// a failed quick or full check is cleared by a whole full check alone.
pub fn apply_verdict(check_statuses: &mut BTreeMap<Check, CheckStatus>, verdict: &Verdict, at: SystemTime) {
    let old = check_statuses.get(&verdict.check);
    let whole_at = old.map_or(SystemTime::UNIX_EPOCH, |old| old.whole_at);
    let mut new = CheckStatus {
        ok: verdict.ok,
        problems: verdict.problems,
        first_problem: verdict.first_problem.clone(),
        completed_at: at,
        whole_at: if verdict.whole { at } else { whole_at },
        notes: verdict.notes.clone(),
    };
    let clears = match verdict.check {
        Check::Quick => false,
        Check::Full => verdict.whole,
        Check::ForeignKey => true,
    };
    if let Some(failed) = old.filter(|old| !old.ok && verdict.ok && !clears) {
        new.ok = false;
        new.problems = failed.problems;
        new.first_problem.clone_from(&failed.first_problem);
    }
    check_statuses.insert(verdict.check, new);
    // A full check sees every broken constraint that a quick one does.
    if verdict.check == Check::Full
        && let Some(quick) = check_statuses.get_mut(&Check::Quick)
    {
        quick.notes.constraints = verdict.notes.constraints;
        quick.notes.first_constraint.clone_from(&verdict.notes.first_constraint);
    }
    if verdict.check == Check::Full
        && verdict.ok
        && verdict.whole
        && let Some(quick) = check_statuses.get_mut(&Check::Quick)
    {
        (quick.ok, quick.problems, quick.first_problem) = (true, 0, None);
    }
}

/// The verdicts of a run on the database's health. A writing task that encounters damage counts
/// like a failed check.
fn verdicts(run: &Run) -> Vec<Verdict> {
    if let Some(verdicts) = run.report.as_ref().and_then(|report| report.details.verdicts()) {
        return verdicts.to_vec();
    }
    if run.status != RunStatus::Failed(FailureReason::Corrupt) {
        return Vec::new();
    }
    let first_problem = run.message.clone();
    vec![Verdict {
        check: Check::Full,
        ok: false,
        whole: false,
        problems: 1,
        first_problem,
        notes: Notes::default(),
    }]
}

/// Records the verdicts of a run on the database's health.
pub(super) fn apply(connection: &Connection, run: &Run) -> rusqlite::Result<()> {
    let verdicts = verdicts(run);
    if verdicts.is_empty() {
        return Ok(());
    }
    let mut check_statuses = read(connection, &run.path)?;
    for verdict in &verdicts {
        apply_verdict(&mut check_statuses, verdict, run.ended_at());
    }
    let sql = "INSERT OR REPLACE INTO verdicts (path, kind, ok, problems, first_problem, completed_at, whole_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    for (check, standing) in check_statuses {
        connection.execute(
            sql,
            params![
                path_to_value(&run.path),
                check.label(),
                standing.ok,
                standing.problems,
                standing.first_problem,
                seconds(standing.completed_at),
                seconds(standing.whole_at)
            ],
        )?;
        let notes = serde_json::to_string(&standing.notes).unwrap_or_default();
        connection.execute(
            "INSERT OR REPLACE INTO verdict_notes (path, kind, notes) VALUES (?1, ?2, ?3)",
            params![path_to_value(&run.path), check.label(), notes],
        )?;
    }
    Ok(())
}

fn read(connection: &Connection, path: &Path) -> rusqlite::Result<BTreeMap<Check, CheckStatus>> {
    let sql =
        "SELECT kind, ok, problems, first_problem, completed_at, whole_at FROM verdicts WHERE path = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([path_to_value(path)], |row| {
        let kind: String = row.get(0)?;
        let standing = CheckStatus {
            ok: row.get(1)?,
            problems: row.get(2)?,
            first_problem: row.get(3)?,
            completed_at: time(row.get(4)?),
            whole_at: time(row.get(5)?),
            notes: Notes::default(),
        };
        Ok((kind, standing))
    })?;
    let mut check_statuses = BTreeMap::new();
    for row in rows {
        let (kind, standing) = row?;
        if let Some(check) = Check::ALL.into_iter().find(|check| check.label() == kind) {
            check_statuses.insert(check, standing);
        }
    }
    // A file of an older format that is only read has no such table.
    if let Ok(mut statement) =
        connection.prepare_cached("SELECT kind, notes FROM verdict_notes WHERE path = ?1")
    {
        let rows = statement.query_map([path_to_value(path)], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        for row in rows {
            let (kind, notes) = row?;
            if let Some((_, standing)) = check_statuses.iter_mut().find(|(check, _)| check.label() == kind) {
                standing.notes = serde_json::from_str(&notes).unwrap_or_default();
            }
        }
    }
    Ok(check_statuses)
}

impl StateStore {
    /// The status of each check of a database.
    ///
    /// # Errors
    /// SQLite's.
    pub fn check_statuses(&self, path: &Path) -> Result<BTreeMap<Check, CheckStatus>, StateStoreError> {
        read(&self.connection(), path).map_err(self.failed())
    }

    /// What a failed integrity check found, if none that clears it has passed since. Foreign keys
    /// are the application's.
    ///
    /// # Errors
    /// SQLite's.
    pub fn unhealthy(&self, path: &Path) -> Result<Option<String>, StateStoreError> {
        let check_statuses = self.check_statuses(path)?;
        let failed = [Check::Full, Check::Quick].iter().find_map(|check| {
            let standing = check_statuses.get(check).filter(|standing| !standing.ok)?;
            Some(standing.first_problem.clone().unwrap_or_else(|| format!("{} problems", standing.problems)))
        });
        Ok(failed)
    }
}
