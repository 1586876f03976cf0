//! What is served where.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http_body_util::Full;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
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
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::actions::ActionQueue;
use crate::auth::AccessControl;
use crate::auth::AuthError;
use crate::auth::Principal;
use crate::collectors::Snapshot;
use crate::config::ExternalUrl;
use crate::config::RoutePrefix;
use crate::config::TelemetryPath;
use crate::config::WebSettings;
use crate::metrics::AgentMetrics;
use crate::metrics::Handler;
use crate::metrics::JobMetrics;
use crate::span;
use crate::state_store::StateStore;
use crate::trends::Trends;

use super::actions;
use super::api;
use super::body;
use super::content_negotiation;
use super::pages;
use super::request_spans::span_of;
use super::response_body::ReplyBody;
use super::same_origin;
use super::scrapes;
use super::scrapes::Scrapes;

impl Handler {
    /// Whether a request of this method comes with something to read.
    fn takes_body(self, method: &Method) -> bool {
        *method == Method::POST && matches!(self, Self::Api | Self::Act)
    }
}

/// The address of a request without the prefix of the routes; `None` where it is not below it.
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

/// Who answers at a path.
fn handler_of(path: &str, telemetry_path: &TelemetryPath) -> Handler {
    match path {
        path if path == telemetry_path.as_str() => Handler::Metrics,
        "/" | "/tasks" | pages::STYLE_PATH | pages::ICON_PATH => Handler::Page,
        path if path.starts_with("/db/") || path.starts_with(RUNBOOKS_PATH) => Handler::Page,
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

/// A wish for a reload, and where to say how it went.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

pub(super) type Reply = Response<ReplyBody>;

/// Where the runbooks are, each under its alert's name.
pub(super) const RUNBOOKS_PATH: &str = "/runbooks/";

const PLAIN: &str = "text/plain; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// How long after a scrape its text is freed, unless a client still reads it.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// Everything that the routes read.
#[derive(Debug)]
pub struct AppState {
    /// The metrics.
    pub scrapes: Scrapes,
    /// The databases, for the page.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The agent's counters.
    pub metrics: Arc<AgentMetrics>,
    /// Under which paths everything is served, and where browsers reach the server.
    pub web: WebSettings,
    /// Who may come in.
    pub auth: Arc<AccessControl>,
    /// Maintenance, for the pages.
    pub jobs: Arc<JobMetrics>,
    /// How databases went over time.
    pub trends: Arc<Trends>,
    /// The state file.
    pub history: Arc<StateStore>,
    /// Has done what users ask for.
    pub desk: Arc<ActionQueue>,
    /// Given to the one look on request.
    pub debugging: Arc<Semaphore>,
    /// Where `POST /-/reload` goes; `None` while it is not enabled.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
}

impl AppState {
    /// Answers one request.
    pub(super) async fn answer<B>(self: Arc<Self>, request: Request<B>, from: Option<IpAddr>) -> Reply
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
        let mut reply = match auth.authenticate(from, authorization).await {
            Ok(visitor) => {
                let span = span_of(handler, &request);
                let reply = self.receive(handler, &request, body, from, &visitor);
                let reply = reply.instrument(span.clone()).await;
                span::answered(&span, reply.status().as_u16());
                reply
            }
            Err(refusal) => refused(handler, refusal),
        };
        metrics.requested(handler, reply.status().as_u16());
        reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in auth.headers() {
            // Names and values were checked when they were read.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                reply.headers_mut().insert(name, value);
            }
        }
        if request.method() == Method::HEAD {
            // The length stays as a GET would have it.
            let length = reply.body().size_hint().exact().unwrap_or(0);
            reply.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            *reply.body_mut() = ReplyBody::Whole(Full::default());
        }
        reply
    }

    /// Answers somebody who was let in. Only what takes a body reads one.
    async fn receive<B>(
        self: Arc<Self>,
        handler: Handler,
        request: &Request<()>,
        body: B,
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !handler.takes_body(request.method()) {
            return self.answer_visitor(handler, request, from, visitor).await;
        }
        match body::whole(body).await {
            Ok(body) => self.take(handler, request, &body, from, visitor).await,
            Err((status, words)) => problem(handler, status, &words),
        }
    }

    /// Answers what comes with a body.
    async fn take(
        self: Arc<Self>,
        handler: Handler,
        request: &Request<()>,
        body: &[u8],
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> Reply {
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

    async fn answer_visitor(
        self: Arc<Self>,
        handler: Handler,
        request: &Request<()>,
        from: Option<IpAddr>,
        visitor: &Principal,
    ) -> Reply {
        match (handler, request.method()) {
            (Handler::Reload, &Method::POST | &Method::PUT) => self.reload(request, visitor).await,
            (Handler::Reload, _) => not_allowed("POST, PUT"),
            (Handler::Api, _) => self.api(request, &[], from, visitor).await,
            (Handler::Act, _) => not_allowed("POST"),
            (Handler::NotFound, _) => self.elsewhere(request),
            (_, &Method::GET | &Method::HEAD) => self.read(handler, request, visitor).await,
            _ => not_allowed("GET, HEAD"),
        }
    }

    /// Answers a request for no route: a redirect from above the prefix to the index page, else that there is nothing.
    fn elsewhere(&self, request: &Request<()>) -> Reply {
        let index = self.web.prefix().index_seen_from(request.uri().path());
        let Some(location) = index.and_then(|index| HeaderValue::try_from(index).ok()) else {
            return self.not_found();
        };
        let mut reply = text(StatusCode::FOUND, format!("see {}/\n", self.web.prefix()));
        reply.headers_mut().insert(LOCATION, location);
        reply
    }

    /// Whether no other site caused a request that changes something.
    pub(super) fn is_own(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        same_origin::is_own(headers, uri, self.web.external_url.as_ref().map(ExternalUrl::authority))
    }

    async fn read<B>(self: Arc<Self>, handler: Handler, request: &Request<B>, visitor: &Principal) -> Reply {
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

    async fn metrics<B>(self: Arc<Self>, request: &Request<B>) -> Reply {
        let format = content_negotiation::format(request.headers());
        let gzip = content_negotiation::accepts_gzip(request.headers());
        let Some(body) = self.scrapes.body(format, gzip).await else {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the metrics could not be formatted; see the log\n",
            );
        };
        tokio::spawn(async move {
            tokio::time::sleep(RELEASE_AFTER).await;
            self.scrapes.release().await;
        });
        let mut reply = Response::new(ReplyBody::Scrape(body));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        reply
    }

    async fn reload<B>(self: Arc<Self>, request: &Request<B>, visitor: &Principal) -> Reply {
        let Some(requests) = &self.reload else {
            return text(
                StatusCode::FORBIDDEN,
                "reload by HTTP is not enabled; start litekeeper with --web.enable-lifecycle, or send SIGHUP\n",
            );
        };
        // Where some may act and others may not, a reload is an act.
        if self.auth.has_operators() && !visitor.can_operate {
            return text(StatusCode::FORBIDDEN, "this user may read, and not reload; see web.operators\n");
        }
        if !self.is_own(request.headers(), request.uri()) {
            return text(StatusCode::FORBIDDEN, "a page of another site asks for this reload\n");
        }
        let (sender, answer) = oneshot::channel();
        let answer = match requests.send(sender).await {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        match answer {
            Some(Ok(())) => text(StatusCode::OK, "reloaded\n"),
            Some(Err(message)) => text(StatusCode::BAD_REQUEST, format!("{message}\n")),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "litekeeper is stopping\n"),
        }
    }
}

fn compressed(text: &str) -> Bytes {
    scrapes::compressed([text.as_bytes()]).into()
}

pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(ReplyBody::Whole(Full::new(body.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// An answer whose text may be long, compressed for those who take that.
pub(super) fn send<B>(request: &Request<B>, status: StatusCode, kind: &'static str, body: String) -> Reply {
    let gzip = content_negotiation::accepts_gzip(request.headers());
    let mut reply = with_type(status, kind, if gzip { compressed(&body) } else { Bytes::from(body) });
    reply.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    reply
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    with_type(status, PLAIN, body)
}

/// What is wrong, in the form in which this part of the server says it.
fn problem(handler: Handler, status: StatusCode, words: &str) -> Reply {
    match handler {
        Handler::Api => api::refusal(status, words),
        Handler::Metrics
        | Handler::Page
        | Handler::Healthy
        | Handler::Ready
        | Handler::Reload
        | Handler::Act
        | Handler::NotFound => text(status, format!("{words}\n")),
    }
}

fn refused(handler: Handler, refusal: AuthError) -> Reply {
    match refusal {
        AuthError::Unauthorized => {
            let mut reply = problem(handler, StatusCode::UNAUTHORIZED, "sign in");
            let challenge = HeaderValue::from_static("Basic realm=\"litekeeper\", charset=\"UTF-8\"");
            reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            reply
        }
        AuthError::LoginThrottled | AuthError::RateLimited => {
            let words = "too many requests; try again later";
            let mut reply = problem(handler, StatusCode::TOO_MANY_REQUESTS, words);
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
            reply
        }
    }
}

fn not_allowed(methods: &'static str) -> Reply {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, format!("this path answers {methods} alone\n"));
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_can_take_nobodys_path() {
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
