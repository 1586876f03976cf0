//! The plain page: every database with its state, for a person without Grafana.

use std::time::Duration;
use std::time::SystemTime;

use maud::DOCTYPE;
use maud::Markup;
use maud::html;

use crate::sample::Condition;
use crate::sample::Observed;
use crate::sample::Snapshot;
use crate::units::bytes;
use crate::units::count;

/// Nothing but our own style sheet is loaded, and nothing is run.
pub(super) const SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Rows on one page: under 100 kB of HTML.
const ROWS: usize = 250;

/// Where the style sheet is served.
pub(super) const STYLE_PATH: &str = "/style.css";
/// The style sheet.
pub(super) const STYLE: &str = include_str!("page.css");

/// The number of the page that a query asks for, from 1.
pub(super) fn number(query: Option<&str>) -> usize {
    let value =
        query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("page="));
    value.and_then(|value| value.parse().ok()).filter(|number| *number > 0).unwrap_or(1)
}

/// The page as HTML, worst databases first.
pub(super) fn render(snapshot: &Snapshot, number: usize) -> String {
    let now = SystemTime::now();
    let mut databases: Vec<&Observed> = snapshot.databases.iter().collect();
    databases.sort_by_key(|observed| (observed.condition, observed.reason.is_none()));
    let pages = databases.len().div_ceil(ROWS).max(1);
    let number = number.min(pages);
    let shown = databases.iter().skip((number - 1) * ROWS).take(ROWS);
    let content = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "litekeeper" }
                link rel="stylesheet" href=(STYLE_PATH);
            }
            body {
                header {
                    h1 { "litekeeper" }
                    nav {
                        a href="/metrics" { "metrics" } " "
                        a href="/-/healthy" { "healthy" } " "
                        a href="/-/ready" { "ready" }
                    }
                }
                main {
                    (summary(snapshot))
                    @if databases.is_empty() {
                        p { (nothing_yet(snapshot)) }
                    } @else {
                        div.scroll tabindex="0" role="region" aria-label="Databases" {
                            table {
                                caption { "Databases, worst first" }
                                (head())
                                tbody { @for observed in shown { (row(observed, now)) } }
                            }
                        }
                        (pager(number, pages))
                    }
                }
                footer { "litekeeper " (env!("CARGO_PKG_VERSION")) ", SQLite " (crate::sqlite::sqlite_version()) }
            }
        }
    };
    content.into_string()
}

fn nothing_yet(snapshot: &Snapshot) -> &'static str {
    if snapshot.complete {
        "No database was found under the configured paths. The log says what could not be read."
    } else {
        "The first sweep is under way."
    }
}

fn summary(snapshot: &Snapshot) -> Markup {
    html! {
        p.summary {
            @for condition in Condition::ALL {
                span class=(condition.label()) {
                    (count(snapshot.count(condition) as u64)) " " (condition.label())
                }
                " "
            }
            @if !snapshot.complete { "The first sweep is under way." }
        }
    }
}

fn head() -> Markup {
    html! {
        thead {
            tr {
                th scope="col" { "Database" }
                th scope="col" { "State" }
                th.number scope="col" { "Size" }
                th.number scope="col" { "Reclaimable" }
                th.number scope="col" { "WAL" }
                th scope="col" { "Journal" }
                th.number scope="col" { "Last write" }
                th.number scope="col" { "Last read" }
            }
        }
    }
}

fn row(observed: &Observed, now: SystemTime) -> Markup {
    let facts = observed.facts.as_ref();
    let header = facts.map(|facts| facts.header);
    let files = observed.files.as_ref();
    let last_write =
        files.map(|files| Duration::try_from_secs_f64(files.last_write_seconds).unwrap_or_default());
    html! {
        tr {
            th scope="row" {
                (observed.database.name.as_str())
                small { (observed.database.path.to_string_lossy()) }
            }
            td {
                span class=(observed.condition.label()) { (observed.condition.label()) }
                @if let Some(reason) = &observed.reason { small { (reason.as_ref()) } }
            }
            td.number { @if let Some(files) = files { (bytes(files.main.size)) } }
            td.number {
                @if let Some(header) = header {
                    (bytes(u64::from(header.freelist_pages) * u64::from(header.page_size)))
                }
            }
            td.number { @if let Some(wal) = files.and_then(|files| files.wal) { (bytes(wal.size)) } }
            td { @if let Some(header) = header { (header.journal_mode.label()) } }
            td.number { @if let Some(time) = last_write { (ago(now, SystemTime::UNIX_EPOCH + time)) } }
            td.number { @if let Some(time) = observed.confirmed_at { (ago(now, time)) } }
        }
    }
}

fn pager(number: usize, pages: usize) -> Markup {
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                @if number > 1 { a href={ "?page=" (number - 1) } rel="prev" { "previous" } " " }
                "page " (number) " of " (pages)
                @if number < pages { " " a href={ "?page=" (number + 1) } rel="next" { "next" } }
            }
        }
    }
}

fn ago(now: SystemTime, time: SystemTime) -> String {
    // A time ahead of the clock is as good as now.
    let seconds = now.duration_since(time).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}
