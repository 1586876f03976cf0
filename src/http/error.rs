//! Errors of handlers: a status and a message for the client.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::actions::ActionError;

use super::response::error_json;
use super::response::text;

/// A failed request. The API responds with JSON, the forms with [`Self::into_text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpError {
    pub status: StatusCode,
    pub message: String,
}

impl HttpError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub fn unsupported_media_type(expected: &str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("Content-Type must be {expected}"))
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// The error as plain text.
    pub fn into_text(self) -> Response {
        text(self.status, format!("{}\n", self.message))
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        error_json(self.status, self.message)
    }
}

impl From<ActionError> for HttpError {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::NotConfigured(message) => Self::new(StatusCode::CONFLICT, message),
            ActionError::QueueFull => Self::unavailable("the run queue is full; try again later"),
            ActionError::StateStore(message) => Self::unavailable(message),
        }
    }
}
