//! The client of this server's own health check: it trusts the one certificate that the web configuration file names.
//!
//! Whoever asks stands on the same machine and reads the same file, so neither an authority nor the name in the certificate
//! says more than that file does. It must never be used to speak to another server.

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
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::TlsConfig;
use crate::config::WebConfig;

use super::tls::certificates;

/// How to speak TLS with the server of a web configuration file.
pub struct PinnedTlsClient {
    connector: TlsConnector,
    certificate_asked: bool,
}

impl PinnedTlsClient {
    /// The client for the server of this web configuration file; `None` where that speaks plain text.
    ///
    /// # Errors
    /// The file is wrong, or its certificate cannot be read; in words.
    pub fn of(file: &Path) -> Result<Option<Self>, String> {
        let config = WebConfig::load(file).map_err(|errors| errors.to_string())?;
        let client = config.tls.as_ref().map(Self::new).transpose();
        client.map_err(|problem| format!("{}: tls_server_config: {problem}", file.display()))
    }

    fn new(tls: &TlsConfig) -> Result<Self, String> {
        let own = certificates(&tls.certificate, "cert_file")?.swap_remove(0);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(PinnedCertVerifier { own, provider: Arc::clone(&provider) });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { connector, certificate_asked: tls.client_auth.requires() })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// The other side does not speak TLS, shows another certificate, or turns this client away.
    pub async fn connect<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.connector.connect(name, stream).await
    }

    /// Whether an error is the server's refusal of a client without a certificate, as the file wants it: it lives.
    #[must_use]
    pub fn is_turned_away(&self, error: &io::Error) -> bool {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
        self.certificate_asked && matches!(cause, Some(Error::AlertReceived(_)))
    }
}

/// Takes the one certificate, and proof that the server has its key.
#[derive(Debug)]
struct PinnedCertVerifier {
    own: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertVerifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.own {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General(
                "it shows another certificate than the web configuration file names".to_owned(),
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
