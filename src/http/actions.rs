//! What a signed-in user may have done on the pages: the forms, and what comes of them.
//!
//! Every form carries a token that only a page shown to this user can have; a run of a task that writes carries a second
//! one, which only the page of its dry run has.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::HeaderMap;
use hyper::Request;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderValue;
use hyper::header::LOCATION;
use maud::Markup;
use maud::html;

use crate::actions::Action;
use crate::actions::ActionError;
use crate::actions::Requester;
use crate::auth::Principal;
use crate::collectors::DatabaseSnapshot;
use crate::metrics::MaintenanceStatus;
use crate::task::TaskKind;

use super::pages;
use super::pages::Query;
use super::reading::page;
use super::router::AppState;
use super::router::Reply;
use super::router::text;

/// Where forms go.
pub(super) const ACT_PATH: &str = "/actions";

/// The tasks that can be asked for, by their labels.
pub(super) fn task_of(label: &str) -> Option<TaskKind> {
    TaskKind::from_label(label)
}

/// What a dry run's token stands for.
fn planned(user: &str, database: &str, task: TaskKind) -> String {
    format!("{user}\0{database}\0{task}")
}

/// A form with one button.
fn button(token: &str, label: &str, class: Option<&str>, fields: &[(&str, &str)]) -> Markup {
    html! {
        form method="post" action=(ACT_PATH) {
            input type="hidden" name="token" value=(token);
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button type="submit" class=[class] { (label) }
        }
    }
}

impl AppState {
    fn token(&self, visitor: &Principal) -> Option<String> {
        let name = visitor.name.as_ref().filter(|_| visitor.can_operate)?;
        Some(self.auth.tokens().issue(name, SystemTime::now()))
    }

    /// Forms on a database's page; none for who may not act.
    pub(super) fn acts_of(
        &self,
        observed: &DatabaseSnapshot,
        upkeep: &MaintenanceStatus,
        visitor: &Principal,
    ) -> Markup {
        let Some(token) = self.token(visitor) else { return html! {} };
        let name = observed.database.name.as_str();
        let tasks: Vec<TaskKind> = observed.database.settings.tasks.timings().map(|(task, _)| task).collect();
        let form = |label: &str, kind: &str, task: &str| {
            button(&token, label, Some("plain"), &[("kind", kind), ("database", name), ("task", task)])
        };
        html! {
            div.acts role="group" aria-label="Actions" {
                @for task in tasks.iter().filter(|task| task.writes()) {
                    (form(&format!("Plan {task} …"), "plan", task.label()))
                }
                @if tasks.contains(&TaskKind::HealthCheck) { (form("Recheck integrity", "recheck", "")) }
                @if upkeep.paused { (form("Resume", "resume", "")) } @else { (form("Pause", "pause", "")) }
            }
        }
    }

    /// Forms on the page of tasks.
    pub(super) fn acts_on_everything(&self, paused: bool, visitor: &Principal) -> Markup {
        let Some(token) = self.token(visitor) else { return html! {} };
        let (label, kind) =
            if paused { ("Resume everything", "resume") } else { ("Pause everything", "pause") };
        html! { div.acts { (button(&token, label, Some("plain"), &[("kind", kind)])) } }
    }

