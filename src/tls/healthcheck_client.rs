//! TLS of `litekeeper healthcheck`: trusts exactly the certificate that the web configuration file
//! names.
//!
//! Client and server run on the same machine and read the same file, so neither an authority nor a
//! host name would add anything. This client must never be used to connect to another server.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::Error;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;

use crate::config::TlsConfig;
use crate::config::WebConfig;

use super::client::TlsClient;
use super::error::TlsError;
use super::error::WebConfigError;
use super::pem::certificates;

/// Connects to the server of one web configuration file.
#[derive(Debug)]
pub struct PinnedTlsClient {
    /// Trusts the server's certificate alone.
    pub client: TlsClient,
    /// Whether the server rejects this client, which has no certificate.
    pub server_requires_certificate: bool,
}

impl PinnedTlsClient {
    /// Reads a web configuration file; `None` if its server speaks plain HTTP.
    ///
    /// # Errors
    /// The file is invalid, or its certificate cannot be read.
    pub fn from_web_config(file: &Path) -> Result<Option<Self>, WebConfigError> {
        let config = WebConfig::load(file)?;
        let client = config.tls.as_ref().map(Self::new).transpose();
        client.map_err(|error| WebConfigError::Tls { file: file.to_owned(), error })
    }

    fn new(tls: &TlsConfig) -> Result<Self, TlsError> {
        let pinned = certificates(&tls.certificate, "cert_file")?.swap_remove(0);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(PinnedCertVerifier { pinned, provider: Arc::clone(&provider) });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Protocol)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Ok(Self {
            client: TlsClient::from_config(config, name),
            server_requires_certificate: tls.client_auth.requires(),
        })
    }
}

/// Whether the server ended the connection by an alert, which shows that it is running.
#[must_use]
pub fn is_tls_alert(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    matches!(cause, Some(Error::AlertReceived(_)))
}

/// Accepts exactly one certificate, if the server proves that it has its key.
#[derive(Debug)]
struct PinnedCertVerifier {
    pinned: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertVerifier {
    fn verify_server_cert(
        &self,
        presented: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *presented == self.pinned {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General(
                "the server presents a certificate other than the one in the web configuration file"
                    .to_owned(),
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
