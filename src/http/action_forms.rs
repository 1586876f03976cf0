//! The forms with which operators request actions on the pages.
//!
//! Every form carries a CSRF token of its user. To run a task that writes, a form needs a second
//! token, which only the page of the dry run contains.

use std::time::SystemTime;

use maud::Markup;
use maud::html;

use crate::auth::Principal;
use crate::collectors::DatabaseSnapshot;
use crate::metrics::MaintenanceStatus;
use crate::task::TaskKind;
use crate::tasks;

use super::state::AppState;

/// The target of all forms.
pub(super) const ACTIONS_PATH: &str = "/actions";

/// What the token of a dry run authorizes.
pub(super) fn dry_run_subject(user: &str, database: &str, task: TaskKind) -> String {
    format!("{user}\0{database}\0{task}")
}

/// A form with one button.
fn button(token: &str, label: &str, class: Option<&str>, fields: &[(&str, &str)]) -> Markup {
    html! {
        form method="post" action=(ACTIONS_PATH) {
            input type="hidden" name="token" value=(token);
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button type="submit" class=[class] { (label) }
        }
    }
}

fn token(state: &AppState, principal: &Principal) -> Option<String> {
    let name = principal.name.as_ref().filter(|_| principal.can_operate)?;
    Some(state.auth.tokens().issue(name, SystemTime::now()))
}

/// Whether a run is planned first: it writes, or takes hours.
fn has_plan(task: TaskKind) -> bool {
    let task = tasks::task(task);
    task.writes() || task.is_background()
}

/// The forms on the page of a database; none for users who are not operators.
pub(super) fn action_forms(
    state: &AppState,
    observed: &DatabaseSnapshot,
    maintenance: &MaintenanceStatus,
    principal: &Principal,
) -> Markup {
    let Some(token) = token(state, principal) else { return html! {} };
    let name = observed.database.name.as_str();
    let tasks: Vec<TaskKind> = observed.database.settings.tasks.timings().map(|(task, _)| task).collect();
    let form = |label: &str, kind: &str, task: &str| {
        button(&token, label, Some("plain"), &[("kind", kind), ("database", name), ("task", task)])
    };
    html! {
        div.actions role="group" aria-label="Actions" {
            @for task in tasks.iter().filter(|task| has_plan(**task)) {
                (form(&format!("Plan {task} …"), "plan", task.label()))
            }
            @if tasks.contains(&TaskKind::HealthCheck) { (form("Recheck integrity", "recheck", "")) }
            @if maintenance.paused { (form("Resume", "resume", "")) } @else { (form("Pause", "pause", "")) }
        }
    }
}

/// The forms on the page of tasks.
pub(super) fn global_action_forms(state: &AppState, paused: bool, principal: &Principal) -> Markup {
    let Some(token) = token(state, principal) else { return html! {} };
    let (label, kind) = if paused { ("Resume everything", "resume") } else { ("Pause everything", "pause") };
    html! { div.actions { (button(&token, label, Some("plain"), &[("kind", kind)])) } }
}

/// The form on the page of a dry run, which starts the run.
pub(super) fn run_form(state: &AppState, user: &str, database: &str, task: TaskKind) -> Markup {
    let (tokens, now) = (state.auth.tokens(), SystemTime::now());
    let planned = tokens.issue(&dry_run_subject(user, database, task), now);
    let fields =
        [("kind", "run"), ("database", database), ("task", task.label()), ("planned", planned.as_str())];
    button(&tokens.issue(user, now), &format!("Run {task} now"), None, &fields)
}
