//! `/`: all databases, those with problems first.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::SystemTime;

use maud::Markup;
use maud::html;

use crate::collectors::DatabaseSnapshot;
use crate::collectors::DatabaseState;
use crate::collectors::Snapshot;
use crate::database::DatabaseName;
use crate::humanize::bytes;
use crate::humanize::count;
use crate::metrics::JobMetrics;
use crate::metrics::MaintenanceStatus;
use crate::sqlite::Check;
use crate::trends::Trends;

use super::super::query::Query;
use super::super::query::encode;
use super::chart::sparkline;
use super::filter::Filter;
use super::format::DAMAGED;
use super::format::outcome_badge;
use super::format::relative_compact;
use super::format::relative_time;
use super::format::state;
use super::format::state_badge;
use super::format::to_system_time;
use super::format::truncate_end;
use super::format::truncate_start;
use super::layout::PageContext;
use super::layout::layout;
use super::layout::pager;
use super::layout::paginate;

/// Rows per page: less than 100 kB of HTML.
const ROWS: usize = 50;
/// The most characters of a path or reason; the page of the database shows the full text.
const MAX_TEXT_CHARS: usize = 120;

/// The data of the page.
pub(in crate::http) struct IndexPage<'p> {
    pub snapshot: &'p Snapshot,
    pub jobs: &'p JobMetrics,
    pub trends: &'p Trends,
    pub query: &'p Query,
    pub page_context: PageContext<'p>,
}

/// The columns: sort key, heading and class.
const COLUMNS: [(&str, &str, &str); 7] = [
    ("name", "Database", ""),
    ("state", "State", ""),
    ("size", "Size", "number"),
    ("free", "Reclaimable", "number wide"),
    ("wal", "WAL", "number wide"),
    ("", "Integrity", "wide"),
    ("", "Tasks", "wide"),
];

/// The bytes that a vacuum would free.
pub(super) fn reclaimable(observed: &DatabaseSnapshot) -> Option<u64> {
    let header = observed.facts.as_ref()?.header;
    Some(u64::from(header.freelist_pages) * u64::from(header.page_size))
}

