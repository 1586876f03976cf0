//! The handlers of the metrics and of `/-/`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header::CONTENT_ENCODING;
use axum::http::header::VARY;
use axum::response::Response;
use tokio::sync::oneshot;

use super::caller::Caller;
use super::caller::is_same_origin;
use super::content_negotiation;
use super::response::text;
use super::response::with_type;
use super::state::AppState;

/// How long a rendering is kept after a scrape, unless a client still reads it.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn metrics(State(state): State<Arc<AppState>>, headers: HeaderMap) -> Response {
    let format = content_negotiation::format(&headers);
    let gzip = content_negotiation::accepts_gzip(&headers);
    let Some(body) = state.scrapes.body(format, gzip).await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "rendering the metrics failed; see the log\n");
    };
    tokio::spawn(async move {
        tokio::time::sleep(RELEASE_AFTER).await;
        state.scrapes.release().await;
    });
    let mut response = with_type(StatusCode::OK, format.content_type(), Body::new(body));
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

pub(super) async fn healthy() -> Response {
    text(StatusCode::OK, "litekeeper is healthy.\n")
}

pub(super) async fn ready(State(state): State<Arc<AppState>>) -> Response {
    if state.snapshot.load().complete {
        return text(StatusCode::OK, "litekeeper is ready.\n");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, "litekeeper is not ready: the first sweep is in progress.\n")
}

pub(super) async fn reload(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(requests) = &state.reload else {
        return text(
            StatusCode::FORBIDDEN,
            "reload by HTTP is not enabled; start litekeeper with --web.enable-lifecycle, or send SIGHUP\n",
        );
    };
    // A reload is an action: if there are operators, only they may reload.
    if state.auth.has_operators() && !caller.principal.can_operate {
        return text(
            StatusCode::FORBIDDEN,
            "this user is not an operator and may not reload; see web.operators\n",
        );
    }
    if !is_same_origin(&state, &headers, &uri) {
        return text(StatusCode::FORBIDDEN, "cross-origin request refused\n");
    }
    let (sender, result) = oneshot::channel();
    let result = match requests.send(sender).await {
        Ok(()) => result.await.ok(),
        Err(_) => None,
    };
    match result {
        Some(Ok(())) => text(StatusCode::OK, "reloaded\n"),
        Some(Err(error)) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "litekeeper is shutting down\n"),
    }
}
