//! Who sends a request. The middleware adds this to each request for its handler.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::Uri;

use crate::actions::Requester;
use crate::auth::Principal;
use crate::config::ExternalUrl;

use super::same_origin;
use super::state::AppState;

/// The address of the client; `None` for a unix socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub Option<IpAddr>);

/// The authenticated sender of a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub principal: Principal,
    pub address: Option<IpAddr>,
}

impl Caller {
    /// The operator who requests an action with a request that is not cross-origin.
    ///
    /// # Errors
    /// Why the caller may not act.
    pub fn authorize(
        &self,
        state: &AppState,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Requester, &'static str> {
        if !state.auth.has_operators() {
            return Err("there are no operators; `web.operators` in the configuration names them");
        }
        let Some(user) = self.principal.name.clone().filter(|_| self.principal.can_operate) else {
            return Err("this user is not an operator; see `web.operators` in the configuration");
        };
        if !is_same_origin(state, headers, uri) {
            return Err("cross-origin request refused");
        }
        Ok(Requester { user, address: self.address.map(|address| address.to_string()).unwrap_or_default() })
    }
}

/// Whether a request is not cross-origin.
pub(super) fn is_same_origin(state: &AppState, headers: &HeaderMap, uri: &Uri) -> bool {
    let external = state.web.external_url.as_ref().map(ExternalUrl::authority);
    same_origin::is_same_origin(headers, uri, external)
}
