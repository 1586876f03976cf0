//! `/api/v1/`: what the pages show, as JSON, and the actions of operators.
//!
//! The route table is also the source of the OpenAPI document: `documented` adds what
//! `#[utoipa::path]` generates from a handler and from the types of its responses.

mod actions;
mod handlers;
mod openapi;
mod parameters;
mod scrub;
mod time;
mod types;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::error::HttpError;
use super::handler_label::HandlerLabel;
use super::response::JSON;
use super::response::with_type;
use super::route::Route;
use super::state::AppState;

/// The part of the route table below `/api/v1`.
pub(super) fn routes() -> Vec<Route> {
    let route = |path: &str| Route::new(HandlerLabel::Api, &format!("{}{path}", openapi::ROOT));
    let missing = |path: &str| route(path).get(not_found).responds(&[404]);
    vec![
        route("/databases").get(handlers::databases).documented::<handlers::__path_databases>(),
        // A name can contain `/`, so one route serves a database and its diagnosis.
        route("/databases/{*name}")
            .get(handlers::database)
            .documented::<handlers::__path_database>()
            .documented::<handlers::__path_doctor>(),
        route("/runs").get(handlers::runs).documented::<handlers::__path_runs>(),
        route("/schedule").get(handlers::schedule).documented::<handlers::__path_schedule>(),
        route("/actions")
            .get(actions::actions)
            .documented::<actions::__path_actions>()
            .post(actions::request_action)
            .documented::<actions::__path_request_action>(),
        route("/openapi.json").get(openapi_json).documented::<__path_openapi_json>(),
        missing(""),
        missing("/"),
        missing("/{*path}"),
    ]
}

/// This document
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "The document", body = Object)))]
async fn openapi_json(State(state): State<Arc<AppState>>) -> Result<Response, HttpError> {
    let document = openapi::document(routes(), state.web.prefix().as_str());
    let text = document.to_json().map_err(|error| HttpError::unavailable(error.to_string()))?;
    Ok(with_type(axum::http::StatusCode::OK, JSON, text))
}

async fn not_found() -> HttpError {
    HttpError::not_found("not found; /api/v1/openapi.json describes the API")
}
