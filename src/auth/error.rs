//! Why a request is rejected, and why the access configuration cannot be used.

use crate::tls::WebConfigError;

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// The credentials are missing or wrong.
    Unauthorized,
    /// Too many wrong passwords from this address, or too many password checks at once.
    LoginThrottled,
    /// The configured request rate is exceeded.
    RateLimited,
}

/// Access settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessConfigError {
    /// The web configuration file is invalid, or a certificate that it names.
    #[error(transparent)]
    WebConfig(#[from] WebConfigError),
    /// An operator without a password.
    #[error(
        "web.operators: `{0}` cannot sign in; give them a password under `basic_auth_users` in the file of `web.config_file`"
    )]
    UnknownOperator(String),
    /// A reload would turn TLS off.
    #[error("without `tls_server_config` the server would no longer use TLS; restart to apply this")]
    RemovesTls,
    /// A reload would turn authentication off.
    #[error(
        "without `basic_auth_users` the server would no longer require a password; restart to apply this"
    )]
    RemovesUsers,
}
