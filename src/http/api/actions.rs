//! Actions of operators.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::response::IntoResponse as _;
use axum::response::Response;
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::actions::Action as RequestedAction;
use crate::database::DatabaseName;
use crate::tasks::DryRun;

use super::super::caller::Caller;
use super::super::error::HttpError;
use super::super::query::Query;
use super::super::request_body::read_body;
use super::super::response::Error;
use super::super::response::JSON;
use super::super::response::Json;
use super::super::response::has_content_type;
use super::super::state::AppState;
use super::super::state_reads::with_timeout;
use super::handlers::find;
use super::parameters;
use super::parameters::Limit;
use super::parameters::task_schema;
use super::types::Action;
use super::types::Actions;

/// An action on a database, or on all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum ActionRequest {
    /// Runs a task; with `dry_run`, only predicts what that would do
    Run {
        database: String,
        #[schema(schema_with = task_schema)]
        task: String,
        #[serde(default)]
        dry_run: bool,
    },
    /// Runs the checks of a database
    Recheck { database: String },
    /// Pauses maintenance, of all databases if none is named
    Pause { database: Option<String> },
    /// Resumes maintenance, of all databases if none is named
    Resume { database: Option<String> },
}

/// The action as it was recorded.
#[derive(Debug, Serialize, ToSchema)]
struct ActionResponse {
    action: Action,
}

/// The prediction of a dry run.
#[derive(Debug, Serialize, ToSchema)]
struct DryRunResponse {
    dry_run: bool,
    #[schema(value_type = Object)]
    forecast: DryRun,
}

/// The response to an accepted request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum ActionResult {
    Action(ActionResponse),
    DryRun(DryRunResponse),
}

/// Actions of users, newest first
#[utoipa::path(
    get,
    path = "/actions",
    params(Limit),
    responses(
        (status = 200, description = "The actions", body = Actions),
        (status = 400, description = "Invalid parameter", body = Error),
        (status = 503, description = "The state file does not respond", body = Error),
    )
)]
pub(super) async fn actions(
    State(state): State<Arc<AppState>>,
    query: Query,
) -> Result<Json<Actions>, HttpError> {
    let limit = u32::try_from(Limit::from_query(&query)?.limit).unwrap_or(u32::MAX);
    let actions = with_timeout(move || state.state_store.actions(None, limit));
    let actions = actions.await.map_err(|error| HttpError::unavailable(error.to_string()))?;
    Ok(Json(Actions { actions: actions.iter().map(Action::new).collect() }))
}

/// Run a task, recheck integrity, pause or resume; for users in `web.operators`
///
/// Cross-origin pages cannot send JSON without a preflight request, which is never granted.
#[utoipa::path(
    post,
    path = "/actions",
    description = "A request that waits for other runs is answered with 202; `result` of the action shows its progress",
    request_body = ActionRequest,
    responses(
        (status = 200, description = "The action is done, or predicted", body = ActionResult),
        (status = 202, description = "The action waits for its turn", body = ActionResponse),
        (status = 400, description = "Invalid request", body = Error),
        (status = 403, description = "Not allowed", body = Error),
        (status = 404, description = "No such database", body = Error),
        (status = 408, description = "The body did not arrive in time", body = Error),
        (status = 409, description = "The task is not configured for the database", body = Error),
        (status = 413, description = "The body is longer than 16 KiB", body = Error),
        (status = 415, description = "The body is not JSON", body = Error),
        (status = 503, description = "The run queue is full, or the state file does not respond", body = Error),
    )
)]
pub(super) async fn request_action(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    let body = read_body(body).await?;
    let requester = caller.authorize(&state, &headers, &uri).map_err(HttpError::forbidden)?;
    if !has_content_type(&headers, JSON) {
        return Err(HttpError::unsupported_media_type(JSON));
    }
    let request = serde_json::from_slice(&body)
        .map_err(|error| HttpError::bad_request(format!("the body: {error}")))?;
    let record = match request {
        ActionRequest::Run { database, task, dry_run } => {
            let task = parameters::task(&task)?;
            let database = find(&state, &database)?.database;
            if dry_run {
                let forecast = state.action_queue.dry_run(database, task).await?;
                let result = ActionResult::DryRun(DryRunResponse { dry_run, forecast });
                return Ok(Json(result).into_response());
            }
            RequestedAction::Run(database, task)
        }
        ActionRequest::Recheck { database } => RequestedAction::Recheck(find(&state, &database)?.database),
        ActionRequest::Pause { database } => RequestedAction::Pause(find_name(&state, database)?),
        ActionRequest::Resume { database } => RequestedAction::Resume(find_name(&state, database)?),
    };
    let action = state.action_queue.submit(requester, record).await?;
    let status = if action.result == "done" { StatusCode::OK } else { StatusCode::ACCEPTED };
    let result = ActionResult::Action(ActionResponse { action: Action::new(&action) });
    Ok((status, Json(result)).into_response())
}

fn find_name(state: &AppState, name: Option<String>) -> Result<Option<DatabaseName>, HttpError> {
    name.map(|name| Ok(find(state, &name)?.database.name.clone())).transpose()
}
