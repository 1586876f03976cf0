//! `/api/v1/`: what the pages show, as JSON. Tests compare the responses with `openapi.json`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::Method;
use hyper::Request;
use hyper::StatusCode;
use hyper::header::ALLOW;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::actions::Action;
use crate::actions::Requester;
use crate::auth::Principal;
use crate::state_store::RunQuery;
use crate::state_store::StateStoreError;
use crate::task::TaskKind;
use crate::worker_pool::run_blocking;

use super::actions::status_and_message;
use super::actions::task_of;
use super::api_types;
use super::pages::Filter;
use super::pages::Query;
use super::pages::percent_decode;
use super::pages::with_timeout;
use super::response::Response;
use super::response::negotiated;
use super::response::with_type;
use super::state::AppState;

const JSON: &str = "application/json";
const DESCRIPTION: &str = include_str!("openapi.json");

/// The OpenAPI document, with the URL of the API below the route prefix.
fn description(prefix: &str) -> String {
    DESCRIPTION.replacen("\"url\": \"/api/v1\"", &format!("\"url\": \"{prefix}/api/v1\""), 1)
}
/// The root of the API.
pub(super) const ROOT: &str = "/api/v1";
/// The largest and the default page size.
const MAX_LIMIT: usize = 1_000;
const DEFAULT_LIMIT: usize = 100;
/// The largest offset.
const MAX_OFFSET: usize = 1_000_000;

/// An error response.
pub(super) struct ApiError(pub StatusCode, pub String);

type ApiResult = Result<(StatusCode, Value), ApiError>;

fn bad_request(message: impl Into<String>) -> ApiError {
    ApiError(StatusCode::BAD_REQUEST, message.into())
}

fn unavailable(message: String) -> ApiError {
    ApiError(StatusCode::SERVICE_UNAVAILABLE, message)
}

/// An integer parameter within bounds.
fn number(
    query: &Query,
    name: &str,
    default: usize,
    bounds: std::ops::RangeInclusive<usize>,
) -> Result<usize, ApiError> {
    let Some(text) = query.find(name) else { return Ok(default) };
    text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
        bad_request(format!("{name} must be a whole number from {} to {}", bounds.start(), bounds.end()))
    })
}

fn limit(query: &Query) -> Result<usize, ApiError> {
    number(query, "limit", DEFAULT_LIMIT, 1..=MAX_LIMIT)
}

/// The body of `POST /api/v1/actions`.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum ActionRequest {
    Run {
        database: String,
        task: String,
        #[serde(default)]
        dry_run: bool,
    },
    Recheck {
        database: String,
    },
    Pause {
        database: Option<String>,
    },
    Resume {
        database: Option<String>,
    },
}

