//! Authenticates requests: request rate first, then name and password, then whether the user is an
//! operator.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::config::Listen;
use crate::config::WebSettings;
use crate::tls::TlsAcceptor;
use crate::tls::TlsServer;

use super::basic;
use super::csrf::CsrfTokens;
use super::error::AccessConfigError;
use super::error::AuthError;
use super::rate_limit::LoginThrottle;
use super::security_config::SecurityConfig;

/// Stands for all clients of a unix socket, which have no address, in the count of wrong passwords.
const UNIX_SOCKET_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Access rules in force; they follow the web configuration file and `web.operators`.
#[derive(Debug)]
pub struct AccessControl {
    file: Option<PathBuf>,
    operators: ArcSwap<Vec<String>>,
    security: ArcSwap<SecurityConfig>,
    login_throttle: LoginThrottle,
    tokens: CsrfTokens,
}

/// An authenticated client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `None` if the server requires no password.
    pub name: Option<String>,
    /// Whether the user may run, pause and resume tasks.
    pub can_operate: bool,
}

impl AccessControl {
    /// Reads the web configuration file that the settings name.
    ///
    /// # Errors
    /// The file is invalid, a certificate cannot be used, or an operator has no password.
    pub fn open(settings: &WebSettings) -> Result<Self, AccessConfigError> {
        let file = settings.config_file.clone();
        let security = SecurityConfig::read(file.as_deref())?;
        let auth = Self {
            file,
            operators: ArcSwap::from_pointee(Vec::new()),
            security: ArcSwap::from_pointee(security),
            login_throttle: LoginThrottle::default(),
            tokens: CsrfTokens::new(),
        };
        auth.set_operators(&settings.operators)?;
        auth.log_warnings();
        Ok(auth)
    }

    /// Replaces the users who may run, pause and resume tasks.
    ///
    /// # Errors
    /// One of them has no password; nothing changes then.
    pub fn set_operators(&self, names: &[String]) -> Result<(), AccessConfigError> {
        let security = self.security.load();
        if let Some(unknown) = names.iter().find(|name| !security.config.users.contains_key(*name)) {
            return Err(AccessConfigError::UnknownOperator(unknown.clone()));
        }
        self.operators.store(Arc::new(names.to_vec()));
        Ok(())
    }

    /// The web configuration file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether any user may run, pause and resume tasks.
    #[must_use]
    pub fn has_operators(&self) -> bool {
        !self.operators.load().is_empty()
    }

    /// Whether new connections must use TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.security.load().tls.is_some()
    }

    /// Number of users with a password; with none, the server requires no password.
    #[must_use]
    pub fn users(&self) -> usize {
        self.security.load().config.users.len()
    }

    /// Accepts TLS on a new connection; `None` for plain HTTP.
    #[must_use]
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        self.security.load().tls.as_ref().map(TlsServer::acceptor)
    }

    /// Headers that the file adds to every response.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let security = self.security.load();
        security.config.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// CSRF tokens for forms.
    #[must_use]
    pub fn tokens(&self) -> &CsrfTokens {
        &self.tokens
    }

    /// Authenticates a request by the value of its `Authorization` header.
    ///
    /// # Errors
    /// The reason for rejecting the request.
    pub async fn authenticate(
        &self,
        from: Option<IpAddr>,
        authorization: Option<&[u8]>,
    ) -> Result<Principal, AuthError> {
        let security = self.security.load_full();
        if security.bucket.as_ref().is_some_and(|bucket| !bucket.take(Instant::now())) {
            return Err(AuthError::RateLimited);
        }
        if security.config.users.is_empty() {
            return Ok(Principal { name: None, can_operate: false });
        }
        let (name, password) = authorization.and_then(basic::parse_header).ok_or(AuthError::Unauthorized)?;
        if !security.passwords.is_cached(&name, &password) {
            let from = from.unwrap_or(UNIX_SOCKET_ADDRESS);
            if !self.login_throttle.allows(from, Instant::now()) {
                return Err(AuthError::LoginThrottled);
            }
            match security.passwords.verify(&name, &password).await {
                None => return Err(AuthError::LoginThrottled),
                Some(false) => {
                    self.login_throttle.record_failure(from, Instant::now());
                    tracing::warn!(address = %from, "login failed");
                    return Err(AuthError::Unauthorized);
                }
                Some(true) => {}
            }
        }
        let can_operate = self.operators.load().contains(&name);
        Ok(Principal { name: Some(name), can_operate })
    }

    /// Applies changed files; `None` if nothing has changed. An error leaves the rules in force as
    /// they are.
    pub(super) fn reload(&self) -> Option<Result<(), AccessConfigError>> {
        let before = self.security.load_full();
        if before.is_current() {
            return None;
        }
        Some(self.replace(&before))
    }

    fn replace(&self, before: &SecurityConfig) -> Result<(), AccessConfigError> {
        let security = SecurityConfig::read(self.file.as_deref())?;
        // A file that is incomplete because it is being written, or emptied by mistake, must not
        // remove protection.
        if before.tls.is_some() && security.tls.is_none() {
            return Err(AccessConfigError::RemovesTls);
        }
        if !before.config.users.is_empty() && security.config.users.is_empty() {
            return Err(AccessConfigError::RemovesUsers);
        }
        self.security.store(Arc::new(security));
        self.log_warnings();
        Ok(())
    }

    fn log_warnings(&self) {
        for warning in &self.security.load().config.notes {
            tracing::warn!(warning, "web configuration");
        }
    }
}

/// Logs a warning if operators send their passwords over the network in plain text.
pub fn warn_insecure_listen(auth: &AccessControl, addresses: &[Listen]) {
    let exposed: Vec<String> =
        addresses.iter().filter(|address| !address.is_local()).map(ToString::to_string).collect();
    if !exposed.is_empty() && auth.has_operators() && !auth.has_tls() {
        tracing::warn!(
            addresses = exposed.join(" "),
            "operators' passwords cross the network in plain text: add `tls_server_config` to the web configuration file, or listen \
             on loopback only"
        );
    }
}
