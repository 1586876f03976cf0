//! A row of the route table: path, methods, the statuses of its responses, and its part of the
//! OpenAPI document.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::handler::Handler;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::ALLOW;
use axum::routing::MethodFilter;
use axum::routing::MethodRouter;
use utoipa::__dev::SchemaReferences;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;
use utoipa::openapi::path::PathItem;

use super::handler_label::HandlerLabel;
use super::response::error;
use super::state::AppState;

/// Statuses of every route: authentication, other methods, rate limits.
const COMMON_STATUSES: [u16; 3] = [401, 405, 429];

/// A row of the route table.
pub(super) struct Route {
    pub label: HandlerLabel,
    /// Below the route prefix, in axum's syntax: `{*name}` matches the rest of a path.
    pub path: String,
    pub statuses: BTreeSet<u16>,
    pub documentation: Vec<Documentation>,
    methods: MethodRouter<Arc<AppState>>,
    allow: Vec<&'static str>,
}

/// An operation of the OpenAPI document.
pub(super) struct Documentation {
    pub path: String,
    pub item: PathItem,
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

impl Route {
    pub fn new(label: HandlerLabel, path: &str) -> Self {
        Self {
            label,
            path: path.to_owned(),
            statuses: COMMON_STATUSES.into(),
            documentation: Vec::new(),
            methods: MethodRouter::new(),
            allow: Vec::new(),
        }
    }

    /// The handler of GET, and of HEAD without a body.
    pub fn get<H: Handler<T, Arc<AppState>>, T: 'static>(self, handler: H) -> Self {
        self.on(MethodFilter::GET, &["GET", "HEAD"], handler)
    }

    pub fn post<H: Handler<T, Arc<AppState>>, T: 'static>(self, handler: H) -> Self {
        self.on(MethodFilter::POST, &["POST"], handler)
    }

    pub fn put<H: Handler<T, Arc<AppState>>, T: 'static>(self, handler: H) -> Self {
        self.on(MethodFilter::PUT, &["PUT"], handler)
    }

    fn on<H: Handler<T, Arc<AppState>>, T: 'static>(
        mut self,
        filter: MethodFilter,
        names: &[&'static str],
        handler: H,
    ) -> Self {
        self.methods = self.methods.on(filter, handler);
        self.allow.extend(names);
        self
    }

    /// Adds statuses of the handlers.
    pub fn responds(mut self, statuses: &[u16]) -> Self {
        self.statuses.extend(statuses);
        self
    }

    /// Adds the documentation of a handler, which `#[utoipa::path]` generates, and its statuses.
    pub fn documented<P: utoipa::Path + SchemaReferences>(mut self) -> Self {
        let operation = P::operation();
        self.statuses
            .extend(operation.responses.responses.keys().filter_map(|status| status.parse::<u16>().ok()));
        let mut schemas = Vec::new();
        P::schemas(&mut schemas);
        let item = PathItem::from_http_methods(P::methods(), operation);
        self.documentation.push(Documentation { path: P::path(), item, schemas });
        self
    }

    /// The handlers of the route; other methods get 405.
    pub fn into_methods(self) -> MethodRouter<Arc<AppState>> {
        let (label, allow) = (self.label, self.allow.join(", "));
        self.methods.fallback(move || async move {
            let message = format!("method not allowed; this path accepts {allow}");
            let mut response = error(label, StatusCode::METHOD_NOT_ALLOWED, &message);
            if let Ok(allow) = HeaderValue::try_from(allow) {
                response.headers_mut().insert(ALLOW, allow);
            }
            response
        })
    }
}
