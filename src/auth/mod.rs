//! Access to the web server: passwords, rate limits, operators and CSRF tokens. No other module
//! uses ring or bcrypt.
//!
//! Secrets are compared in constant time and never logged. A changed web configuration file is
//! applied while the server runs; an invalid one changes nothing, and none can remove TLS or the
//! need for a password before a restart.

mod access_control;
mod basic;
mod csrf;
mod error;
mod rate_limit;
mod reload;
mod security_config;

pub use access_control::AccessControl;
pub use access_control::Principal;
pub use access_control::warn_insecure_listen;
pub use error::AuthError;
pub use reload::watch_files;
