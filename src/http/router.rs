//! Routing: which handler answers which path.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Method;
use hyper::Request;
use hyper::StatusCode;
use hyper::Uri;
use hyper::body::Body;
use hyper::body::Bytes;
use hyper::header::ALLOW;
use hyper::header::AUTHORIZATION;
use hyper::header::CONTENT_ENCODING;
use hyper::header::CONTENT_LENGTH;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::header::LOCATION;
use hyper::header::RETRY_AFTER;
use hyper::header::VARY;
use hyper::header::WWW_AUTHENTICATE;
use hyper::header::X_CONTENT_TYPE_OPTIONS;
use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::auth::AuthError;
use crate::auth::Principal;
use crate::config::RoutePrefix;
use crate::config::TelemetryPath;
use crate::metrics::Handler;
use crate::span;

use super::actions;
use super::api;
use super::content_negotiation;
use super::pages;
use super::request_body;
use super::request_spans::span_of;
use super::response::Response;
use super::response::text;
use super::response_body::ResponseBody;
use super::state::AppState;

impl Handler {
    /// Whether a request of this method has a body to read.
    fn takes_body(self, method: &Method) -> bool {
        *method == Method::POST && matches!(self, Self::Api | Self::Act)
    }
}

/// The URI of a request without the route prefix; `None` if it is not below the prefix.
fn route_of(uri: &Uri, prefix: &RoutePrefix) -> Option<Uri> {
    let route = prefix.strip(uri.path())?;
    if route.len() == uri.path().len() {
        return Some(uri.clone());
    }
    let mut parts = uri.clone().into_parts();
    let path_and_query = uri.query().map_or_else(|| route.to_owned(), |query| format!("{route}?{query}"));
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// The handler of a path.
fn handler_of(path: &str, telemetry_path: &TelemetryPath) -> Handler {
    match path {
        path if path == telemetry_path.as_str() => Handler::Metrics,
        "/" | "/tasks" | pages::STYLE_PATH | pages::ICON_PATH => Handler::Page,
        path if path.starts_with("/db/") || path.starts_with(pages::RUNBOOKS_PATH) => Handler::Page,
        actions::ACT_PATH => Handler::Act,
        path if path.strip_prefix(api::ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) => {
            Handler::Api
        }
        "/-/healthy" => Handler::Healthy,
        "/-/ready" => Handler::Ready,
        "/-/reload" => Handler::Reload,
        _ => Handler::NotFound,
    }
}

/// How long a rendering is kept after a scrape, unless a client still reads it.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

impl AppState {
    /// Handles one request.
    pub(super) async fn handle<B>(self: Arc<Self>, request: Request<B>, from: Option<IpAddr>) -> Response
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let mut request = Request::from_parts(head, ());
        let handler = match route_of(request.uri(), self.web.prefix()) {
            Some(route) => {
                *request.uri_mut() = route;
                handler_of(request.uri().path(), &self.web.telemetry_path)
            }
            None => Handler::NotFound,
        };
        let (metrics, auth) = (Arc::clone(&self.metrics), Arc::clone(&self.auth));
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let mut response = match auth.authenticate(from, authorization).await {
            Ok(visitor) => {
                let span = span_of(handler, &request);
                let response = self.dispatch_with_body(handler, &request, body, from, &visitor);
                let response = response.instrument(span.clone()).await;
                span::answered(&span, response.status().as_u16());
                response
            }
            Err(error_response) => refused(handler, error_response),
        };
        metrics.requested(handler, response.status().as_u16());
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in auth.headers() {
            // Names and values were validated when the file was loaded.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        if request.method() == Method::HEAD {
            // The length is that of a GET.
            let length = response.body().size_hint().exact().unwrap_or(0);
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            *response.body_mut() = ResponseBody::Whole(Full::default());
        }
        response
    }

    /// Handles an authenticated request. Only handlers that take a body read one.
    async fn dispatch_with_body<B>(
        self: Arc<Self>,
        handler: Handler,
        request: &Request<()>,
        body: B,
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> Response
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !handler.takes_body(request.method()) {
            return self.dispatch(handler, request, from, visitor).await;
        }
        match request_body::read_body(body).await {
            Ok(body) => self.dispatch_body(handler, request, &body, from, visitor).await,
            Err((status, message)) => problem(handler, status, &message),
        }
    }

    /// Handles a request with a body.
    async fn dispatch_body(
        self: Arc<Self>,
        handler: Handler,
        request: &Request<()>,
        body: &[u8],
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> Response {
        match handler {
            Handler::Api => self.api(request, body, from, visitor).await,
            Handler::Act => self.act(request, body, from, visitor).await,
            Handler::Metrics
            | Handler::Page
            | Handler::Healthy
            | Handler::Ready
            | Handler::Reload
            | Handler::NotFound => self.not_found(),
        }
    }

    async fn dispatch(
        self: Arc<Self>,
        handler: Handler,
        request: &Request<()>,
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> Response {
        match (handler, request.method()) {
            (Handler::Reload, &Method::POST | &Method::PUT) => self.reload(request, visitor).await,
            (Handler::Reload, _) => not_allowed("POST, PUT"),
            (Handler::Api, _) => self.api(request, &[], from, visitor).await,
            (Handler::Act, _) => not_allowed("POST"),
            (Handler::NotFound, _) => self.without_route(request),
            (_, &Method::GET | &Method::HEAD) => self.get(handler, request, visitor).await,
            _ => not_allowed("GET, HEAD"),
        }
    }

    /// Handles a path without a route: redirects from above the prefix to the index page, otherwise 404.
    fn without_route(&self, request: &Request<()>) -> Response {
        let index = self.web.prefix().index_seen_from(request.uri().path());
        let Some(location) = index.and_then(|index| HeaderValue::try_from(index).ok()) else {
            return self.not_found();
        };
        let mut response = text(StatusCode::FOUND, format!("see {}/\n", self.web.prefix()));
        response.headers_mut().insert(LOCATION, location);
        response
    }

    async fn get<B>(
        self: Arc<Self>,
        handler: Handler,
        request: &Request<B>,
        visitor: &Principal,
    ) -> Response {
        match handler {
            Handler::Metrics => self.metrics(request).await,
            Handler::Page => self.pages(request, visitor).await,
            Handler::Healthy => text(StatusCode::OK, "litekeeper is healthy.\n"),
            Handler::Ready if self.snapshot.load().complete => text(StatusCode::OK, "litekeeper is ready.\n"),
            Handler::Ready => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "litekeeper is not ready: the first sweep is under way.\n",
            ),
            Handler::Reload | Handler::Api | Handler::Act | Handler::NotFound => {
                text(StatusCode::NOT_FOUND, "not found\n")
            }
        }
    }

    async fn metrics<B>(self: Arc<Self>, request: &Request<B>) -> Response {
        let format = content_negotiation::format(request.headers());
        let gzip = content_negotiation::accepts_gzip(request.headers());
        let Some(body) = self.scrapes.body(format, gzip).await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "rendering the metrics failed; see the log\n");
        };
        tokio::spawn(async move {
            tokio::time::sleep(RELEASE_AFTER).await;
            self.scrapes.release().await;
        });
        let mut response = Response::new(ResponseBody::Scrape(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    async fn reload<B>(self: Arc<Self>, request: &Request<B>, visitor: &Principal) -> Response {
        let Some(requests) = &self.reload else {
            return text(
                StatusCode::FORBIDDEN,
                "reload by HTTP is not enabled; start litekeeper with --web.enable-lifecycle, or send SIGHUP\n",
            );
        };
        // A reload is an action: if there are operators, only they may reload.
        if self.auth.has_operators() && !visitor.can_operate {
            return text(
                StatusCode::FORBIDDEN,
                "this user is not an operator and may not reload; see web.operators\n",
            );
        }
        if !self.is_same_origin(request.headers(), request.uri()) {
            return text(StatusCode::FORBIDDEN, "cross-origin request refused\n");
        }
        let (sender, answer) = oneshot::channel();
        let answer = match requests.send(sender).await {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        match answer {
            Some(Ok(())) => text(StatusCode::OK, "reloaded\n"),
            Some(Err(message)) => text(StatusCode::BAD_REQUEST, format!("{message}\n")),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "litekeeper is shutting down\n"),
        }
    }
}

/// An error in the format of this handler.
fn problem(handler: Handler, status: StatusCode, message: &str) -> Response {
    match handler {
        Handler::Api => api::error_response(status, message),
        Handler::Metrics
        | Handler::Page
        | Handler::Healthy
        | Handler::Ready
        | Handler::Reload
        | Handler::Act
        | Handler::NotFound => text(status, format!("{message}\n")),
    }
}

fn refused(handler: Handler, error_response: AuthError) -> Response {
    match error_response {
        AuthError::Unauthorized => {
            let mut response = problem(handler, StatusCode::UNAUTHORIZED, "sign in");
            let challenge = HeaderValue::from_static("Basic realm=\"litekeeper\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
        AuthError::LoginThrottled | AuthError::RateLimited => {
            let message = "too many requests; try again later";
            let mut response = problem(handler, StatusCode::TOO_MANY_REQUESTS, message);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
            response
        }
    }
}

fn not_allowed(methods: &'static str) -> Response {
    let mut response =
        text(StatusCode::METHOD_NOT_ALLOWED, format!("method not allowed; this path accepts {methods}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telemetry_path_cannot_shadow_a_route() {
        let default = TelemetryPath::default();
        for path in [
            "/",
            "/tasks",
            pages::STYLE_PATH,
            pages::ICON_PATH,
            "/db/books",
            "/runbooks/SqliteDown",
            actions::ACT_PATH,
            "/api/v1/databases",
            "/-/healthy",
            "/-/ready",
            "/-/reload",
        ] {
            assert_ne!(handler_of(path, &default), Handler::NotFound, "{path}");
            assert!(path.parse::<TelemetryPath>().is_err(), "{path}");
        }
        let other: TelemetryPath = "/sqlite".parse().unwrap();
        assert_eq!(handler_of("/sqlite", &other), Handler::Metrics);
        assert_eq!(handler_of("/metrics", &other), Handler::NotFound);
        assert_eq!(handler_of("/metrics", &default), Handler::Metrics);
    }
}
