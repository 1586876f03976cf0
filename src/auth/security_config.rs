//! What one read of the web configuration file and its certificates yields.

use std::path::Path;

use crate::config::WebConfig;
use crate::os::FileFingerprint;
use crate::tls::TlsServer;
use crate::tls::WebConfigError;

use super::basic::PasswordVerifier;
use super::rate_limit::TokenBucket;

/// Replaced as a whole when a file changes.
#[derive(Debug)]
pub(super) struct SecurityConfig {
    pub config: WebConfig,
    pub tls: Option<TlsServer>,
    pub passwords: PasswordVerifier,
    pub bucket: Option<TokenBucket>,
    fingerprints: Vec<FileFingerprint>,
}

impl SecurityConfig {
    /// Reads the file; without one, the server speaks plain HTTP to everybody.
    pub fn read(file: Option<&Path>) -> Result<Self, WebConfigError> {
        let Some(file) = file else {
            return Ok(Self {
                config: WebConfig::default(),
                tls: None,
                passwords: PasswordVerifier::default(),
                bucket: None,
                fingerprints: Vec::new(),
            });
        };
        // Taken before the file is read, so that a change in between is noticed at the next poll.
        let own_fingerprint = FileFingerprint::of(file);
        let config = WebConfig::load(file)?;
        let mut fingerprints = vec![own_fingerprint];
        fingerprints.extend(config.files().iter().map(|path| FileFingerprint::of(path)));
        let tls = config.tls.as_ref().map(|tls| TlsServer::new(tls, config.http2)).transpose();
        let tls = tls.map_err(|error| WebConfigError::Tls { file: file.to_owned(), error })?;
        let passwords = PasswordVerifier::new(&config.users);
        let bucket = config.rate_limit.map(TokenBucket::new);
        Ok(Self { config, tls, passwords, bucket, fingerprints })
    }

    /// Whether all files are as they were when they were read.
    pub fn is_current(&self) -> bool {
        self.fingerprints.iter().all(FileFingerprint::is_current)
    }
}
