//! The result of a dry run, with the button that starts the run.

use maud::Markup;
use maud::html;

use crate::humanize::bytes;
use crate::humanize::count;
use crate::task::TaskKind;
use crate::tasks::DryRun;

use super::super::query::encode;
use super::layout::PageContext;
use super::layout::layout;

/// The page of a dry run.
pub(in crate::http) fn dry_run_page(
    name: &str,
    task: TaskKind,
    forecast: &DryRun,
    run: &Markup,
    page_context: PageContext<'_>,
) -> String {
    let fact = |name: &str, value: String| html! { div { dt { (name) } dd { (value) } } };
    let back = format!("/db/{}", encode(name));
    let content = html! {
        p.soft { a href="/" { "Databases" } " / " a href=(back) { (name) } " / dry run" }
        h1 { "What " (task) " of " (name) " would do" }
        @if let Some(reason) = &forecast.would_not_run { p.note.bad { "It would not run: " (reason) } }
        dl.facts {
            @if let Some(size) = forecast.size_bytes { (fact("Database", bytes(size))) }
            @if let Some(free) = forecast.reclaimable_bytes { (fact("Space freed", bytes(free))) }
            @if let Some(seconds) = forecast.expected_seconds { (fact("Expected time (from the last run)", format!("{seconds:.1} s"))) }
            @if let Some(scrub) = &forecast.scrub { @for line in scrub.lines() { (fact("Scrub", line)) } }
            @if let Some(message) = &forecast.checkpoint { (fact("WAL", message.clone())) }
            @if !forecast.analyze.is_empty() { (fact("New statistics", forecast.analyze.join(", "))) }
            @for need in &forecast.needs {
                (fact(&format!("Space for {} in {}", need.purpose, need.directory),
                    format!("{} of {}", bytes(need.bytes), bytes(need.available_bytes))))
            }
        }
        @if !forecast.tables.is_empty() {
            h2 { "Rows to be deleted" }
            table {
                thead {
                    tr {
                        th scope="col" { "Table" }
                        th.number scope="col" { "Rows" }
                        th scope="col" { "Older than" }
                        th.wide scope="col" { "Oldest" }
                        th.wide scope="col" { "Index" }
                    }
                }
                tbody {
                    @for table in &forecast.tables {
                        tr {
                            th scope="row" {
                                (table.table)
                                @if let Some(message) = &table.would_fail { small { "It would fail: " (message) } }
                                @if let Some(note) = &table.note { small { (note) } }
                            }
                            td.number {
                                (table.rows.map_or_else(|| "unknown".to_owned(), count))
                                @if let Some(size) = table.bytes { small { "about " (bytes(size)) } }
                            }
                            td { (table.cutoff.as_deref().unwrap_or_default()) }
                            td.wide { (table.oldest.as_deref().unwrap_or_default()) }
                            td.wide { (table.index.as_deref().unwrap_or_default()) }
                        }
                    }
                }
            }
        }
        p { "Nothing has been changed yet." }
        div.actions { (run) a href=(back) { "Back" } }
    };
    layout(&format!("{task} of {name} · litekeeper"), "", page_context, &content)
}
