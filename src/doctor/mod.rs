//! Diagnosis of a database and its environment: problems, reasons and remedies.
//!
//! The findings are pure functions over [`facts`]; only `collect` looks at anything. It is sync,
//! reads only and leaves no trace. It must never change anything: the commands are for a person to
//! read and copy.

use std::fs::canonicalize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::DatabaseSettings;
use crate::database::Database;
use crate::database::DatabaseName;
use crate::limits::QueryLimits;

mod collect;
mod facts;
mod files;
mod finding;
mod format;
mod remediation;
mod rules;
mod schema;
mod shell_quote;
mod state_rules;
mod storage;
#[cfg(test)]
mod tests;

pub use facts::PriorState;
pub use finding::Finding;
pub use rules::Severity;

use facts::Facts;
use facts::ReadFailure;

/// The version of the JSON shape; it grows when a field changes its meaning or goes.
pub const FORMAT_VERSION: u32 = 1;

/// What a diagnosis comes down to, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing above info.
    Ok,
    /// It could not be looked at, or not at all of it.
    Unknown,
    /// A warning.
    Warning,
    /// Something critical.
    Critical,
}

/// The diagnosis of one database.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Diagnosis {
    /// The file as it was named.
    pub path: String,
    /// What it comes down to.
    pub verdict: Verdict,
    /// Why it could not be looked at, or not at all of it.
    pub error: Option<String>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// How long the look took.
    pub elapsed_seconds: f64,
}

/// A database for a file of the command line, with its settings where a configuration knows it.
#[must_use]
pub fn database_of(file: &Path, known: &[Arc<Database>]) -> Arc<Database> {
    let path = canonicalize(file).or_else(|_| std::path::absolute(file)).unwrap_or_else(|_| file.to_owned());
    let found = known.iter().find(|database| database.path == path);
    found.map(Arc::clone).unwrap_or_else(|| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Arc::new(Database::new(DatabaseName::new(&name), path, Arc::new(DatabaseSettings::default()), 0))
    })
}

/// Looks at a database once; `named` is the name by which somebody asked for it, `known` what they
/// know already.
#[must_use]
pub fn diagnose(named: &Path, database: &Database, known: PriorState, limits: &QueryLimits) -> Diagnosis {
    let started = Instant::now();
    let facts = collect::collect(named, database, known, limits);
    let findings = evaluate(&facts);
    let error = incomplete_reason(&facts);
    let worst = findings.first().map(|finding| finding.severity);
    let verdict = match worst {
        Some(Severity::Critical) => Verdict::Critical,
        Some(Severity::Warning) => Verdict::Warning,
        Some(Severity::Info) | None if error.is_some() => Verdict::Unknown,
        Some(Severity::Info) | None => Verdict::Ok,
    };
    let path = named.display().to_string();
    Diagnosis { path, verdict, error, findings, elapsed_seconds: started.elapsed().as_secs_f64() }
}

/// Everything that the facts give rise to, the worst first.
fn evaluate(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    state_rules::findings(facts, &mut found);
    files::findings(facts, &mut found);
    storage::findings(facts, &mut found);
    format::findings(facts, &mut found);
    if let Ok(inside) = &facts.inside
        && let Ok(schema) = &inside.schema
    {
        schema::findings(facts, schema, &mut found);
    }
    schema::foreseen(facts, &mut found);
    if only_the_owner_may_write(facts) {
        found.iter_mut().for_each(withhold_writes);
    }
    // A stable sort: within a severity the order of the rules stays.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

/// Whether a write by another program than the owner would do harm.
fn only_the_owner_may_write(facts: &Facts) -> bool {
    !facts.lost_locks.is_empty() || facts.inside.as_ref().is_ok_and(|inside| inside.owner_format.is_some())
}

/// Takes away a command that would open the database by another program.
fn withhold_writes(finding: &mut Finding) {
    finding.command.take_if(|command| command.contains("sqlite3 "));
}

/// What could not be looked at.
fn incomplete_reason(facts: &Facts) -> Option<String> {
    let words = |failure: &ReadFailure| match failure {
        ReadFailure::HotJournal => "nobody can read it before its journal is rolled back".to_owned(),
        ReadFailure::Damaged(words) | ReadFailure::Denied(words) | ReadFailure::Other(words) => words.clone(),
    };
    match facts.inside.as_ref().and_then(|inside| inside.schema.as_ref()) {
        Ok(schema) => {
            let (seen, all) = (schema.tables.len(), schema.table_count);
            (seen < all).then(|| format!("{seen} of {all} tables were looked at"))
        }
        Err(failure) => Some(words(failure)),
    }
}
