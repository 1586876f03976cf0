//! A `tls_server_config` into what rustls serves with.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::config::ClientAuth;
use crate::config::Pem;
use crate::config::TlsConfig;

use super::client_auth;

/// A chain of certificates has some kilobytes.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Prepares TLS; an error says which file and what.
pub(super) fn server_config(tls: &TlsConfig, http2: bool) -> Result<Arc<ServerConfig>, String> {
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
        .map_err(|error| error.to_string())?;
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
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        format!(
            "cert_file and key_file cannot be used together: {error}; is the key that of the certificate?"
        )
    })?;
    config.ignore_client_order = tls.prefer_server_order;
    config.alpn_protocols =
        if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(Arc::new(config))
}

/// The suites and curves that are wanted, in the order in which they are.
fn provider(tls: &TlsConfig) -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        let known = std::mem::take(&mut provider.cipher_suites);
        // TLS 1.3 has good suites alone, and no list chooses among them, as with other exporters.
        let new = known.iter().filter(|suite| suite.tls13().is_some()).copied();
        let named =
            |name: &&str| known.iter().find(|suite| format!("{:?}", suite.suite()) == **name).copied();
        provider.cipher_suites = new.chain(tls.cipher_suites.iter().filter_map(named)).collect();
    }
    if !tls.curves.is_empty() {
        let known = std::mem::take(&mut provider.kx_groups);
        let named = |name: &&str| {
            let ours = match *name {
                "CurveP256" => "secp256r1",
                "CurveP384" => "secp384r1",
                other => other,
            };
            known.iter().find(|group| format!("{:?}", group.name()) == ours).copied()
        };
        provider.kx_groups = tls.curves.iter().filter_map(named).collect();
    }
    provider
}

/// The certificates of a PEM, at least one.
pub(super) fn certificates(pem: &Pem, key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = content(pem, key)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| format!("{} is no PEM: {error}", named(pem, key)))?;
    if chain.is_empty() {
        return Err(format!("{} holds no certificate (`-----BEGIN CERTIFICATE-----`)", named(pem, key)));
    }
    Ok(chain)
}

/// The private key of a PEM.
pub(super) fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, String> {
    let text = content(pem, "key_file")?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        format!(
            "{} holds no private key (`-----BEGIN PRIVATE KEY-----`) that can be used: {error}",
            named(pem, "key_file")
        )
    })
}

fn named(pem: &Pem, key: &str) -> String {
    match pem {
        Pem::File(path) => format!("{key} {}", path.display()),
        Pem::Text(_) => key.trim_end_matches("_file").to_owned(),
    }
}

fn content(pem: &Pem, key: &str) -> Result<Vec<u8>, String> {
    match pem {
        Pem::Text(text) => Ok(text.clone().into_bytes()),
        Pem::File(path) => read(path).map_err(|problem| format!("{}: {problem}", named(pem, key))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let described = |error: std::io::Error| format!("cannot be read: {error}");
    let found = std::fs::metadata(path).map_err(described)?;
    // A pipe would be waited for, and a large file is no certificate.
    if !found.is_file() || found.len() > MAX_PEM_BYTES {
        return Err("is no file of certificates or keys".to_owned());
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a certificate or key, which no SQLite connection has open"
    )]
    let text = std::fs::read(path);
    text.map_err(described)
}
