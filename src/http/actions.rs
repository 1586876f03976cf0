//! Handles the forms with which operators request actions.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header::LOCATION;
use axum::response::Response;

use crate::actions::Action;
use crate::collectors::DatabaseSnapshot;
use crate::task::TaskKind;
use crate::tasks;

use super::action_forms::dry_run_subject;
use super::action_forms::run_form;
use super::caller::Caller;
use super::error::HttpError;
use super::pages::dry_run_page;
use super::pages::page;
use super::pages::page_context;
use super::query::Query;
use super::query::encode;
use super::request_body::read_body;
use super::response::has_content_type;
use super::response::text;
use super::state::AppState;

const FORM: &str = "application/x-www-form-urlencoded";

/// Handles a submitted form.
pub(super) async fn submit(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    perform(&state, &caller, &uri, &headers, body).await.unwrap_or_else(HttpError::into_text)
}

async fn perform(
    state: &AppState,
    caller: &Caller,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    let body = read_body(body).await?;
    let requester = caller.authorize(state, headers, uri).map_err(HttpError::forbidden)?;
    if !has_content_type(headers, FORM) {
        return Err(HttpError::unsupported_media_type(FORM));
    }
    let form = Query::parse(&body);
    let (tokens, now) = (state.auth.tokens(), SystemTime::now());
    if !tokens.is_valid(form.value("token"), &requester.user, now) {
        return Err(HttpError::forbidden(
            "this form has expired or was not issued by this server; go back, reload the page and try again",
        ));
    }
    let name = form.value("database");
    let observed = state.find(name);
    if !name.is_empty() && observed.is_none() {
        return Err(HttpError::not_found(format!("there is no database {name}")));
    }
    let task = TaskKind::from_label(form.value("task"));
    let database = observed.as_ref().map(|observed| Arc::clone(&observed.database));
    let action = match (form.value("kind"), database, task) {
        ("plan", Some(_), Some(task)) => {
            return dry_run(state, caller, uri, &requester.user, observed.as_ref(), task).await;
        }
        ("run", Some(database), Some(task)) => {
            let subject = dry_run_subject(&requester.user, name, task);
            if tasks::task(task).writes() && !tokens.is_valid(form.value("planned"), &subject, now) {
                return Err(HttpError::forbidden("a dry run comes first; go back and start one"));
            }
            Action::Run(database, task)
        }
        ("recheck", Some(database), _) => Action::Recheck(database),
        ("pause", database, _) => Action::Pause(database.map(|database| database.name.clone())),
        ("resume", database, _) => Action::Resume(database.map(|database| database.name.clone())),
        _ => return Err(HttpError::bad_request("unknown action")),
    };
    state.action_queue.submit(requester, action).await?;
    Ok(redirect_to(name))
}

/// The page of a dry run, with the button that starts the run.
async fn dry_run(
    state: &AppState,
    caller: &Caller,
    uri: &Uri,
    user: &str,
    observed: Option<&DatabaseSnapshot>,
    task: TaskKind,
) -> Result<Response, HttpError> {
    let observed = observed.ok_or_else(|| HttpError::not_found("there is no such database"))?;
    let database = Arc::clone(&observed.database);
    let name = database.name.as_str().to_owned();
    let forecast = state.action_queue.dry_run(database, task).await?;
    let run = run_form(state, user, &name, task);
    let context = page_context(state, &caller.principal);
    Ok(page(uri, &dry_run_page(&name, task, &forecast, &run, context)))
}

/// Redirects to the page that shows the result. Reloading that page does not repeat the action.
fn redirect_to(name: &str) -> Response {
    // Relative to `ACTIONS_PATH`, as the links of the pages are.
    let location = if name.is_empty() { "tasks".to_owned() } else { format!("db/{}", encode(name)) };
    let mut response = text(StatusCode::SEE_OTHER, "done\n");
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
