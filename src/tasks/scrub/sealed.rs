//! The sealed rows of the database, which are compared after its pages.

use std::time::Duration;

use crate::humanize::count;
use crate::humanize::counted;
use crate::limits::QueryLimits;
use crate::sealed::FindingCounts;
use crate::sealed::SealedTableReport;
use crate::sealed::compare_sealed;
use crate::tasks::context::ScrubResources;
use crate::tasks::context::TaskContext;
use crate::tasks::reason::FailureReason;
use crate::tasks::scrub::end::ended;
use crate::tasks::stop::Stop;

/// The most findings of a table that are listed for a person; the JSON has a hundred.
const MAX_LINES: usize = 20;

/// Compares every table with sealed rows. A finding or problem is returned beside the reports.
pub(super) fn compare(
    resources: &ScrubResources,
    context: &TaskContext<'_>,
) -> (Vec<SealedTableReport>, Option<Stop>) {
    if context.database.settings.sealed.is_empty() {
        return (Vec::new(), None);
    }
    context.progress.begin("comparison of sealed rows");
    let limits = QueryLimits { busy_timeout: Duration::ZERO, ..context.limits.clone() };
    let done = |share| context.progress.update(share, "");
    match compare_sealed(context.database, &resources.sealed, &limits, false, done) {
        Ok(tables) => {
            let stop = stop_of(&tables);
            (tables, stop)
        }
        // The only error; findings of the tables before are in their stores.
        Err(_) => {
            let state = "the sealed rows are not all compared, and the next run begins with the pages";
            (Vec::new(), Some(ended(context, state)))
        }
    }
}

/// The longest that a comparison kept writers from committing.
pub(super) fn max_hold(tables: &[SealedTableReport]) -> Duration {
    let longest = tables.iter().map(|table| table.max_hold_seconds).fold(0.0, f64::max);
    Duration::try_from_secs_f64(longest).unwrap_or_default()
}

/// The result of all tables in one line; `None` without sealed rows.
pub(super) fn summary(tables: &[SealedTableReport]) -> Option<String> {
    if tables.is_empty() {
        return None;
    }
    let sum = |number: fn(&SealedTableReport) -> u64| tables.iter().map(number).sum::<u64>();
    let mut words = format!(
        "{} of {} as sealed",
        count(sum(|table| table.matched)),
        counted(sum(|table| table.rows - table.added.min(table.rows)), "row")
    );
    let added = sum(|table| table.added);
    if added > 0 {
        words.push_str(&format!(", {} new", count(added)));
    }
    for (kind, number) in tables.iter().map(|table| table.found).sum::<FindingCounts>().present() {
        words.push_str(&format!(", {} {}", count(number), kind.label()));
    }
    let missed = tables.iter().filter(|table| table.problem.is_some()).count() as u64;
    if missed > 0 {
        words.push_str(&format!(", {} not compared", counted(missed, "table")));
    }
    Some(words)
}

/// What a person is to know of each table.
pub(super) fn lines(tables: &[SealedTableReport]) -> Vec<String> {
    let mut lines = Vec::new();
    for table in tables {
        lines.push(format!("sealed rows of {}: {}", table.table, table.summary()));
        lines.extend(table.findings.iter().take(MAX_LINES).map(|finding| format!("  {}", finding.line())));
        let listed = table.findings.len().min(MAX_LINES) as u64;
        if table.found.total() > listed {
            lines.push(format!("  and {} more", count(table.found.total() - listed)));
        }
        lines.extend(table.notices.iter().map(|notice| format!("  note: {notice}")));
    }
    lines
}

/// Findings and problems in one message; `None` if there are none.
fn stop_of(tables: &[SealedTableReport]) -> Option<Stop> {
    let found: Vec<String> =
        tables.iter().filter(|table| table.found.total() > 0).map(finding_words).collect();
    let missed = tables.iter().filter_map(|table| {
        table
            .problem
            .as_ref()
            .map(|problem| format!("the sealed rows of {} were not compared: {problem}", table.table))
    });
    if found.is_empty() {
        let missed: Vec<String> = missed.collect();
        return (!missed.is_empty()).then(|| Stop::failed(FailureReason::Other, missed.join("; ")));
    }
    let is_reopened = tables.iter().all(|table| table.found.changed + table.found.deleted == 0);
    let alert = if is_reopened { "SqliteSealedRowsUnsealed" } else { "SqliteSealedRowsChanged" };
    let remedy = format!(
        "see `litekeeper runbook {alert}`, and accept the rows as they are by `litekeeper sealed --accept` only if the \
         changes are legitimate"
    );
    let words: Vec<String> = found.into_iter().chain(missed).chain([remedy]).collect();
    Some(Stop::failed(FailureReason::Constraint, words.join("; ")))
}

fn finding_words(table: &SealedTableReport) -> String {
    let kinds = table.found.present().map(|(kind, number)| format!("{} {}", count(number), kind.label()));
    let kinds: Vec<String> = kinds.collect();
    let first = table.findings.first().map(|finding| format!(" ({})", finding.line())).unwrap_or_default();
    format!("sealed rows of {}: {}{first}", table.table, kinds.join(", "))
}
