//! Loads certificates and private keys from PEM files, or from PEM text inside a configuration
//! file.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::config::Pem;

use super::error::TlsError;

/// A certificate chain has some kilobytes.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Loads a chain of at least one certificate. `key` is the configuration key that names it.
pub(super) fn certificates(pem: &Pem, key: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = content(pem, key)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| TlsError::InvalidPem { input: input(pem, key), error })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(input(pem, key)));
    }
    Ok(chain)
}

/// Loads the first private key.
pub(super) fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = content(pem, "key_file")?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| TlsError::NoPrivateKey { input: input(pem, "key_file"), error })
}

/// The configuration key and, for a file, its path.
pub(super) fn input(pem: &Pem, key: &str) -> String {
    match pem {
        Pem::File(path) => format!("{key} {}", path.display()),
        Pem::Text(_) => key.trim_end_matches("_file").to_owned(),
    }
}

fn content(pem: &Pem, key: &str) -> Result<Vec<u8>, TlsError> {
    match pem {
        Pem::Text(text) => Ok(text.clone().into_bytes()),
        Pem::File(path) => read(path, || input(pem, key)),
    }
}

fn read(path: &Path, input: impl Fn() -> String) -> Result<Vec<u8>, TlsError> {
    let cannot_read = |error| TlsError::Read { input: input(), error };
    let metadata = std::fs::metadata(path).map_err(cannot_read)?;
    // Opening a pipe would block until somebody writes to it.
    if !metadata.is_file() || metadata.len() > MAX_PEM_BYTES {
        return Err(TlsError::NotAPemFile(input()));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a certificate or key, which no SQLite connection has open"
    )]
    let text = std::fs::read(path);
    text.map_err(cannot_read)
}
