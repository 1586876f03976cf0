//! The doors of the web server: TLS, who may come in, how often, and who may act. The only door to rustls, ring and bcrypt.
//!
//! Secrets are compared in constant time and never written anywhere. A changed file is taken over while the server runs; one
//! that is wrong changes nothing, and none opens a door that was locked at the start.

mod basic;
mod client;
mod client_auth;
mod csrf;
mod file_fingerprint;
mod healthcheck_client;
mod rate_limit;
mod reload;
mod tls;
mod x509_san;

pub use client::TlsClient;
pub use csrf::CsrfTokens;
pub use healthcheck_client::PinnedTlsClient;
pub use reload::follow;

use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;

use crate::config::Listen;
use crate::config::WebConfig;
use crate::config::WebSettings;

use basic::Users;
use file_fingerprint::FileFingerprint;
use rate_limit::LoginThrottle;
use rate_limit::TokenBucket;

/// The doors as one reading of the files has them.
#[derive(Debug)]
struct Locks {
    config: WebConfig,
    tls: Option<Arc<rustls::ServerConfig>>,
    users: Users,
    bucket: Option<TokenBucket>,
    stamps: Vec<FileFingerprint>,
}

/// The doors in force, over all changes of the files.
#[derive(Debug)]
pub struct AccessControl {
    file: Option<PathBuf>,
    operators: ArcSwap<Vec<String>>,
    locks: ArcSwap<Locks>,
    failures: LoginThrottle,
    tokens: CsrfTokens,
    /// Where a client comes from when it has no address: all users of a unix socket.
    nowhere: IpAddr,
}

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name that was signed in with; `None` where nobody has to.
    pub name: Option<String>,
    /// Whether tasks may be run, paused and resumed.
    pub may_act: bool,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// No name and password, or wrong ones.
    SignIn,
    /// Too many wrong ones from this address, or too many sign-ins at once.
    TooManyFailures,
    /// More requests than the configured limit.
    TooManyRequests,
}

impl AccessControl {
    /// Opens the doors that the settings describe.
    ///
    /// # Errors
    /// The file is wrong, a certificate cannot be used, or nobody could act who should; in words.
    pub fn open(settings: &WebSettings) -> Result<Self, String> {
        let file = settings.config_file.clone();
        let locks = Locks::read(file.as_deref())?;
        let doors = Self {
            file,
            operators: ArcSwap::from_pointee(Vec::new()),
            locks: ArcSwap::from_pointee(locks),
            failures: LoginThrottle::default(),
            tokens: CsrfTokens::new(),
            nowhere: IpAddr::from([0, 0, 0, 0]),
        };
        doors.set_acting_users(&settings.operators)?;
        doors.say_notes();
        Ok(doors)
    }

    /// Replaces who may act.
    ///
    /// # Errors
    /// One of them cannot sign in; nothing changes then.
    pub fn set_acting_users(&self, names: &[String]) -> Result<(), String> {
        let locks = self.locks.load();
        if let Some(stranger) = names.iter().find(|name| !locks.config.users.contains_key(*name)) {
            return Err(format!(
                "web.operators: `{stranger}` cannot sign in; give them a password under `basic_auth_users` in the file of `web.config_file`"
            ));
        }
        self.operators.store(Arc::new(names.to_vec()));
        Ok(())
    }

    /// The web configuration file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether anybody may act.
    #[must_use]
    pub fn has_acting_users(&self) -> bool {
        !self.operators.load().is_empty()
    }

