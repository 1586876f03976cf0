//! TLS of the web server, of the OTLP exporter and of `litekeeper healthcheck`. No other module
//! uses rustls.
//!
//! Keys and certificates are read from the files that the configuration names and are never logged.

mod client;
mod client_auth;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod healthcheck_client;
mod pem;
mod server;
mod x509_san;

pub use client::TlsClient;
pub use error::TlsError;
pub use error::WebConfigError;
pub use healthcheck_client::PinnedTlsClient;
pub use healthcheck_client::is_tls_alert;
pub use server::TlsServer;

pub use tokio_rustls::TlsAcceptor;
