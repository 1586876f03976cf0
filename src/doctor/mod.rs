//! Diagnosis of a database and its environment: problems, reasons and remedies.
//!
//! The rules are pure functions over [`facts`]; only `collect` accesses files. Diagnosis is
//! synchronous, only reads, and leaves no files behind. It never runs the suggested commands: a
//! person reads and copies them.

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

/// The version of the JSON format; it increases when a field is removed or changes its meaning.
pub const FORMAT_VERSION: u32 = 1;

/// Overall result of a diagnosis, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No finding above info.
    Ok,
    /// The database could not be examined completely.
    Unknown,
    /// The worst finding is a warning.
    Warning,
    /// The worst finding is critical.
    Critical,
}

/// The diagnosis of one database.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Diagnosis {
    /// The path as the user gave it.
    pub path: String,
    /// The overall result.
    pub verdict: Verdict,
    /// Why the database could not be examined completely.
    pub error: Option<String>,
    /// The findings, worst first.
    pub findings: Vec<Finding>,
    /// How long the diagnosis took.
    pub elapsed_seconds: f64,
}

/// Returns the database for a file on the command line, with its settings if a configuration names
/// it.
#[must_use]
pub fn database_of(file: &Path, known: &[Arc<Database>]) -> Arc<Database> {
    let path = canonicalize(file).or_else(|_| std::path::absolute(file)).unwrap_or_else(|_| file.to_owned());
    let found = known.iter().find(|database| database.path == path);
    found.map(Arc::clone).unwrap_or_else(|| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Arc::new(Database::new(DatabaseName::new(&name), path, Arc::new(DatabaseSettings::default()), 0))
    })
}

/// Diagnoses a database once; `named` is the path that the user gave, `known` what the caller knows
/// already.
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

/// Applies all rules. Returns the findings, worst first.
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
    // The sort is stable, so that findings of one severity keep the order of the rules.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

/// Whether a write by any program other than the owner would cause damage.
fn only_the_owner_may_write(facts: &Facts) -> bool {
    !facts.lost_locks.is_empty() || facts.inside.as_ref().is_ok_and(|inside| inside.owner_format.is_some())
}

/// Removes a suggested command that would open the database with another program.
fn withhold_writes(finding: &mut Finding) {
    finding.command.take_if(|command| command.contains("sqlite3 "));
}

/// Returns why the database could not be examined completely.
fn incomplete_reason(facts: &Facts) -> Option<String> {
    let words = |failure: &ReadFailure| match failure {
        ReadFailure::HotJournal => {
            "it cannot be read until a program with write access rolls back its journal".to_owned()
        }
        ReadFailure::Damaged(words) | ReadFailure::Denied(words) | ReadFailure::Other(words) => words.clone(),
    };
    match facts.inside.as_ref().and_then(|inside| inside.schema.as_ref()) {
        Ok(schema) => {
            let (seen, all) = (schema.tables.len(), schema.table_count);
            (seen < all).then(|| format!("only {seen} of {all} tables were examined"))
        }
        Err(failure) => Some(words(failure)),
    }
}