    /// Does what a form asks for.
    pub(super) async fn act(
        self: Arc<Self>,
        request: &Request<()>,
        body: &[u8],
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> Reply {
        let form = Query::parse(&String::from_utf8_lossy(body));
        let user = match self.allowed(request.headers(), request, visitor) {
            Ok(user) => user,
            Err(words) => return text(StatusCode::FORBIDDEN, words),
        };
        if !is_form(request.headers()) {
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a form is wanted\n");
        }
        let (tokens, now) = (self.auth.tokens(), SystemTime::now());
        if !tokens.is_valid(form.value("token"), &user, now) {
            return text(
                StatusCode::FORBIDDEN,
                "this page is too old, or not of this server; go back, load it anew and try again\n",
            );
        }
        let (kind, name) = (form.value("kind"), form.value("database"));
        let observed = self.find(name);
        if !name.is_empty() && observed.is_none() {
            return text(StatusCode::NOT_FOUND, format!("there is no database {name}\n"));
        }
        let task = task_of(form.value("task"));
        let database = observed.as_ref().map(|observed| Arc::clone(&observed.database));
        let deed = match (kind, database, task) {
            ("plan", Some(_), Some(task)) => {
                return self.plan(request, observed.as_ref(), task, &user, visitor).await;
            }
            ("run", Some(database), Some(task)) => {
                if task.writes() && !tokens.is_valid(form.value("planned"), &planned(&user, name, task), now)
                {
                    return text(StatusCode::FORBIDDEN, "a dry run comes first; go back and plan it anew\n");
                }
                Action::Run(database, task)
            }
            ("recheck", Some(database), _) => Action::Recheck(database),
            ("pause", database, _) => Action::Pause(database.map(|database| database.name.clone())),
            ("resume", database, _) => Action::Resume(database.map(|database| database.name.clone())),
            _ => return text(StatusCode::BAD_REQUEST, "there is no such action\n"),
        };
        let asker = Requester { user, address: from.map(|from| from.to_string()).unwrap_or_default() };
        match self.desk.ask(asker, deed).await {
            Ok(_) => see(name),
            Err(denial) => {
                let (status, words) = denied(&denial);
                text(status, format!("{words}\n"))
            }
        }
    }

    /// The name of a user who may act, from a page of this server or from a tool.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn allowed<B>(
        &self,
        headers: &HeaderMap,
        request: &Request<B>,
        visitor: &Principal,
    ) -> Result<String, &'static str> {
        if !self.auth.has_operators() {
            return Err("nobody may act; name users under `web.operators` in the configuration\n");
        }
        let Some(user) = visitor.name.clone().filter(|_| visitor.can_operate) else {
            return Err("this user may read, and not act; see `web.operators` in the configuration\n");
        };
        if !self.is_own(headers, request.uri()) {
            return Err("a page of another site asks for this\n");
        }
        Ok(user)
    }

    /// The page of a dry run, with the button that does it.
    async fn plan(
        self: Arc<Self>,
        request: &Request<()>,
        observed: Option<&DatabaseSnapshot>,
        task: TaskKind,
        user: &str,
        visitor: &Principal,
    ) -> Reply {
        let Some(observed) = observed else {
            return text(StatusCode::NOT_FOUND, "there is no such database\n");
        };
        let database = Arc::clone(&observed.database);
        let name = database.name.as_str().to_owned();
        let forecast = match self.desk.plan(database, task).await {
            Ok(forecast) => forecast,
            Err(denial) => {
                let (status, words) = denied(&denial);
                return text(status, format!("{words}\n"));
            }
        };
        let (tokens, now) = (self.auth.tokens(), SystemTime::now());
        let planned = tokens.issue(&planned(user, &name, task), now);
        let fields = [
            ("kind", "run"),
            ("database", name.as_str()),
            ("task", task.label()),
            ("planned", planned.as_str()),
        ];
        let run = button(&tokens.issue(user, now), &format!("Run {task} now"), None, &fields);
        page(request, pages::plan(&name, task, &forecast, &run, self.frame(visitor)))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded")
}

/// Back to the page where it is to be seen; a reload of that does nothing again.
fn see(name: &str) -> Reply {
    // Relative to `ACT_PATH`, as the links of the pages are.
    let place = if name.is_empty() { "tasks".to_owned() } else { format!("db/{}", pages::encode(name)) };
    let mut reply = text(StatusCode::SEE_OTHER, "done\n");
    if let Ok(place) = HeaderValue::try_from(place) {
        reply.headers_mut().insert(LOCATION, place);
    }
    reply
}

/// The status and the words of a denial.
pub(super) fn denied(denial: &ActionError) -> (StatusCode, String) {
    match denial {
        ActionError::NotConfigured(words) => (StatusCode::CONFLICT, words.clone()),
        ActionError::QueueFull => {
            (StatusCode::SERVICE_UNAVAILABLE, "as many runs as may wait do; try again later".to_owned())
        }
        ActionError::StateStore(words) => (StatusCode::SERVICE_UNAVAILABLE, words.clone()),
    }
}
