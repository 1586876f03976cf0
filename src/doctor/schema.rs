//! Rules on tables: retention, statistics, foreign keys.

use crate::config::Retention;
use crate::humanize::counted;
use crate::sqlite::DatabaseSchema;
use crate::sqlite::ForeignKey;
use crate::sqlite::RowCount;
use crate::sqlite::TableStatistics;
use crate::tasks::ExpectedProblem;
use crate::tasks::ProblemKind;

use super::facts::Facts;
use super::finding::Finding;
use super::remediation::sql;
use super::rules::FindingKind;
use super::rules::Severity;

/// Statistics and retention matter for tables with at least this many rows.
const LARGE_TABLE_ROWS: i64 = 10_000;
/// Scanning this many rows at each change of a parent row takes a noticeable time.
const MIN_TABLE_ROWS: i64 = 1_000;
/// Statistics that are wrong by this factor mislead the planner.
const STALE_FACTOR: i64 = 10;
/// Limits for the findings of one kind, and for the names in one finding.
const MAX_FINDINGS: usize = 20;
const MAX_NAMES: usize = 3;

/// Table names, or parts of names between underscores, that indicate a log.
const LOG_NAMES: [&str; 10] =
    ["log", "logs", "event", "events", "audit", "audits", "history", "accesslog", "auditlog", "eventlog"];
/// Column names that indicate the time of a row.
const TIME_NAMES: [&str; 14] = [
    "created_at",
    "created",
    "createdat",
    "inserted_at",
    "logged_at",
    "occurred_at",
    "happened_at",
    "timestamp",
    "ts",
    "time",
    "event_time",
    "at",
    "date",
    "datetime",
];

/// Whether a rule needs the number of rows of a table.
pub(super) fn needs_row_count(table: &TableStatistics) -> bool {
    table.schema.complete_indexes().next().is_some()
        || !table.schema.foreign_keys.is_empty()
        || table.analyzed_rows.is_some()
        || time_of_log(table).is_some()
}

/// Returns the time column of a table that resembles a log.
fn time_of_log(table: &TableStatistics) -> Option<&str> {
    let name = table.schema.name.to_ascii_lowercase();
    let is_log = name.split(|c: char| !c.is_alphanumeric()).any(|part| LOG_NAMES.contains(&part));
    let is_time = |name: &str| TIME_NAMES.contains(&name.to_ascii_lowercase().as_str());
    let time = table.schema.columns.iter().map(|column| column.name.as_str()).find(|name| is_time(name));
    time.filter(|_| is_log)
}

/// Returns the number of rows, counted or estimated.
fn rows(table: &TableStatistics) -> i64 {
    match table.rows {
        RowCount::Exact(rows) | RowCount::Estimate(rows) => rows,
        RowCount::Unknown => 0,
    }
}

fn row_count_text(table: &TableStatistics) -> String {
    let number = counted(u64::try_from(rows(table)).unwrap_or(0), "row");
    match table.rows {
        RowCount::Exact(_) => number,
        RowCount::Estimate(_) | RowCount::Unknown => format!("about {number}"),
    }
}

/// Adds the findings of these rules.
pub(super) fn findings(facts: &Facts, schema: &DatabaseSchema, found: &mut Vec<Finding>) {
    for retention in &facts.configured.retentions {
        found.extend(retention_without_index(facts, schema, retention));
    }
    found.extend(logs(facts, schema).take(MAX_FINDINGS));
    found.extend(statistics(facts, schema));
    found.extend(unstable_row_ids(schema).take(MAX_FINDINGS));
    found.extend(foreign_keys(facts, schema).take(MAX_FINDINGS));
}

/// Adds the problems that the configured tasks will have.
pub(super) fn foreseen(facts: &Facts, found: &mut Vec<Finding>) {
    for ExpectedProblem { kind, message, .. } in &facts.configured.foreseen {
        let new = |kind, severity| Finding::new(kind, severity, format!("{message}."));
        match kind {
            ProblemKind::CleaningFails => {
                found.push(new(FindingKind::RetentionImpossible, Severity::Warning))
            }
            ProblemKind::RowsStay => found.push(new(FindingKind::RetentionKeepsRows, Severity::Info)),
            // If there is no index at all, the rule on indexes has reported it with a command.
            ProblemKind::SlowCleaning => {
                let id = FindingKind::RetentionWithoutIndex.id();
                if !found.iter().any(|finding| finding.id == id) {
                    found.push(new(FindingKind::RetentionWithoutIndex, Severity::Warning));
                }
            }
            // For a directory that cannot be used, another rule suggests a command.
            ProblemKind::BackupFails
                if facts.configured.backup.as_ref().is_some_and(|(_, problem)| problem.is_none()) =>
            {
                found.push(new(FindingKind::BackupImpossible, Severity::Warning));
            }
            ProblemKind::BackupFails | ProblemKind::SlowReference => {}
        }
    }
}

