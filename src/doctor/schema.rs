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

/// From so many rows on, statistics and retention matter.
const LARGE_TABLE_ROWS: i64 = 10_000;
/// From so many rows on, looking at all of them for each change of a parent is felt.
const MIN_TABLE_ROWS: i64 = 1_000;
/// Statistics that are further off than this mislead the planner.
const STALE_FACTOR: i64 = 10;
/// The most findings of one kind, and names in one.
const MAX_FINDINGS: usize = 20;
const MAX_NAMES: usize = 3;

/// Names of tables that hold a log, whole or as a part between underscores.
const LOG_NAMES: [&str; 10] =
    ["log", "logs", "event", "events", "audit", "audits", "history", "accesslog", "auditlog", "eventlog"];
/// Names of columns that hold the time of a row.
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

/// Whether a rule here asks for the rows of a table.
pub(super) fn needs_row_count(table: &TableStatistics) -> bool {
    table.schema.complete_indexes().next().is_some()
        || !table.schema.foreign_keys.is_empty()
        || table.analyzed_rows.is_some()
        || time_of_log(table).is_some()
}

/// The time column of a table that looks like a log.
fn time_of_log(table: &TableStatistics) -> Option<&str> {
    let name = table.schema.name.to_ascii_lowercase();
    let is_log = name.split(|c: char| !c.is_alphanumeric()).any(|part| LOG_NAMES.contains(&part));
    let is_time = |name: &str| TIME_NAMES.contains(&name.to_ascii_lowercase().as_str());
    let time = table.schema.columns.iter().map(|column| column.name.as_str()).find(|name| is_time(name));
    time.filter(|_| is_log)
}

/// Rows, counted or about.
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

/// What is wrong with the tables.
pub(super) fn findings(facts: &Facts, schema: &DatabaseSchema, found: &mut Vec<Finding>) {
    for retention in &facts.configured.retentions {
        found.extend(retention_without_index(facts, schema, retention));
    }
    found.extend(logs(facts, schema).take(MAX_FINDINGS));
    found.extend(statistics(facts, schema));
    found.extend(unstable_row_ids(schema).take(MAX_FINDINGS));
    found.extend(foreign_keys(facts, schema).take(MAX_FINDINGS));
}

/// What the tasks of the configuration will meet when they run.
pub(super) fn foreseen(facts: &Facts, found: &mut Vec<Finding>) {
    for ExpectedProblem { kind, message, .. } in &facts.configured.foreseen {
        let new = |kind, severity| Finding::new(kind, severity, format!("{message}."));
        match kind {
            ProblemKind::CleaningFails => {
                found.push(new(FindingKind::RetentionImpossible, Severity::Warning))
            }
            ProblemKind::RowsStay => found.push(new(FindingKind::RetentionKeepsRows, Severity::Info)),
            // Where the index is missing altogether, the rule on indexes has said so with the
            // command.
            ProblemKind::SlowCleaning => {
                let id = FindingKind::RetentionWithoutIndex.id();
                if !found.iter().any(|finding| finding.id == id) {
                    found.push(new(FindingKind::RetentionWithoutIndex, Severity::Warning));
                }
            }
            // A directory that cannot be used is found with the command that makes it usable.
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
        "The application's own migrations are the best place for the index. Making it holds the write lock for a while.",
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
            "The table {} ({}) looks like a log with its time in {column}; this is a guess by the names.",
            table.schema.name,
            row_count_text(table)
        );
        let finding = Finding::new(FindingKind::LogWithoutRetention, Severity::Info, what);
        Some(finding.remediation("If it is one, name it in the configuration: tasks.log_cleaning.tables, with table, column and retention."))
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
            format!("{} has {}, its statistics say {known}", table.schema.name, row_count_text(table))
        }
        None => format!("{} ({}) has no statistics", table.schema.name, row_count_text(table)),
    };
    let mut names: Vec<String> = off.iter().take(MAX_NAMES).map(described).collect();
    if off.len() > MAX_NAMES {
        names.push(format!("and so on for {} more", off.len() - MAX_NAMES));
    }
    let beginning = if schema.has_statistics { "" } else { "The database was never analysed: " };
    let what = format!("{beginning}{}.", names.join("; "));
    let finding = Finding::new(FindingKind::StaleStatistics, Severity::Warning, what);
    let finding = finding.remediation(
        "Better still, the application runs PRAGMA optimize before it closes a connection. The limit keeps the ANALYZE short.",
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
            "Have the application make the table anew with an INTEGER PRIMARY KEY. Until then, have the full-text index rebuilt after \
             each VACUUM, by its command 'rebuild'.",
        ))
    })
}

fn foreign_keys<'f>(facts: &'f Facts, schema: &'f DatabaseSchema) -> impl Iterator<Item = Finding> + 'f {
    schema.tables.iter().flat_map(move |table| {
        let bare = table.schema.foreign_keys.iter().filter(|key| !table.schema.has_index_on(&key.columns));
        bare.map(move |ForeignKey { parent, columns }| {
            let severity = if rows(table) >= MIN_TABLE_ROWS { Severity::Warning } else { Severity::Info };
            let what = format!(
                "No index finds the rows of {} ({}) by {}, which refers to {parent}.",
                table.schema.name,
                row_count_text(table),
                columns.join(", ")
            );
            Finding::new(FindingKind::ForeignKeyWithoutIndex, severity, what)
                .command(sql(facts, &table.schema.create_index(columns)))
        })
    })
}
