//! Verifies client certificates: signed by the configured authority, and issued for an allowed
//! name.

use std::sync::Arc;

use rustls::DigitallySignedStruct;
use rustls::DistinguishedName;
use rustls::Error;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerified;
use rustls::server::danger::ClientCertVerifier;

use crate::config::ClientAuth;
use crate::config::Pem;
use crate::config::TlsConfig;

use super::error::TlsError;
use super::pem::certificates;
use super::pem::input;
use super::x509_san::subject_names;

/// Builds the verifier for the configured `client_auth_type`.
pub(super) fn verifier(
    tls: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let chain_verifier = match (&tls.client_authority, tls.client_auth.verifies()) {
        (Some(authority), true) => Some(chain_verifier(authority, tls.client_auth, provider)?),
        (Some(_) | None, _) => None,
    };
    Ok(Arc::new(Verifier {
        chain_verifier,
        allowed_names: tls.client_names.clone(),
        requires: tls.client_auth.requires(),
        provider: Arc::clone(provider),
    }))
}

fn chain_verifier(
    authority: &Pem,
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    let unusable = |error: String| TlsError::Authority { input: input(authority, "client_ca_file"), error };
    for certificate in certificates(authority, "client_ca_file")? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if auth.requires() { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|error| unusable(error.to_string()))?;
    Ok(verifier)
}

/// Requests a certificate and accepts those that the configuration allows. The handshake's
/// signature is verified in every case, so that a client always owns the key of the certificate it
/// presents.
#[derive(Debug)]
struct Verifier {
    chain_verifier: Option<Arc<dyn ClientCertVerifier>>,
    allowed_names: Vec<String>,
    requires: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain_verifier.as_ref().map_or(&[], |verifier| verifier.root_hint_subjects())
    }

    fn client_auth_mandatory(&self) -> bool {
        self.requires
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain_verifier) = &self.chain_verifier {
            chain_verifier.verify_client_cert(certificate, chain, now)?;
        }
        if !self.allowed_names.is_empty() {
            let names = subject_names(certificate)
                .ok_or(Error::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
            if !names.iter().any(|name| self.allowed_names.contains(name)) {
                return Err(Error::InvalidCertificate(
                    rustls::CertificateError::ApplicationVerificationFailure,
                ));
            }
        }
        Ok(ClientCertVerified::assertion())
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
