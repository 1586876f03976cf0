//! The route table, and the middleware around every route: authentication, tracing, counting,
//! common headers.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header::AUTHORIZATION;
use axum::http::header::LOCATION;
use axum::http::header::RETRY_AFTER;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::middleware::Next;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::any;
use tracing::Instrument as _;

use crate::auth::AuthError;
use crate::config::RoutePrefix;
use crate::config::TelemetryPath;
use crate::metrics::AgentMetrics;
use crate::span;

use super::action_forms;
use super::actions;
use super::api;
use super::caller::Caller;
use super::caller::ClientAddress;
use super::content_negotiation::accepts_gzip;
use super::endpoints;
use super::handler_label::HandlerLabel;
use super::pages;
use super::request_spans::span_of;
use super::response::compress;
use super::response::error;
use super::response::not_found;
use super::response::text;
use super::route::Route;
use super::state::AppState;

/// The route table.
fn routes(telemetry_path: &TelemetryPath) -> Vec<Route> {
    use HandlerLabel::*;
    let mut routes = vec![
        Route::new(Metrics, telemetry_path.as_str()).get(endpoints::metrics).responds(&[200, 503]),
        Route::new(Healthy, "/-/healthy").get(endpoints::healthy).responds(&[200]),
        Route::new(Ready, "/-/ready").get(endpoints::ready).responds(&[200, 503]),
        Route::new(Reload, "/-/reload")
            .post(endpoints::reload)
            .put(endpoints::reload)
            .responds(&[200, 400, 403, 503]),
        Route::new(Page, "/").get(pages::index).responds(&[200]),
        Route::new(Page, "/tasks").get(pages::tasks).responds(&[200]),
        Route::new(Page, "/db/{*name}").get(pages::database).responds(&[200, 404, 503]),
        Route::new(Page, "/runbooks/{*alert}").get(pages::runbook).responds(&[200, 404]),
        Route::new(Page, pages::STYLE_PATH).get(pages::style).responds(&[200]),
        Route::new(Page, pages::ICON_PATH).get(pages::icon).responds(&[200]),
        Route::new(Actions, action_forms::ACTIONS_PATH)
            .post(actions::submit)
            .responds(&[200, 303, 400, 403, 404, 408, 409, 413, 415, 503]),
    ];
    routes.extend(api::routes());
    routes
}

/// The statuses of requests that reach no route, by label.
const STATUSES_WITHOUT_ROUTE: [(HandlerLabel, &[u16]); 2] =
    [(HandlerLabel::NotFound, &[302, 401, 404, 429]), (HandlerLabel::InvalidRequest, &[400, 431])];

/// Creates the counter of every handler and status that the route table lists, at 0.
pub fn declare_requests(metrics: &AgentMetrics) {
    for route in routes(&TelemetryPath::default()) {
        metrics.declare_requests(route.label.as_str(), route.statuses);
    }
    for (label, statuses) in STATUSES_WITHOUT_ROUTE {
        metrics.declare_requests(label.as_str(), statuses.iter().copied());
    }
}

/// The service that answers all requests.
pub(super) fn router(state: &Arc<AppState>) -> Router {
    let prefix = state.web.prefix().as_str();
    let around = |label| from_fn_with_state((Arc::clone(state), label), handle);
    let mut router = Router::new();
    for route in routes(&state.web.telemetry_path) {
        let (label, path) = (route.label, format!("{prefix}{}", route.path));
        router = router.route(&path, route.into_methods().layer(around(label)));
    }
    let fallback = any(without_route).layer(around(HandlerLabel::NotFound)).with_state(Arc::clone(state));
    router.fallback_service(fallback).with_state(Arc::clone(state))
}

/// Handles a request: authenticates its sender, then calls the handler of the route.
async fn handle(
    State((state, label)): State<(Arc<AppState>, HandlerLabel)>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(uri) = without_prefix(request.uri(), state.web.prefix()) {
        *request.uri_mut() = uri;
    }
    let address = request.extensions().get::<ClientAddress>().and_then(|address| address.0);
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let mut response = match state.auth.authenticate(address, authorization).await {
        Ok(principal) => {
            let gzip = accepts_gzip(request.headers());
            let span = span_of(label, &request);
            request.extensions_mut().insert(Caller { principal, address });
            let response = next.run(request).instrument(span.clone()).await;
            span::answered(&span, response.status().as_u16());
            compress(response, gzip).await
        }
        Err(error) => unauthenticated(label, error),
    };
    state.metrics.count_request(label.as_str(), response.status().as_u16());
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in state.auth.headers() {
        // Names and values were validated when the file was loaded.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The URI of a request without the route prefix; `None` if it has no prefix.
fn without_prefix(uri: &Uri, prefix: &RoutePrefix) -> Option<Uri> {
    let path = prefix.strip(uri.path()).filter(|path| path.len() < uri.path().len())?;
    let mut parts = uri.clone().into_parts();
    let path_and_query = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Handles a path without a route: redirects from above the prefix to the index page, otherwise
/// 404.
async fn without_route(State(state): State<Arc<AppState>>, uri: Uri) -> Response {
    let index = state.web.prefix().index_seen_from(uri.path());
    let Some(location) = index.and_then(|index| HeaderValue::try_from(index).ok()) else {
        return not_found(&state.web);
    };
    let mut response = text(StatusCode::FOUND, format!("see {}/\n", state.web.prefix()));
    response.headers_mut().insert(LOCATION, location);
    response
}

fn unauthenticated(label: HandlerLabel, auth_error: AuthError) -> Response {
    match auth_error {
        AuthError::Unauthorized => {
            let mut response = error(label, StatusCode::UNAUTHORIZED, "sign in");
            let challenge = HeaderValue::from_static("Basic realm=\"litekeeper\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
        AuthError::LoginThrottled | AuthError::RateLimited => {
            let message = "too many requests; try again later";
            let mut response = error(label, StatusCode::TOO_MANY_REQUESTS, message);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telemetry_path_cannot_shadow_a_route() {
        let default = TelemetryPath::default();
        for route in routes(&default) {
            let path = route.path.replace("{*", "").replace('}', "");
            assert!(path == default.as_str() || path.parse::<TelemetryPath>().is_err(), "{path}");
        }
        let other: TelemetryPath = "/sqlite".parse().unwrap();
        let paths: Vec<String> = routes(&other).into_iter().map(|route| route.path).collect();
        assert!(paths.contains(&"/sqlite".to_owned()) && !paths.contains(&"/metrics".to_owned()));
    }
}
