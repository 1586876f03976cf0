//! Actions that operators request with the forms of the pages.
//!
//! Every form carries a CSRF token of its user. To run a task that writes, a form needs a second token, which only the
//! page of the dry run contains.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::HeaderMap;
use hyper::Request;
use hyper::StatusCode;
use hyper::Uri;
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
use crate::config::ExternalUrl;
use crate::metrics::MaintenanceStatus;
use crate::task::TaskKind;

use super::pages;
use super::pages::Query;
use super::pages::page;
use super::response::Response;
use super::response::text;
use super::same_origin;
use super::state::AppState;

/// The target of all forms.
pub(super) const ACT_PATH: &str = "/actions";

/// The task with this label.
pub(super) fn task_of(label: &str) -> Option<TaskKind> {
    TaskKind::from_label(label)
}

/// What the token of a dry run authorizes.
fn plan_subject(user: &str, database: &str, task: TaskKind) -> String {
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

    /// The forms on the page of a database; none for users who are not operators.
    pub(super) fn action_forms(
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
            div.actions role="group" aria-label="Actions" {
                @for task in tasks.iter().filter(|task| task.writes()) {
                    (form(&format!("Plan {task} …"), "plan", task.label()))
                }
                @if tasks.contains(&TaskKind::HealthCheck) { (form("Recheck integrity", "recheck", "")) }
                @if upkeep.paused { (form("Resume", "resume", "")) } @else { (form("Pause", "pause", "")) }
            }
        }
    }

    /// The forms on the page of tasks.
    pub(super) fn global_action_forms(&self, paused: bool, visitor: &Principal) -> Markup {
        let Some(token) = self.token(visitor) else { return html! {} };
        let (label, kind) =
            if paused { ("Resume everything", "resume") } else { ("Pause everything", "pause") };
        html! { div.actions { (button(&token, label, Some("plain"), &[("kind", kind)])) } }
    }

    /// Handles a submitted form.
    pub(super) async fn act(
        self: Arc<Self>,
        request: &Request<()>,
        body: &[u8],
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> Response {
        let form = Query::parse(&String::from_utf8_lossy(body));
        let user = match self.authorize(request.headers(), request, visitor) {
            Ok(user) => user,
            Err(message) => return text(StatusCode::FORBIDDEN, message),
        };
        if !is_form(request.headers()) {
            return text(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type must be application/x-www-form-urlencoded\n",
            );
        }
        let (tokens, now) = (self.auth.tokens(), SystemTime::now());
        if !tokens.is_valid(form.value("token"), &user, now) {
            return text(
                StatusCode::FORBIDDEN,
                "this form has expired or was not issued by this server; go back, reload the page and try again\n",
            );
        }
        let (kind, name) = (form.value("kind"), form.value("database"));
        let observed = self.find(name);
        if !name.is_empty() && observed.is_none() {
            return text(StatusCode::NOT_FOUND, format!("there is no database {name}\n"));
        }
        let task = task_of(form.value("task"));
        let database = observed.as_ref().map(|observed| Arc::clone(&observed.database));
        let action_record = match (kind, database, task) {
            ("plan", Some(_), Some(task)) => {
                return self.plan(request, observed.as_ref(), task, &user, visitor).await;
            }
            ("run", Some(database), Some(task)) => {
                if task.writes()
                    && !tokens.is_valid(form.value("planned"), &plan_subject(&user, name, task), now)
                {
                    return text(StatusCode::FORBIDDEN, "a dry run comes first; go back and start one\n");
                }
                Action::Run(database, task)
            }
            ("recheck", Some(database), _) => Action::Recheck(database),
            ("pause", database, _) => Action::Pause(database.map(|database| database.name.clone())),
            ("resume", database, _) => Action::Resume(database.map(|database| database.name.clone())),
            _ => return text(StatusCode::BAD_REQUEST, "unknown action\n"),
        };
        let requester = Requester { user, address: from.map(|from| from.to_string()).unwrap_or_default() };
        match self.action_queue.ask(requester, action_record).await {
            Ok(_) => redirect_to(name),
            Err(error) => {
                let (status, message) = status_and_message(&error);
                text(status, format!("{message}\n"))
            }
        }
    }

    /// The name of the operator, if the request is not cross-origin.
    ///
    /// # Errors
    /// Why the user may not act, as a message.
    pub(super) fn authorize<B>(
        &self,
        headers: &HeaderMap,
        request: &Request<B>,
        visitor: &Principal,
    ) -> Result<String, &'static str> {
        if !self.auth.has_operators() {
            return Err("there are no operators; `web.operators` in the configuration names them\n");
        }
        let Some(user) = visitor.name.clone().filter(|_| visitor.can_operate) else {
            return Err("this user is not an operator; see `web.operators` in the configuration\n");
        };
        if !self.is_same_origin(headers, request.uri()) {
            return Err("cross-origin request refused\n");
        }
        Ok(user)
    }

    /// Whether a request is not cross-origin.
    pub(super) fn is_same_origin(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        same_origin::is_same_origin(headers, uri, self.web.external_url.as_ref().map(ExternalUrl::authority))
    }

    /// The page of a dry run, with the button that starts the run.
    async fn plan(
        self: Arc<Self>,
        request: &Request<()>,
        observed: Option<&DatabaseSnapshot>,
        task: TaskKind,
        user: &str,
        visitor: &Principal,
    ) -> Response {
        let Some(observed) = observed else {
            return text(StatusCode::NOT_FOUND, "there is no such database\n");
        };
        let database = Arc::clone(&observed.database);
        let name = database.name.as_str().to_owned();
        let forecast = match self.action_queue.plan(database, task).await {
            Ok(forecast) => forecast,
            Err(error) => {
                let (status, message) = status_and_message(&error);
                return text(status, format!("{message}\n"));
            }
        };
        let (tokens, now) = (self.auth.tokens(), SystemTime::now());
        let plan_subject = tokens.issue(&plan_subject(user, &name, task), now);
        let fields = [
            ("kind", "run"),
            ("database", name.as_str()),
            ("task", task.label()),
            ("planned", plan_subject.as_str()),
        ];
        let run = button(&tokens.issue(user, now), &format!("Run {task} now"), None, &fields);
        page(request, pages::dry_run_page(&name, task, &forecast, &run, self.page_context(visitor)))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded")
}

/// Redirects to the page that shows the result. Reloading that page does not repeat the action.
fn redirect_to(name: &str) -> Response {
    // Relative to `ACT_PATH`, as the links of the pages are.
    let place = if name.is_empty() { "tasks".to_owned() } else { format!("db/{}", pages::encode(name)) };
    let mut response = text(StatusCode::SEE_OTHER, "done\n");
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// The status and the message of an error.
pub(super) fn status_and_message(error: &ActionError) -> (StatusCode, String) {
    match error {
        ActionError::NotConfigured(message) => (StatusCode::CONFLICT, message.clone()),
        ActionError::QueueFull => {
            (StatusCode::SERVICE_UNAVAILABLE, "the run queue is full; try again later".to_owned())
        }
        ActionError::StateStore(message) => (StatusCode::SERVICE_UNAVAILABLE, message.clone()),
    }
}
