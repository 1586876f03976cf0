//! The types of a web configuration file, in the format of Prometheus' exporter-toolkit
//! (<https://github.com/prometheus/exporter-toolkit/blob/v0.14.0/docs/web-configuration.md>).
//!
//! What stands here is what the file says. The module `tls` checks whether the certificates can be loaded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A web configuration file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WebConfig {
    /// TLS; `None` for plain text.
    pub tls: Option<TlsConfig>,
    /// Whether HTTP/2 is offered where there is TLS.
    pub http2: bool,
    /// Headers of every answer, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Names and bcrypt hashes; nobody has to sign in when it is empty.
    pub users: BTreeMap<String, String>,
    /// The most requests, of all clients together.
    pub rate_limit: Option<RateLimit>,
    /// What the file asks for and gets in another way, for the log.
    pub notes: Vec<String>,
}

/// So many requests at once, and one more each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests at once.
    pub burst: u32,
    /// What one more costs.
    pub interval: Duration,
}

/// A file, or its content in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// In a file.
    File(PathBuf),
    /// In the configuration.
    Text(String),
}

/// The key `tls_server_config`.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsConfig {
    /// The server's certificate and its chain.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Who may sign certificates of clients.
    pub client_authority: Option<Pem>,
    /// A certificate of a client must have one of these names; any will do when empty.
    pub client_names: Vec<String>,
    /// Whether TLS 1.2 is spoken.
    pub tls12: bool,
    /// Whether TLS 1.3 is spoken.
    pub tls13: bool,
    /// Cipher suites of TLS 1.2, by their registered names; all that are safe when empty.
    pub cipher_suites: Vec<&'static str>,
    /// Key exchanges, by their names in Go; all when empty.
    pub curves: Vec<&'static str>,
    /// Whether the server's order of cipher suites counts.
    pub prefer_server_order: bool,
}

/// What is asked of clients, by the words of Go's `tls.ClientAuthType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    None,
    /// A certificate, which need not come and is not checked.
    Request,
    /// Some certificate.
    RequireAny,
    /// A certificate is checked if it comes.
    VerifyIfGiven,
    /// A certificate that is checked.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether somebody must have signed the certificate.
    #[must_use]
    pub fn verifies(self) -> bool {
        match self {
            Self::VerifyIfGiven | Self::RequireAndVerify => true,
            Self::None | Self::Request | Self::RequireAny => false,
        }
    }

    /// Whether there is no way in without a certificate.
    #[must_use]
    pub fn requires(self) -> bool {
        match self {
            Self::RequireAny | Self::RequireAndVerify => true,
            Self::None | Self::Request | Self::VerifyIfGiven => false,
        }
    }
}

impl WebConfig {
    /// The files that it names.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(tls) = &self.tls else { return Vec::new() };
        let pems = [Some(&tls.certificate), Some(&tls.key), tls.client_authority.as_ref()];
        pems.into_iter()
            .flatten()
            .filter_map(|pem| match pem {
                Pem::File(path) => Some(path.clone()),
                Pem::Text(_) => None,
            })
            .collect()
    }
}
