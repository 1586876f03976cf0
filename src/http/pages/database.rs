//! `/db/NAME`: one database.

use std::time::SystemTime;

use maud::Markup;
use maud::html;

use crate::collectors::DatabaseSnapshot;
use crate::humanize::bytes;
use crate::humanize::count;
use crate::humanize::counted;
use crate::metrics::MaintenanceStatus;
use crate::sqlite::Check;
use crate::state_store::ActionRecord;
use crate::state_store::Point;
use crate::state_store::Resolution;
use crate::state_store::StoredRun;

use super::super::query::Query;
use super::super::query::encode;
use super::super::state_reads::StateReadError;
use super::chart::Series;
use super::chart::chart;
use super::format::outcome_badge;
use super::format::relative_time;
use super::format::state_badge;
use super::format::to_system_time;
use super::index::percent;
use super::index::reclaimable;
use super::layout::PageContext;
use super::layout::layout;
use super::locks::locks;
use super::scrub::scrub_facts;
use super::space::space_table;
use super::tasks::actions_table;
use super::tasks::runs_table;

/// The data of the page.
pub(in crate::http) struct DatabasePage<'p> {
    pub observed: &'p DatabaseSnapshot,
    pub upkeep: &'p MaintenanceStatus,
    pub query: &'p Query,
    pub page_context: PageContext<'p>,
    /// From the state file; a message if it did not respond.
    pub recent: Result<RecentHistory, StateReadError>,
    /// Forms for operators.
    pub action_forms: Markup,
}

/// What the state file contains about a database.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct RecentHistory {
    pub points: Vec<Point>,
    pub runs: Vec<StoredRun>,
    pub actions: Vec<ActionRecord>,
}

/// The most tables listed, those with most rows first; the API lists all.
const MAX_TABLES: usize = 100;

/// The periods of the charts: name, resolution and seconds.
const RANGES: [(&str, Resolution, u64); 3] = [
    ("day", Resolution::Fine, 86_400),
    ("weeks", Resolution::Hourly, 14 * 86_400),
    ("year", Resolution::Daily, 366 * 86_400),
];

