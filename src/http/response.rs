//! Builds responses.

use axum::body::Body;
use axum::body::Bytes;
use axum::body::HttpBody as _;
use axum::body::to_bytes;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CONTENT_ENCODING;
use axum::http::header::CONTENT_LENGTH;
use axum::http::header::CONTENT_TYPE;
use axum::http::header::VARY;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::WebSettings;

use super::handler_label::HandlerLabel;
use super::scrapes;

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// A JSON body.
pub(super) struct Json<T>(pub T);

/// The body of every error of the API.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Error {
    error: String,
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self.0) {
            Ok(body) => with_type(StatusCode::OK, JSON, format!("{body}\n")),
            Err(error) => error_json(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

/// A response with a content type.
pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A response of plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    with_type(status, PLAIN, body)
}

/// An error as JSON.
pub(super) fn error_json(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(Error { error: message.into() })).into_response()
}

/// An error in the format of its handler.
pub(super) fn error(label: HandlerLabel, status: StatusCode, message: &str) -> Response {
    match label {
        HandlerLabel::Api => error_json(status, message),
        HandlerLabel::Metrics
        | HandlerLabel::Page
        | HandlerLabel::Healthy
        | HandlerLabel::Ready
        | HandlerLabel::Reload
        | HandlerLabel::Actions
        | HandlerLabel::NotFound
        | HandlerLabel::InvalidRequest => text(status, format!("{message}\n")),
    }
}

/// The response to a path that does not exist. It lists those that do.
pub(super) fn not_found(web: &WebSettings) -> Response {
    let paths = ["/", "/db/NAME", "/tasks", "/runbooks/ALERT", "/api/v1/", web.telemetry_path.as_str()];
    let below = |path: &str| format!("{}{path}", web.prefix().as_str());
    let message = format!(
        "not found; the paths are {}, {} and {}\n",
        paths.map(below).join(", "),
        below("/-/healthy"),
        below("/-/ready")
    );
    text(StatusCode::NOT_FOUND, message)
}

/// Compresses pages and JSON if the client accepts gzip. A scrape is compressed once for all its
/// clients, in `scrapes`.
pub(super) async fn compress(response: Response, accepts_gzip: bool) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind == HTML || kind == JSON) {
        return response;
    }
    let (mut head, mut body) = response.into_parts();
    head.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if accepts_gzip && body.size_hint().exact().is_some_and(|length| length > 0) {
        // The body is in memory already, so this does not wait.
        let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
        body = Bytes::from(scrapes::compressed([&*whole])).into();
        head.headers.remove(CONTENT_LENGTH);
        head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Response::from_parts(head, body)
}

/// Whether the content type of a request is this one, with or without parameters.
pub(super) fn has_content_type(headers: &HeaderMap, expected: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim() == expected)
}
