//! Handlers that read: databases, diagnoses, runs and the schedule.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse as _;
use axum::response::Response;

use crate::collectors::DatabaseSnapshot;
use crate::doctor::Diagnosis;
use crate::state_store::RunQuery;
use crate::worker_pool::run_blocking;

use super::super::error::HttpError;
use super::super::query::Query;
use super::super::query::percent_decode;
use super::super::response::Error;
use super::super::response::Json;
use super::super::state::AppState;
use super::super::state_reads::with_timeout;
use super::openapi::ROOT;
use super::parameters;
use super::parameters::FilterParameters;
use super::parameters::Limit;
use super::parameters::Offset;
use super::parameters::RunsParameters;
use super::types::Database;
use super::types::Databases;
use super::types::Run;
use super::types::Runs;
use super::types::Schedule;
use super::types::ScheduledRun;

/// Databases, by name
#[utoipa::path(
    get,
    path = "/databases",
    params(FilterParameters, Limit, Offset),
    responses(
        (status = 200, description = "The databases", body = Databases),
        (status = 400, description = "Invalid parameter", body = Error),
        (status = 503, description = "Internal error", body = Error),
    )
)]
pub(super) async fn databases(
    State(state): State<Arc<AppState>>,
    query: Query,
) -> Result<Json<Databases>, HttpError> {
    let Limit { limit } = Limit::from_query(&query)?;
    let Offset { offset } = Offset::from_query(&query)?;
    let filter = parameters::filter(&query)?;
    let databases = run_blocking(move || {
        let (snapshot, unsound) = (state.snapshot.load(), state.jobs.unsound());
        let found: Vec<_> =
            snapshot.databases.iter().filter(|observed| filter.matches(observed, &unsound)).collect();
        let page = found.iter().skip(offset).take(limit);
        let page = page.map(|observed| Database::new(observed, &state.jobs.upkeep(&observed.database.name)));
        Databases { total: found.len(), complete: snapshot.complete, databases: page.collect() }
    });
    databases.await.map(Json).ok_or_else(|| HttpError::unavailable("internal error; see the log"))
}

/// One database
///
/// Its diagnosis has the same route. A name can itself end in `/doctor`, and takes precedence.
#[utoipa::path(
    get,
    path = "/databases/{name}",
    description = "With its locks",
    params(("name" = String, Path, min_length = 1)),
    responses(
        (status = 200, description = "The database", body = Database),
        (status = 404, description = "No such database", body = Error),
    )
)]
pub(super) async fn database(State(state): State<Arc<AppState>>, uri: Uri) -> Result<Response, HttpError> {
    let path = uri.path().strip_prefix(ROOT).and_then(|path| path.strip_prefix("/databases/"));
    let path = path.unwrap_or_default();
    let name = percent_decode(path);
    match path.strip_suffix("/doctor").map(percent_decode) {
        Some(target) if state.find(&name).is_none() => {
            Ok(doctor(&state, &find(&state, &target)?).await?.into_response())
        }
        Some(_) | None => {
            let observed = find(&state, &name)?;
            let database = Database::new(&observed, &state.jobs.upkeep(&observed.database.name));
            Ok(Json(database.with_locks(&observed)).into_response())
        }
    }
}

/// The diagnosis of a database, made now, for one client at a time
#[utoipa::path(
    get,
    path = "/databases/{name}/doctor",
    params(("name" = String, Path, min_length = 1)),
    responses(
        (status = 200, description = "The diagnosis", body = Diagnosis),
        (status = 404, description = "No such database", body = Error),
        (status = 503, description = "Another diagnosis is in progress, or the file system does not respond", body = Error),
    )
)]
async fn doctor(state: &AppState, observed: &DatabaseSnapshot) -> Result<Json<Diagnosis>, HttpError> {
    state.diagnose_now(observed).await.map(Json).map_err(HttpError::unavailable)
}

/// The database with this name.
///
/// # Errors
/// There is none.
pub(super) fn find(state: &AppState, name: &str) -> Result<DatabaseSnapshot, HttpError> {
    state.find(name).ok_or_else(|| HttpError::not_found(format!("there is no database {name}")))
}

/// The last runs of tasks, newest first
#[utoipa::path(
    get,
    path = "/runs",
    params(RunsParameters, Limit),
    responses(
        (status = 200, description = "The runs", body = Runs),
        (status = 400, description = "Invalid parameter", body = Error),
        (status = 503, description = "The state file does not respond", body = Error),
    )
)]
pub(super) async fn runs(State(state): State<Arc<AppState>>, query: Query) -> Result<Json<Runs>, HttpError> {
    let Limit { limit } = Limit::from_query(&query)?;
    let RunsParameters { database, task } = RunsParameters::from_query(&query)?;
    let run_query = RunQuery {
        databases: database.into_iter().collect(),
        tasks: task.into_iter().collect(),
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    };
    let runs = with_timeout(move || state.state_store.runs(&run_query));
    let runs = runs.await.map_err(|error| HttpError::unavailable(error.to_string()))?;
    Ok(Json(Runs { runs: runs.iter().map(Run::new).collect() }))
}

/// The next runs, earliest first
#[utoipa::path(
    get,
    path = "/schedule",
    params(Limit, Offset),
    responses(
        (status = 200, description = "The schedule", body = Schedule),
        (status = 400, description = "Invalid parameter", body = Error),
    )
)]
pub(super) async fn schedule(
    State(state): State<Arc<AppState>>,
    query: Query,
) -> Result<Json<Schedule>, HttpError> {
    let Limit { limit } = Limit::from_query(&query)?;
    let Offset { offset } = Offset::from_query(&query)?;
    let upcoming = state.jobs.upcoming();
    Ok(Json(Schedule {
        total: upcoming.len(),
        paused: state.jobs.is_everything_paused(),
        schedule: upcoming.iter().skip(offset).take(limit).map(ScheduledRun::new).collect(),
    }))
}
