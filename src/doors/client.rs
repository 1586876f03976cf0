//! TLS of the one kind of connection that litekeeper opens itself: to a collector of traces.
//!
//! It never goes on without a certificate that somebody trusted has signed for the name that was asked for.

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

use super::tls::certificates;
use super::tls::private_key;

/// How connections to one host are secured.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Outgoing({:?})", self.name)
    }
}

impl TlsClient {
    /// Prepares connections to a host.
    ///
    /// # Errors
    /// A file that cannot be used, or a name that no certificate can have; in words.
    pub fn new(host: &str, tls: &CollectorTls) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(tls)?);
        let mut config = match (&tls.cert_file, &tls.key_file) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(&Pem::File(certificate.clone()), "cert_file")?;
                let key = private_key(&Pem::File(key.clone()))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("cert_file and key_file cannot be used together: {error}"))?
            }
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) | (None, Some(_)) => {
                return Err("a certificate and its key go together; one of them is missing".to_owned());
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("`{name}` is no name that a certificate can have"))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Secures a connection.
    ///
    /// # Errors
    /// The other side does not prove who it is, or goes away.
    pub async fn secure<S>(
        &self,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.connector.connect(self.name.clone(), stream).await
    }
}

/// Who may sign: those whom the configuration names, or those whom the system trusts (`SSL_CERT_FILE`, `SSL_CERT_DIR`).
fn roots(tls: &CollectorTls) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match &tls.ca_file {
        Some(file) => {
            for certificate in certificates(&Pem::File(file.clone()), "ca_file")? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("ca_file {} cannot be used: {error}", file.display()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(
                    "this system trusts no authority (no ca-certificates?); name the collector's as `ca_file`"
                        .to_owned(),
                );
            }
        }
    }
    Ok(roots)
}
