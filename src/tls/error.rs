//! Why TLS cannot be set up.
//!
//! A message names the configuration key and the file, and never quotes the content of a file.

use std::io;
use std::path::PathBuf;

use crate::config::ConfigErrors;

/// A TLS configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `input` is the configuration key, followed by the path for a file.
    #[error("{input}: cannot be read: {error}")]
    Read {
        /// Key and path.
        input: String,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A directory, pipe or device, or a file that is larger than any certificate chain.
    #[error("{0}: not a certificate or key file")]
    NotAPemFile(String),
    /// The PEM encoding is broken.
    #[error("{input} is not valid PEM: {error}")]
    InvalidPem {
        /// Key and path.
        input: String,
        /// The parser's error.
        error: rustls::pki_types::pem::Error,
    },
    /// A PEM file without a certificate section.
    #[error("{0} contains no certificate (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate(String),
    /// A PEM file without a private key section, or with a key of an unknown type.
    #[error("{input} contains no usable private key (`-----BEGIN PRIVATE KEY-----`): {error}")]
    NoPrivateKey {
        /// Key and path.
        input: String,
        /// The parser's error.
        error: rustls::pki_types::pem::Error,
    },
    /// The private key does not belong to the certificate, or rustls does not support it.
    #[error("cert_file and key_file cannot be used together: {0}; does the key belong to the certificate?")]
    KeyPair(rustls::Error),
    /// A client certificate without its key, or a key without its certificate.
    #[error("cert_file and key_file must be set together")]
    IncompleteKeyPair,
    /// A certificate authority that rustls rejects.
    #[error("{input} cannot be used: {error}")]
    Authority {
        /// Key and path.
        input: String,
        /// The verifier's error.
        error: String,
    },
    /// The operating system has no trust store.
    #[error(
        "this system trusts no certificate authority (is ca-certificates installed?); set `ca_file` to the collector's"
    )]
    NoTrustedAuthority,
    /// A host or `server_name` that is neither a DNS name nor an IP address.
    #[error("`{0}` is not a valid server name")]
    InvalidServerName(String),
    /// The configured protocol versions and cipher suites do not fit together.
    #[error("{0}")]
    Protocol(rustls::Error),
}

/// A web configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {
    /// The file is missing or has invalid content.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
    /// The section `tls_server_config` cannot be applied.
    #[error("{}: tls_server_config: {error}", file.display())]
    Tls {
        /// The web configuration file.
        file: PathBuf,
        /// What is wrong with the section.
        error: TlsError,
    },
}