    /// Whether there is TLS now.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.locks.load().tls.is_some()
    }

    /// How many users can sign in; nobody has to where there are none.
    #[must_use]
    pub fn users(&self) -> usize {
        self.locks.load().config.users.len()
    }

    /// How a connection becomes one with TLS; `None` for plain text.
    #[must_use]
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        self.locks.load().tls.clone().map(TlsAcceptor::from)
    }

    /// Headers that the file wants on every answer.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let locks = self.locks.load();
        locks.config.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The tokens of forms.
    #[must_use]
    pub fn tokens(&self) -> &CsrfTokens {
        &self.tokens
    }

    /// Lets a request in or not, by its `Authorization`.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn admit(
        &self,
        from: Option<IpAddr>,
        authorization: Option<&[u8]>,
    ) -> Result<Principal, AuthError> {
        let locks = self.locks.load_full();
        if locks.bucket.as_ref().is_some_and(|bucket| !bucket.take(Instant::now())) {
            return Err(AuthError::TooManyRequests);
        }
        if locks.config.users.is_empty() {
            return Ok(Principal { name: None, may_act: false });
        }
        let (name, password) = authorization.and_then(basic::basic).ok_or(AuthError::SignIn)?;
        if !locks.users.knows(&name, &password) {
            let from = from.unwrap_or(self.nowhere);
            if !self.failures.allows(from, Instant::now()) {
                return Err(AuthError::TooManyFailures);
            }
            match locks.users.verify(&name, &password).await {
                None => return Err(AuthError::TooManyFailures),
                Some(false) => {
                    self.failures.count(from, Instant::now());
                    tracing::warn!(address = %from, "a sign-in was refused");
                    return Err(AuthError::SignIn);
                }
                Some(true) => {}
            }
        }
        let may_act = self.operators.load().contains(&name);
        Ok(Principal { name: Some(name), may_act })
    }

    /// Takes over changed files. `None` when nothing changed; an error in words changes nothing.
    fn renew(&self) -> Option<Result<(), String>> {
        let before = self.locks.load_full();
        if before.stamps.iter().all(FileFingerprint::is_current) {
            return None;
        }
        let renewed =
            Locks::read(self.file.as_deref()).and_then(|locks| {
                // A file that is being written, or emptied by mistake, must not open what is locked.
                if before.tls.is_some() && locks.tls.is_none() {
                    return Err("without `tls_server_config` the doors would be open; restart to have it so"
                        .to_owned());
                }
                if !before.config.users.is_empty() && locks.config.users.is_empty() {
                    return Err("without `basic_auth_users` the doors would be open; restart to have it so"
                        .to_owned());
                }
                self.locks.store(Arc::new(locks));
                self.say_notes();
                Ok(())
            });
        Some(renewed)
    }

    fn say_notes(&self) {
        for note in &self.locks.load().config.notes {
            tracing::warn!(note, "web configuration");
        }
    }
}

impl Locks {
    fn read(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else {
            return Ok(Self {
                config: WebConfig::default(),
                tls: None,
                users: Users::default(),
                bucket: None,
                stamps: Vec::new(),
            });
        };
        // Taken before the files are read: what changes meanwhile is read again.
        let own_stamp = FileFingerprint::of(file);
        let config = WebConfig::load(file).map_err(|errors| errors.to_string())?;
        let mut stamps = vec![own_stamp];
        stamps.extend(config.files().iter().map(|path| FileFingerprint::of(path)));
        let tls = config.tls.as_ref().map(|tls| tls::server_config(tls, config.http2)).transpose();
        let tls = tls.map_err(|problem| format!("{}: tls_server_config: {problem}", file.display()))?;
        let users = Users::new(&config.users);
        let bucket = config.rate_limit.map(TokenBucket::new);
        Ok(Self { config, tls, users, bucket, stamps })
    }
}

/// Says it when whoever listens on the network could act, or learn a password on the way.
pub fn warn_of_open_doors(doors: &AccessControl, places: &[Listen]) {
    let open: Vec<String> =
        places.iter().filter(|place| !place.is_local()).map(ToString::to_string).collect();
    if !open.is_empty() && doors.has_acting_users() && !doors.has_tls() {
        tracing::warn!(
            addresses = open.join(" "),
            "users may act, and their passwords cross the network in plain text: add `tls_server_config` to the web configuration file, \
             or listen on loopback"
        );
    }
}
