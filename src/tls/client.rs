//! The TLS client, with the settings for the OTLP collector, the only server that litekeeper
//! connects to by itself.
//!
//! A connection to it is established only if a trusted authority has signed the server's
//! certificate for the requested name.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio_rustls::TlsConnector;

use crate::config::CollectorTls;
use crate::config::Pem;

use super::error::TlsError;
use super::pem::certificates;
use super::pem::input;
use super::pem::private_key;

/// Connects to one host over TLS.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TlsClient({:?})", self.name)
    }
}

impl TlsClient {
    /// Loads the files that `tls` names. The server's certificate must be valid for `server_name`,
    /// or else for `host`.
    ///
    /// # Errors
    /// A file cannot be used, or the name is not a valid server name.
    pub fn new(host: &str, tls: &CollectorTls) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Protocol)?
            .with_root_certificates(roots(tls)?);
        let mut config = match (&tls.cert_file, &tls.key_file) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(&Pem::File(certificate.clone()), "cert_file")?;
                let key = private_key(&Pem::File(key.clone()))?;
                builder.with_client_auth_cert(chain, key).map_err(TlsError::KeyPair)?
            }
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) | (None, Some(_)) => return Err(TlsError::IncompleteKeyPair),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::InvalidServerName(name.to_owned()))?;
        Ok(Self::from_config(config, name))
    }

    /// A client for a server with this name.
    pub(super) fn from_config(config: ClientConfig, name: ServerName<'static>) -> Self {
        Self { connector: TlsConnector::from(Arc::new(config)), name }
    }

    /// Performs the handshake on an open connection.
    ///
    /// # Errors
    /// The server's certificate is not trusted, or the connection breaks.
    pub async fn connect<S>(
        &self,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.connector.connect(self.name.clone(), stream).await
    }
}

/// The authorities of `ca_file`, or else those of the system (`SSL_CERT_FILE`, `SSL_CERT_DIR`).
fn roots(tls: &CollectorTls) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match &tls.ca_file {
        Some(file) => {
            let pem = Pem::File(file.clone());
            for certificate in certificates(&pem, "ca_file")? {
                roots.add(certificate).map_err(|error| TlsError::Authority {
                    input: input(&pem, "ca_file"),
                    error: error.to_string(),
                })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoTrustedAuthority);
            }
        }
    }
    Ok(roots)
}
