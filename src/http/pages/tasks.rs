//! `/tasks`: the schedule and recent runs.

use std::time::SystemTime;

use maud::Markup;
use maud::html;

use crate::humanize::count;
use crate::metrics::ScheduledRun;
use crate::state_store::ActionRecord;
use crate::state_store::StoredRun;

use super::super::query::Query;
use super::super::query::encode;
use super::super::state_reads::StateReadError;
use super::format::outcome_badge;
use super::format::relative_time;
use super::format::to_system_time;
use super::layout::PageContext;
use super::layout::layout;
use super::layout::pager;
use super::layout::paginate;

/// Rows of the schedule on one page.
const ROWS: usize = 50;

/// The data of the page.
pub(in crate::http) struct TasksPage<'p> {
    pub upcoming: &'p [ScheduledRun],
    pub everything_paused: bool,
    pub query: &'p Query,
    pub page_context: PageContext<'p>,
    /// The last runs and actions from the state file; a message if it did not respond.
    pub recent: Result<(Vec<StoredRun>, Vec<ActionRecord>), StateReadError>,
    /// Forms for operators.
    pub action_forms: Markup,
}

impl TasksPage<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        let now = SystemTime::now();
        let (shown, number, pages) = paginate(self.upcoming, self.query.page(), ROWS);
        let content = html! {
            h1 { "Tasks" }
            @if self.everything_paused { p.note { "All maintenance is paused." } }
            (self.action_forms)
            h2 { "Schedule" }
            @if self.upcoming.is_empty() {
                p.empty { "No task is configured; name some under " code { "tasks" } " in the configuration." }
            } @else {
                table {
                    caption { (count(self.upcoming.len() as u64)) " scheduled" }
                    thead { tr { th scope="col" { "Next" } th scope="col" { "Database" } th scope="col" { "Task" } } }
                    tbody {
                        @for entry in shown {
                            tr {
                                td { @if let Some(at) = entry.at { (relative_time(to_system_time(at), now)) } @else { "never" } }
                                th scope="row" { (link(entry.database.as_str())) }
                                td { (entry.task) }
                            }
                        }
                    }
                }
                (pager(self.query, "/tasks", number, pages))
            }
            @match &self.recent {
                Ok((runs, actions)) => {
                    h2 { "Last runs" }
                    @if runs.is_empty() { p.empty { "Nothing has run yet." } } @else { (runs_table(runs, true, now)) }
                    @if !actions.is_empty() { h2 { "Actions" } (actions_table(actions, now)) }
                },
                Err(problem) => p.note { (problem) },
            }
        };
        layout("Tasks · litekeeper", "/tasks", self.page_context, &content)
    }
}

fn link(database: &str) -> Markup {
    html! { a href={ "/db/" (encode(database)) } { (database) } }
}

/// A table of runs, optionally with the database.
pub(super) fn runs_table(runs: &[StoredRun], with_database: bool, now: SystemTime) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "When" }
                    @if with_database { th scope="col" { "Database" } }
                    th scope="col" { "Task" }
                    th scope="col" { "Outcome" }
                    th.number.wide scope="col" { "Took" }
                    th.wide scope="col" { "Trigger" }
                }
            }
            tbody {
                @for StoredRun { run, .. } in runs {
                    tr {
                        td { (relative_time(run.started_at, now)) }
                        @if with_database { td.text { (link(run.database.as_str())) } }
                        td { (run.task) }
                        td.text {
                            (outcome_badge(run.status.outcome()))
                            @if let Some(reason) = run.status.reason() { " " (reason) }
                            @let message = run.summary();
                            @if !message.is_empty() { small { (message) } }
                            @if let Some(message) = &run.message { small { (message) } }
                        }
                        td.number.wide { (format!("{:.2} s", run.elapsed.as_secs_f64())) }
                        td.wide { (run.trigger.label()) }
                    }
                }
            }
        }
    }
}

/// A table of actions.
pub(super) fn actions_table(actions: &[ActionRecord], now: SystemTime) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "When" }
                    th scope="col" { "Who" }
                    th scope="col" { "What" }
                    th scope="col" { "Result" }
                }
            }
            tbody {
                @for action in actions {
                    tr {
                        td { (relative_time(action.at, now)) }
                        td { (action.user) @if !action.address.is_empty() { small { (action.address) } } }
                        td.text {
                            (action.kind)
                            @if let Some(task) = &action.task { " " (task) }
                            @match &action.database {
                                Some(database) => { " " (link(database)) },
                                None => " everything",
                            }
                        }
                        td.text { (action.result) }
                    }
                }
            }
        }
    }
}
