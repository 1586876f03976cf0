//! Builds the server side of TLS from the section `tls_server_config` of a web configuration file.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use tokio_rustls::TlsAcceptor;

use crate::config::ClientAuth;
use crate::config::TlsConfig;

use super::client_auth;
use super::error::TlsError;
use super::pem::certificates;
use super::pem::private_key;

/// TLS as the web server accepts it.
#[derive(Debug, Clone)]
pub struct TlsServer(Arc<ServerConfig>);

impl TlsServer {
    /// Loads certificate, key and client authority, and offers HTTP/2 if `http2` is set.
    ///
    /// # Errors
    /// A file cannot be used, or the settings contradict each other.
    pub fn new(tls: &TlsConfig, http2: bool) -> Result<Self, TlsError> {
        let provider = Arc::new(provider(tls));
        let mut versions = Vec::new();
        if tls.tls13 {
            versions.push(&rustls::version::TLS13);
        }
        if tls.tls12 {
            versions.push(&rustls::version::TLS12);
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(TlsError::Protocol)?;
        let builder = match tls.client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Request
            | ClientAuth::RequireAny
            | ClientAuth::VerifyIfGiven
            | ClientAuth::RequireAndVerify => {
                builder.with_client_cert_verifier(client_auth::verifier(tls, &provider)?)
            }
        };
        let chain = certificates(&tls.certificate, "cert_file")?;
        let key = private_key(&tls.key)?;
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::KeyPair)?;
        config.ignore_client_order = tls.prefer_server_order;
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(Self(Arc::new(config)))
    }

    /// Accepts connections with these settings, also after a reload has replaced them for later
    /// connections.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}

/// The configured cipher suites and curves, in the configured order.
fn provider(tls: &TlsConfig) -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        let available = std::mem::take(&mut provider.cipher_suites);
        // All TLS 1.3 suites stay enabled: as in Go's exporters, `cipher_suites` applies to TLS 1.2
        // only.
        let tls13 = available.iter().filter(|suite| suite.tls13().is_some()).copied();
        let find =
            |name: &&str| available.iter().find(|suite| format!("{:?}", suite.suite()) == **name).copied();
        provider.cipher_suites = tls13.chain(tls.cipher_suites.iter().filter_map(find)).collect();
    }
    if !tls.curves.is_empty() {
        let available = std::mem::take(&mut provider.kx_groups);
        let find = |name: &&str| {
            let rustls_name = match *name {
                "CurveP256" => "secp256r1",
                "CurveP384" => "secp384r1",
                other => other,
            };
            available.iter().find(|group| format!("{:?}", group.name()) == rustls_name).copied()
        };
        provider.kx_groups = tls.curves.iter().filter_map(find).collect();
    }
    provider
}