impl DatabasePage<'_> {
    /// The period that the query selects.
    pub fn range(query: &Query) -> (&'static str, Resolution, u64) {
        let wanted = query.value("range");
        RANGES.into_iter().find(|(word, ..)| *word == wanted).unwrap_or(RANGES[0])
    }

    /// The page as HTML.
    pub fn render(&self) -> String {
        let now = SystemTime::now();
        let observed = self.observed;
        let database = &observed.database;
        let name = database.name.as_str();
        let unsound = self.upkeep.is_damaged();
        let content = html! {
            p.soft { a href="/" { "Databases" } " / " (name) }
            h1 { (name) " " (state_badge(observed.state, unsound)) }
            @if let Some(reason) = &observed.reason { p.note.bad { (reason.as_ref()) } }
            @if self.upkeep.paused { p.note { "Maintenance of this database is paused." } }
            @for lost in &self.observed.owners.lost {
                p.note.bad {
                    (lost.to_string()) ". Its commits are lost or will be; see the runbook "
                    a href="/runbooks/SqliteOwnerLostLocks" { "SqliteOwnerLostLocks" }
                }
            }
            @for (check, standing) in self.upkeep.verdicts.iter().filter(|(_, standing)| !standing.ok) {
                p.note.bad {
                    "The " (check.label().replace('_', " ")) " check found " (counted(u64::from(standing.problems), "problem")) " "
                    (relative_time(standing.completed_at, now))
                    @if let Some(problem) = &standing.first_problem { ": " (problem) }
                }
            }
            @if let Some(scrub) = &self.upkeep.scrub
                && let (Some(problem), Some(since)) = (scrub.problem(), scrub.damaged_since) {
                p.note.bad {
                    "A scrub found damage on the disk that no check of SQLite sees, "
                    (relative_time(since, now)) ": " (problem) ". Nothing is written and no backup is removed; see the runbook "
                    a href="/runbooks/SqliteScrubFoundDamage" { "SqliteScrubFoundDamage" }
                }
            }
            @for note in self.notes() { p.note { (note) } }
            (self.action_forms)
            (self.facts(now))
            h2 { "Trends" }
            (self.trends(now))
            (locks(observed, now))
            div.two {
                @if !observed.tables().rows.is_empty() { section { h2 { "Tables" } (self.tables(now)) } }
                section { h2 { "Maintenance" } (self.maintenance(now)) (self.upkeep.scrub.as_ref().map(|scrub| scrub_facts(scrub, now)).unwrap_or_default()) }
            }
            @if observed.table_sizes().is_known() { h2 { "Tables by size" } (space_table(observed.table_sizes())) }
            (self.recent_history(now))
            p.soft {
                a href={ "/db/" (encode(name)) "?debug=true" } { "Sample now" }
                " (with the exact metrics) · "
                a href={ "/db/" (encode(name)) "?doctor=true" } { "Run diagnostics" }
            }
        };
        layout(&format!("{name} · litekeeper"), "", self.page_context, &content)
    }

    /// What the checks report besides their result.
    fn notes(&self) -> Vec<String> {
        let mut said = Vec::new();
        let of_pages = self.upkeep.verdicts.iter().filter(|(check, _)| *check != Check::ForeignKey);
        for (check, standing) in of_pages {
            let (check, notes) = (check.label(), &standing.notes);
            if notes.constraints > 0 {
                let first = notes.first_constraint.as_deref().unwrap_or_default();
                let number = counted(u64::from(notes.constraints), "broken constraint");
                said.push(format!("The {check} check found {number} in a sound file, the first: {first}"));
            }
            if notes.not_checked > 0 {
                let first = notes.first_not_checked.as_deref().unwrap_or_default();
                let number = counted(u64::from(notes.not_checked), "thing");
                said.push(format!("The {check} check could not check {number}, the first: {first}"));
            }
        }
        said
    }

    fn facts(&self, now: SystemTime) -> Markup {
        let observed = self.observed;
        let files = observed.files.as_ref();
        let header = observed.facts.as_ref().map(|facts| facts.header);
        let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
        html! {
            dl.facts {
                @if let Some(files) = files {
                    (fact("Size", html! { (bytes(files.main.size)) }))
                    @if let Some(wal) = files.wal { (fact("WAL", html! { (bytes(wal.size)) })) }
                    (fact("Last write", relative_time(to_system_time(files.last_write_seconds), now)))
                }
                @if let Some(time) = observed.confirmed_at { (fact("Last sample", relative_time(time, now))) }
                @if let Some(free) = reclaimable(observed) { (fact("Reclaimable", html! { (bytes(free)) })) }
                @if let Some(header) = header {
                    (fact("Pages", html! { (count(u64::from(header.pages))) " × " (header.page_size) " B" }))
                    (fact("Journal mode", html! { (header.journal_mode.label()) }))
                    (fact("Auto-vacuum", html! { (header.auto_vacuum.label()) }))
                    (fact("Encoding", html! { (header.encoding.label()) }))
                    (fact("User version", html! { (header.user_version) }))
                }
                @if let Some(filesystem) = &observed.filesystem {
                    (fact("Free disk space", html! { (bytes(filesystem.available_bytes)) small { (filesystem.fstype) } }))
                }
                @for (name, value) in &observed.database.settings.labels { (fact(name, html! { (value) })) }
            }
            p.soft { (observed.database.path.to_string_lossy()) }
        }
    }

    fn trends(&self, now: SystemTime) -> Markup {
        let (chosen, level, seconds) = Self::range(self.query);
        let links = html! {
            nav.ranges aria-label="Period" {
                @for (word, ..) in RANGES {
                    a href=(self.query.with(&format!("/db/{}", encode(self.observed.database.name.as_str())), &[("range", word)]))
                        aria-current=[(word == chosen).then_some("true")] { (word) }
                }
            }
        };
        let recent = match &self.recent {
            Ok(recent) => recent,
            Err(problem) => return html! { (links) p.note { (problem) } },
        };
        let until = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let page_context = (until.saturating_sub(seconds), until);
        // At the finest resolution, an unchanged value is stored once per hour.
        let gap = level.period().as_secs().max(1_200) * 3 + 600;
        let series = |value: fn(&Point) -> Option<u64>| -> Vec<(u64, f64)> {
            recent.points.iter().filter_map(|point| Some((point.at, value(point)? as f64))).collect()
        };
        let size = series(|point| Some(point.size));
        let live = series(|point| Some(point.size.saturating_sub(point.free?)));
        let wal = series(|point| Some(point.wal));
        let rows = series(|point| point.rows);
        let in_bytes: fn(f64) -> String = |value| bytes(value as u64);
        html! {
            (links)
            div.charts {
                (chart("Size", &[
                    Series { class: "free", label: "file", points: &size },
                    Series { class: "live", label: "in use", points: &live },
                ], page_context, gap, in_bytes))
                @if wal.iter().any(|(_, value)| *value > 0.0) {
                    (chart("WAL", &[Series { class: "live", label: "WAL", points: &wal }], page_context, gap, in_bytes))
                }
                @if !rows.is_empty() {
                    (chart("Rows", &[Series { class: "live", label: "all counted tables", points: &rows }], page_context, gap, |value| count(value as u64)))
                }
            }
        }
    }

    fn tables(&self, now: SystemTime) -> Markup {
        let tables = self.observed.tables();
        let mut rows: Vec<_> = tables.rows.iter().collect();
        rows.sort_by_key(|reading| std::cmp::Reverse(reading.rows));
        let others = rows.len().saturating_sub(MAX_TABLES);
        html! {
            table {
                thead { tr { th scope="col" { "Table" } th.number scope="col" { "Rows" } th scope="col" { "Oldest row" } } }
                tbody {
                    @for reading in rows.into_iter().take(MAX_TABLES) {
                        @let age = tables.ages.iter().find(|age| age.table == reading.table);
                        tr {
                            th scope="row" { (reading.table) }
                            td.number {
                                (count(u64::try_from(reading.rows).unwrap_or(0)))
                                @if reading.method.label() != "count" { small { "estimated" } }
                            }
                            td { @if let Some(age) = age { (relative_time(to_system_time(age.oldest), now)) } }
                        }
                    }
                }
            }
            @if others > 0 { p.soft { "and " (count(others as u64)) " smaller ones" } }
        }
    }

    fn maintenance(&self, now: SystemTime) -> Markup {
        if self.upkeep.tasks.is_empty() {
            return html! { p.empty { "No task is configured for this database." } };
        }
        html! {
            table {
                thead { tr { th scope="col" { "Task" } th scope="col" { "Last run" } th scope="col" { "Next run" } } }
                tbody {
                    @for task in &self.upkeep.tasks {
                        tr {
                            th scope="row" { (task.task) }
                            td {
                                @if let Some(progress) = task.progress { "running, " (percent(progress)) " done" }
                                @else if let Some(last) = task.last_completion {
                                    (outcome_badge(if task.succeeded == Some(true) { "success" } else { "failed" }))
                                    " " (relative_time(to_system_time(last), now))
                                } @else { span.soft { "never" } }
                            }
                            td { @if let Some(next) = task.next_run { (relative_time(to_system_time(next), now)) } @else { span.soft { "–" } } }
                        }
                    }
                }
            }
        }
    }

    fn recent_history(&self, now: SystemTime) -> Markup {
        let Ok(recent) = &self.recent else { return html! {} };
        html! {
            h2 id="runs" { "Runs" }
            @if recent.runs.is_empty() { p.empty { "Nothing has run yet." } } @else { (runs_table(&recent.runs, false, now)) }
            @if !recent.actions.is_empty() { h2 { "Actions" } (actions_table(&recent.actions, now)) }
        }
    }
}