impl IndexPage<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        let now = SystemTime::now();
        let unsound = self.jobs.unsound();
        let filter = Filter::by_worst_state(self.query);
        let mut found: Vec<&DatabaseSnapshot> =
            self.snapshot.databases.iter().filter(|observed| filter.matches(observed, &unsound)).collect();
        self.sort(&mut found, &unsound);
        let (shown, number, pages) = paginate(&found, self.query.page(), ROWS);
        let content = html! {
            h1 { "Databases" }
            (self.summary(&unsound))
            (self.search())
            @if self.snapshot.databases.is_empty() {
                p.empty { (nothing_yet(self.snapshot)) }
            } @else if found.is_empty() {
                p.empty { "No database matches. " a href="/" { "Show all" } }
            } @else {
                table {
                    caption {
                        (count(found.len() as u64)) " of " (count(self.snapshot.databases.len() as u64))
                        @if self.sorted_by() == "state" { ", worst first" }
                    }
                    (self.head())
                    tbody { @for observed in shown { (self.row(observed, &unsound, now)) } }
                }
                (pager(self.query, "/", number, pages))
            }
        };
        layout("litekeeper", "/", self.page_context, &content)
    }

    fn sorted_by(&self) -> &str {
        let wanted = self.query.value("sort");
        COLUMNS.iter().map(|(key, ..)| *key).find(|key| !key.is_empty() && *key == wanted).unwrap_or("state")
    }

    fn is_reversed(&self) -> bool {
        self.query.value("order") == "desc"
    }

    fn sort(&self, found: &mut [&DatabaseSnapshot], unsound: &BTreeSet<DatabaseName>) {
        let size = |observed: &DatabaseSnapshot| observed.files.map_or(0, |files| files.main.size);
        let wal = |observed: &DatabaseSnapshot| {
            observed.files.and_then(|files| files.wal).map_or(0, |wal| wal.size)
        };
        // Sorting is stable, and the snapshot is in the order of names.
        match self.sorted_by() {
            "name" => {}
            "size" => found.sort_by_key(|observed| size(observed)),
            "free" => found.sort_by_key(|observed| reclaimable(observed)),
            "wal" => found.sort_by_key(|observed| wal(observed)),
            _ => found.sort_by_key(|observed| {
                let sound = !unsound.contains(&observed.database.name);
                (observed.state != DatabaseState::Down && sound, observed.state, observed.reason.is_none())
            }),
        }
        if self.is_reversed() {
            found.reverse();
        }
    }

    fn summary(&self, unsound: &BTreeSet<DatabaseName>) -> Markup {
        let tile = |label: &str, class: &str, number: usize| {
            let chosen = self.query.value("state") == label;
            let href = self.query.with("/", &[("state", if chosen { "" } else { label }), ("page", "")]);
            html! {
                a class={ "tile " (if number == 0 { "zero" } else { class }) } href=(href) aria-current=[chosen.then_some("true")] {
                    strong { (count(number as u64)) } " " (label)
                }
            }
        };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for observed in &self.snapshot.databases {
            *counts.entry(state(observed.state, unsound.contains(&observed.database.name))).or_default() += 1;
        }
        html! {
            nav.tiles aria-label="States" {
                @for word in Filter::states() {
                    (tile(word, if word == DAMAGED { "down" } else { word }, counts.get(word).copied().unwrap_or(0)))
                }
            }
            @if !self.snapshot.complete { p.note { "The first sweep is under way." } }
            @if self.jobs.is_everything_paused() { p.note { "All maintenance is paused." } }
        }
    }

    fn search(&self) -> Markup {
        let state = self.query.value("state");
        html! {
            form.search role="search" method="get" action="/" {
                label { span { "Name or path" } input type="search" name="q" value=(self.query.value("q")); }
                label {
                    span { "State" }
                    select name="state" {
                        option value="" { "any" }
                        @for word in Filter::states() {
                            option value=(word) selected[state == word] { (word) }
                        }
                    }
                }
                label {
                    span { "Label" }
                    input type="text" name="label" placeholder="app=accounting" value=(self.query.value("label"));
                }
                @for name in ["sort", "order"] {
                    @if !self.query.value(name).is_empty() {
                        input type="hidden" name=(name) value=(self.query.value(name));
                    }
                }
                button type="submit" { "Search" }
            }
        }
    }

    fn head(&self) -> Markup {
        html! {
            thead {
                tr {
                    @for (key, name, class) in COLUMNS {
                        @let sorted = !key.is_empty() && key == self.sorted_by();
                        @let order = if self.is_reversed() { "descending" } else { "ascending" };
                        th scope="col" class=[(!class.is_empty()).then_some(class)] aria-sort=[sorted.then_some(order)] {
                            @if key.is_empty() { (name) } @else {
                                // The first click on a size sorts the largest first.
                                @let first = if class.is_empty() { "" } else { "desc" };
                                @let next = if !sorted { first } else if self.is_reversed() { "" } else { "desc" };
                                a href=(self.query.with("/", &[("sort", key), ("order", next), ("page", "")])) {
                                    (name)
                                    @if sorted { span aria-hidden="true" { (if self.is_reversed() { " ↓" } else { " ↑" }) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn row(&self, observed: &DatabaseSnapshot, unsound: &BTreeSet<DatabaseName>, now: SystemTime) -> Markup {
        let database = &observed.database;
        let files = observed.files.as_ref();
        let upkeep = self.jobs.upkeep(&database.name);
        let free = reclaimable(observed);
        html! {
            tr {
                th scope="row" {
                    a href={ "/db/" (encode(database.name.as_str())) } { (database.name.as_str()) }
                    small { (truncate_start(&database.path.to_string_lossy(), MAX_TEXT_CHARS)) }
                    @if let Some(reason) = &observed.reason { small.bad { (truncate_end(reason, MAX_TEXT_CHARS)) } }
                }
                td {
                    (state_badge(observed.state, unsound.contains(&database.name)))
                    @if !observed.owners.lost.is_empty() { " " span.pill.down { span aria-hidden="true" { "▲ " } "commits are lost" } }
                    @if let Some(time) = observed.confirmed_at { small { (relative_time(time, now)) } }
                }
                td.number {
                    @if let Some(files) = files { (bytes(files.main.size)) }
                    (sparkline(&self.trends.hours(&database.path)))
                }
                td.number.wide {
                    @if let Some(free) = free { (bytes(free)) }
                    @if let (Some(free), Some(files)) = (free, files) {
                        @if files.main.size > 0 { small { (free * 100 / files.main.size) " %" } }
                    }
                }
                td.number.wide { @if let Some(wal) = files.and_then(|files| files.wal) { (bytes(wal.size)) } }
                td.wide { (integrity(&upkeep, now)) }
                td.wide { (tasks(&upkeep, now)) }
            }
        }
    }
}

/// The result of the last check and its age.
fn integrity(upkeep: &MaintenanceStatus, now: SystemTime) -> Markup {
    let checks = upkeep.verdicts.iter().filter(|(check, _)| *check != Check::ForeignKey);
    let failed = checks.clone().find(|(_, standing)| !standing.ok);
    let last = checks.max_by_key(|(_, standing)| standing.completed_at);
    html! {
        @match (failed, last) {
            (Some((_, standing)), _) => {
                (outcome_badge("failed"))
                small { (relative_time(standing.completed_at, now)) }
            },
            (None, Some((_, standing))) => { span.pill.up { "● ok" } small { (relative_time(standing.completed_at, now)) } },
            (None, None) => span.soft { "never checked" },
        }
    }
}

/// The last and the next run of each task.
fn tasks(upkeep: &MaintenanceStatus, now: SystemTime) -> Markup {
    html! {
        @if upkeep.paused { small { "paused" } }
        @for task in &upkeep.tasks {
            small class=[(task.succeeded == Some(false)).then_some("bad")] {
                (task.task)
                @if let Some(progress) = task.progress { ": running, " (percent(progress)) }
                @else if let Some(last) = task.last_completion {
                    @if task.succeeded == Some(false) { " failed" }
                    " " (relative_compact(to_system_time(last), now))
                }
                @if let Some(next) = task.next_run { ", next " (relative_compact(to_system_time(next), now)) }
            }
        }
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share.clamp(0.0, 1.0) * 100.0)
}

fn nothing_yet(snapshot: &Snapshot) -> &'static str {
    if snapshot.complete {
        "No database was found under the configured paths. The log says what could not be read."
    } else {
        "The first sweep is under way."
    }
}