impl AppState {
    /// Handles a request below `/api/v1`.
    pub(super) async fn api(
        self: Arc<Self>,
        request: &Request<()>,
        body: &[u8],
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> Response {
        let path = request.uri().path().strip_prefix(ROOT).unwrap_or_default();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let answer = match path {
            "/actions" if *request.method() == Method::POST => {
                self.post_action(request, body, from, visitor).await
            }
            "/actions" if !reads => return not_allowed("GET, HEAD, POST"),
            _ if !reads => return not_allowed("GET, HEAD"),
            "/openapi.json" => {
                return negotiated(request, StatusCode::OK, JSON, description(self.web.prefix().as_str()));
            }
            "/databases" => Arc::clone(&self).databases(query).await,
            "/runs" => self.runs(&query).await,
            "/schedule" => self.schedule(&query),
            "/actions" => self.actions(&query).await,
            path => match path.strip_prefix("/databases/") {
                Some(rest) => self.below_databases(rest).await,
                None => Err(ApiError(
                    StatusCode::NOT_FOUND,
                    "not found; /api/v1/openapi.json describes the API".to_owned(),
                )),
            },
        };
        let (status, value) =
            answer.unwrap_or_else(|ApiError(status, message)| (status, json!({ "error": message })));
        negotiated(request, status, JSON, format!("{value}\n"))
    }

    async fn databases(self: Arc<Self>, query: Query) -> ApiResult {
        let (limit, offset) = (limit(&query)?, number(&query, "offset", 0, 0..=MAX_OFFSET)?);
        if let Some(state) = query.find("state")
            && !Filter::states().contains(&state)
        {
            return Err(bad_request(format!("state must be one of {}", Filter::states().join(", "))));
        }
        let listed = run_blocking(move || {
            let (snapshot, unsound) = (self.snapshot.load(), self.jobs.unsound());
            let filter = Filter::from_query(&query);
            let found: Vec<_> =
                snapshot.databases.iter().filter(|observed| filter.matches(observed, &unsound)).collect();
            let shown = found.iter().skip(offset).take(limit);
            let shown: Vec<Value> = shown
                .map(|observed| api_types::database(observed, &self.jobs.upkeep(&observed.database.name)))
                .collect();
            json!({ "total": found.len(), "complete": snapshot.complete, "databases": shown })
        });
        let listed = listed.await.ok_or_else(|| unavailable("internal error; see the log".to_owned()))?;
        Ok((StatusCode::OK, listed))
    }

    /// A database or its diagnosis. A name can itself end in `/doctor`, and takes precedence.
    async fn below_databases(&self, rest: &str) -> ApiResult {
        let name = percent_decode(rest);
        match rest.strip_suffix("/doctor").map(percent_decode) {
            Some(patient) if self.find(&name).is_none() => {
                let observed = self.known(&patient)?;
                let diagnosis =
                    self.diagnose_now(&observed).await.map_err(|message| unavailable(message.to_owned()))?;
                let value =
                    serde_json::to_value(diagnosis).map_err(|error| unavailable(error.to_string()))?;
                Ok((StatusCode::OK, value))
            }
            Some(_) | None => self.one(&name),
        }
    }

    fn one(&self, name: &str) -> ApiResult {
        let observed = self.known(name)?;
        let mut answer = api_types::database(&observed, &self.jobs.upkeep(&observed.database.name));
        answer["locks"] = api_types::locks(&observed);
        answer["lost_locks"] = api_types::lost_locks(&observed);
        Ok((StatusCode::OK, answer))
    }

    fn known(&self, name: &str) -> Result<crate::collectors::DatabaseSnapshot, ApiError> {
        self.find(name).ok_or_else(|| ApiError(StatusCode::NOT_FOUND, format!("there is no database {name}")))
    }

    async fn runs(&self, query: &Query) -> ApiResult {
        let limit = limit(query)?;
        let tasks = match query.find("task") {
            None => Vec::new(),
            Some(label) if task_of(label).is_some() => vec![label.to_owned()],
            Some(_) => return Err(no_task()),
        };
        let databases = query.find("database").map(str::to_owned).into_iter().collect();
        let run_query = RunQuery { databases, tasks, limit: u32::try_from(limit).unwrap_or(u32::MAX) };
        let state_store = Arc::clone(&self.state_store);
        let runs = with_timeout(move || state_store.runs(&run_query).map_err(|error| error.to_string()));
        let runs = runs.await.map_err(unavailable)?;
        let runs: Vec<Value> = runs.iter().map(api_types::run).collect();
        Ok((StatusCode::OK, json!({ "runs": runs })))
    }

    fn schedule(&self, query: &Query) -> ApiResult {
        let (limit, offset) = (limit(query)?, number(query, "offset", 0, 0..=MAX_OFFSET)?);
        let upcoming = self.jobs.upcoming();
        let shown: Vec<Value> = upcoming.iter().skip(offset).take(limit).map(api_types::upcoming).collect();
        let paused = self.jobs.is_everything_paused();
        Ok((StatusCode::OK, json!({ "total": upcoming.len(), "paused": paused, "schedule": shown })))
    }

    async fn actions(&self, query: &Query) -> ApiResult {
        let limit = u32::try_from(limit(query)?).unwrap_or(u32::MAX);
        let state_store = Arc::clone(&self.state_store);
        let actions = with_timeout(move || {
            state_store.actions(None, limit).map_err(|error: StateStoreError| error.to_string())
        });
        let actions: Vec<Value> = actions.await.map_err(unavailable)?.iter().map(api_types::action).collect();
        Ok((StatusCode::OK, json!({ "actions": actions })))
    }

    /// Requests an action. Cross-origin pages cannot send JSON without a preflight request, which is never granted.
    async fn post_action(
        &self,
        request: &Request<()>,
        body: &[u8],
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> ApiResult {
        let user = self
            .authorize(request.headers(), request, visitor)
            .map_err(|message| ApiError(StatusCode::FORBIDDEN, message.trim_end().to_owned()))?;
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some(JSON) {
            let message = "Content-Type must be application/json".to_owned();
            return Err(ApiError(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let post_action: ActionRequest =
            serde_json::from_slice(body).map_err(|error| bad_request(format!("the body: {error}")))?;
        let database_at = |name: &Option<String>| {
            name.as_deref().map(|name| Ok(self.known(name)?.database.name.clone())).transpose()
        };
        let action_record = match post_action {
            ActionRequest::Run { database, task, dry_run } => {
                let task = task_of(&task).ok_or_else(no_task)?;
                let database = self.known(&database)?.database;
                if dry_run {
                    let forecast = self.action_queue.plan(database, task).await.map_err(refused)?;
                    let forecast =
                        serde_json::to_value(forecast).map_err(|error| unavailable(error.to_string()))?;
                    return Ok((StatusCode::OK, json!({ "dry_run": true, "forecast": forecast })));
                }
                Action::Run(database, task)
            }
            ActionRequest::Recheck { database } => Action::Recheck(self.known(&database)?.database),
            ActionRequest::Pause { database } => Action::Pause(database_at(&database)?),
            ActionRequest::Resume { database } => Action::Resume(database_at(&database)?),
        };
        let requester = Requester { user, address: from.map(|from| from.to_string()).unwrap_or_default() };
        let action = self.action_queue.ask(requester, action_record).await.map_err(refused)?;
        let status = if action.result == "done" { StatusCode::OK } else { StatusCode::ACCEPTED };
        Ok((status, json!({ "action": api_types::action(&action) })))
    }
}

fn no_task() -> ApiError {
    bad_request(format!("task must be one of {}", TaskKind::LABELS.join(", ")))
}

fn refused(error: crate::actions::ActionError) -> ApiError {
    let (status, message) = status_and_message(&error);
    ApiError(status, message)
}

/// An error response from before a handler was called.
pub(super) fn error_response(status: StatusCode, message: &str) -> Response {
    with_type(status, JSON, format!("{}\n", json!({ "error": message })))
}

fn not_allowed(methods: &'static str) -> Response {
    let mut response = error_response(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("method not allowed; this path accepts {methods}"),
    );
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// A time in RFC 3339 format.
pub(super) fn iso(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
