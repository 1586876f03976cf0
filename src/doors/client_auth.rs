//! What is asked of a client's certificate: a signature of somebody who is trusted, and a name that is allowed.

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

use super::tls::certificates;
use super::x509_san::subject_names;

/// Prepares the checks that a configuration asks for.
pub(super) fn verifier(
    tls: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let signed_by = match (&tls.client_authority, tls.client_auth.verifies()) {
        (Some(authority), true) => Some(signed_by(authority, tls.client_auth, provider)?),
        (Some(_) | None, _) => None,
    };
    Ok(Arc::new(Verifier {
        signed_by,
        allowed_names: tls.client_names.clone(),
        requires: tls.client_auth.requires(),
        provider: Arc::clone(provider),
    }))
}

fn signed_by(
    authority: &Pem,
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority, "client_ca_file")? {
        roots.add(certificate).map_err(|error| format!("client_ca_file cannot be used: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if auth.requires() { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|error| format!("client_ca_file cannot be used: {error}"))?;
    Ok(verifier)
}

/// Asks for a certificate, and lets in whom the configuration allows. That the client has the key of its certificate is
/// proven in every case.
#[derive(Debug)]
struct Verifier {
    signed_by: Option<Arc<dyn ClientCertVerifier>>,
    allowed_names: Vec<String>,
    requires: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed_by.as_ref().map_or(&[], |signed_by| signed_by.root_hint_subjects())
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
        if let Some(signed_by) = &self.signed_by {
            signed_by.verify_client_cert(certificate, chain, now)?;
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
