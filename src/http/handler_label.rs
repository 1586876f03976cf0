//! The label `handler` of `litekeeper_http_requests_total`.

/// The group of routes that answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandlerLabel {
    Metrics,
    Page,
    Healthy,
    Ready,
    Reload,
    Api,
    Actions,
    /// No route matched.
    NotFound,
    /// The request could not be parsed.
    InvalidRequest,
}

impl HandlerLabel {
    /// The value of the label. `/metrics` is the same for every telemetry path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "/metrics",
            Self::Page => "/",
            Self::Healthy => "/-/healthy",
            Self::Ready => "/-/ready",
            Self::Reload => "/-/reload",
            Self::Api => "/api/v1",
            Self::Actions => "/actions",
            Self::NotFound => "not_found",
            Self::InvalidRequest => "invalid_request",
        }
    }

    /// Whether requests other than GET change something.
    pub fn has_actions(self) -> bool {
        matches!(self, Self::Api | Self::Actions | Self::Reload)
    }
}