fn retention_without_index(facts: &Facts, schema: &DatabaseSchema, retention: &Retention) -> Option<Finding> {
    let Retention { table: wanted, column, .. } = retention;
    let column = column.as_ref()?;
    let table = schema.tables.iter().find(|table| table.schema.name.eq_ignore_ascii_case(wanted))?;
    if !table.schema.columns.iter().any(|known| known.name.eq_ignore_ascii_case(column))
        || table.schema.has_index_on(std::slice::from_ref(column))
    {
        return None;
    }
    let what = format!(
        "No index of the table {} ({}) begins with {column}.",
        table.schema.name,
        row_count_text(table)
    );
    let finding = Finding::new(FindingKind::RetentionWithoutIndex, Severity::Warning, what);
    let finding = finding.remediation(
        "If possible, create the index in a migration of the application. Creating it holds the write lock until it is complete.",
    );
    Some(finding.command(sql(facts, &table.schema.create_index(std::slice::from_ref(column)))))
}

fn logs<'f>(facts: &'f Facts, schema: &'f DatabaseSchema) -> impl Iterator<Item = Finding> + 'f {
    let is_cleaned = |table: &TableStatistics| {
        facts
            .configured
            .retentions
            .iter()
            .any(|retention| retention.table.eq_ignore_ascii_case(&table.schema.name))
    };
    schema.tables.iter().filter(move |table| !is_cleaned(table) && rows(table) >= LARGE_TABLE_ROWS).filter_map(|table| {
        let column = time_of_log(table)?;
        let what = format!(
            "The table {} ({}) may be a log with its time in {column}; this is a guess from the names.",
            table.schema.name,
            row_count_text(table)
        );
        let finding = Finding::new(FindingKind::LogWithoutRetention, Severity::Info, what);
        Some(finding.remediation("If it is a log, add it to tasks.log_cleaning.tables in the configuration, with table, column and retention."))
    })
}

fn statistics(facts: &Facts, schema: &DatabaseSchema) -> Option<Finding> {
    let is_off = |table: &&TableStatistics| match (table.analyzed_rows, table.rows) {
        (Some(known), RowCount::Exact(rows)) => {
            known.max(rows) >= LARGE_TABLE_ROWS && known.max(rows) / known.min(rows).max(1) >= STALE_FACTOR
        }
        // An estimate may be the statistic itself.
        (Some(_), RowCount::Estimate(_) | RowCount::Unknown) => false,
        (None, RowCount::Exact(_) | RowCount::Estimate(_) | RowCount::Unknown) => {
            table.schema.complete_indexes().next().is_some() && rows(table) >= LARGE_TABLE_ROWS
        }
    };
    let off: Vec<&TableStatistics> = schema.tables.iter().filter(is_off).collect();
    if off.is_empty() {
        return None;
    }
    let described = |table: &&TableStatistics| match table.analyzed_rows {
        Some(known) => {
            format!(
                "{} has {}, but {known} according to its statistics",
                table.schema.name,
                row_count_text(table)
            )
        }
        None => format!("{} ({}) has no statistics", table.schema.name, row_count_text(table)),
    };
    let mut names: Vec<String> = off.iter().take(MAX_NAMES).map(described).collect();
    if off.len() > MAX_NAMES {
        names.push(format!("and {} more", off.len() - MAX_NAMES));
    }
    let beginning = if schema.has_statistics { "" } else { "The database was never analyzed: " };
    let what = format!("{beginning}{}.", names.join("; "));
    let finding = Finding::new(FindingKind::StaleStatistics, Severity::Warning, what);
    let finding = finding.remediation(
        "Configure litekeeper's task optimize, or let the application run PRAGMA optimize before it closes a connection. The limit in \
         the command keeps the ANALYZE short.",
    );
    Some(finding.command(sql(facts, "PRAGMA analysis_limit = 1000; ANALYZE;")))
}

fn unstable_row_ids(schema: &DatabaseSchema) -> impl Iterator<Item = Finding> + '_ {
    schema.full_text.iter().filter_map(|(index, content)| {
        let table = schema.tables.iter().find(|table| table.schema.name.eq_ignore_ascii_case(content))?;
        if table.schema.row_id().is_some() {
            return None;
        }
        let what = format!("{index} indexes the rows of {}, which has no INTEGER PRIMARY KEY.", table.schema.name);
        let finding = Finding::new(FindingKind::UnstableRowIds, Severity::Warning, what);
        Some(finding.remediation(
            "Recreate the table with an INTEGER PRIMARY KEY, in a migration of the application. Until then, rebuild the full-text index \
             after each VACUUM with its command 'rebuild'.",
        ))
    })
}

fn foreign_keys<'f>(facts: &'f Facts, schema: &'f DatabaseSchema) -> impl Iterator<Item = Finding> + 'f {
    schema.tables.iter().flat_map(move |table| {
        let bare = table.schema.foreign_keys.iter().filter(|key| !table.schema.has_index_on(&key.columns));
        bare.map(move |ForeignKey { parent, columns }| {
            let severity = if rows(table) >= MIN_TABLE_ROWS { Severity::Warning } else { Severity::Info };
            let what = format!(
                "No index of {} ({}) begins with {}, which refers to {parent}.",
                table.schema.name,
                row_count_text(table),
                columns.join(", ")
            );
            Finding::new(FindingKind::ForeignKeyWithoutIndex, severity, what)
                .command(sql(facts, &table.schema.create_index(columns)))
        })
    })
}
