//! HTTP Basic authentication (RFC 7617) against bcrypt hashes.
//!
//! A bcrypt check takes a tenth of a second by design, so a verified password is cached as a keyed
//! digest, with a key that lives as long as the process. An unknown name takes as long as a wrong
//! password. Neither a password nor its digest may be logged.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use parking_lot::Mutex;
use ring::hmac;
use tokio::sync::Semaphore;

use crate::worker_pool::run_blocking;

/// Each user needs one entry, and another after a change of the password.
const MAX_CACHED: usize = 100;
/// A check occupies one CPU.
const MAX_CONCURRENT_CHECKS: usize = 1;
const MAX_QUEUED_CHECKS: usize = 16;
const LOGIN_QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit for name and password together.
const MAX_CREDENTIAL_BYTES: usize = 1024;
/// A hash that no password is known for, checked for unknown names.
const DUMMY_HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// A digest of name, hash and password.
type Digest = [u8; 32];

/// Verifies passwords and caches the verified ones.
#[derive(Debug)]
pub(super) struct PasswordVerifier {
    hashes: BTreeMap<String, String>,
    dummy_hash: String,
    key: hmac::Key,
    /// Values are the order of verification.
    verified: Mutex<HashMap<Digest, u64>>,
    running: Arc<Semaphore>,
    /// Counts running and queued checks.
    admitted: Arc<Semaphore>,
}

impl Default for PasswordVerifier {
    fn default() -> Self {
        Self::new(&BTreeMap::new())
    }
}

impl PasswordVerifier {
    pub fn new(hashes: &BTreeMap<String, String>) -> Self {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).expect("the system has random numbers");
        // The cost of the other hashes, so that the time of a check does not reveal whether a name
        // exists.
        let cost = hashes.values().filter_map(|hash| hash.get(4..6)).max().unwrap_or("10");
        let dummy_hash = format!("{}{cost}{}", &DUMMY_HASH[..4], &DUMMY_HASH[6..]);
        Self {
            hashes: hashes.clone(),
            dummy_hash,
            key,
            verified: Mutex::default(),
            running: Arc::new(Semaphore::new(MAX_CONCURRENT_CHECKS)),
            admitted: Arc::new(Semaphore::new(MAX_CONCURRENT_CHECKS + MAX_QUEUED_CHECKS)),
        }
    }

    fn digest(&self, name: &str, password: &[u8]) -> Digest {
        let hash = self.hashes.get(name).map_or("", String::as_str);
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name.as_bytes(), hash.as_bytes(), password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// Whether this password was verified before.
    pub fn is_cached(&self, name: &str, password: &[u8]) -> bool {
        // The lookup need not take constant time: without the key, nobody can predict a digest.
        let digest = self.digest(name, password);
        self.verified.lock().contains_key(&digest)
    }

    /// Checks a password; `None` if too many checks are running and queued.
    pub async fn verify(&self, name: &str, password: &[u8]) -> Option<bool> {
        let _admitted = Arc::clone(&self.admitted).try_acquire_owned().ok()?;
        let running = Arc::clone(&self.running).acquire_owned();
        let permit = tokio::time::timeout(LOGIN_QUEUE_TIMEOUT, running).await.ok()?.ok()?;
        // A check that finished meanwhile may have verified the same password.
        if self.is_cached(name, password) {
            return Some(true);
        }
        let hash = self.hashes.get(name).cloned();
        let exists = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy_hash.clone());
        let given = password.to_vec();
        // The permit moves into the check, which goes on when the client disconnects.
        let matches = run_blocking(move || {
            let matches = bcrypt::verify(&given, &hash).unwrap_or(false);
            drop(permit);
            matches
        })
        .await
        .unwrap_or(false);
        let is_valid = matches && exists;
        if is_valid {
            self.cache(self.digest(name, password));
        }
        Some(is_valid)
    }

    fn cache(&self, digest: Digest) {
        let mut verified = self.verified.lock();
        let next = verified.values().max().map_or(0, |last| last + 1);
        if verified.len() >= MAX_CACHED
            && let Some(oldest) = verified.iter().min_by_key(|(_, order)| **order).map(|(digest, _)| *digest)
        {
            verified.remove(&oldest);
        }
        verified.insert(digest, next);
    }
}

/// Parses name and password from the value of an `Authorization` header.
pub(super) fn parse_header(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || rest.len() > 2 * MAX_CREDENTIAL_BYTES {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    (decoded.len() <= MAX_CREDENTIAL_BYTES).then(|| (name, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier() -> PasswordVerifier {
        let hash = bcrypt::hash("s3cret", 4).unwrap();
        PasswordVerifier::new(&BTreeMap::from([("anna".to_owned(), hash)]))
    }

    #[tokio::test]
    async fn only_the_right_password_is_accepted_and_cached() {
        let passwords = verifier();
        for (name, password, right) in [
            ("anna", "wrong", false),
            ("bert", "s3cret", false),
            ("anna", "s3cret", true),
            ("anna", "", false),
        ] {
            assert_eq!(passwords.verify(name, password.as_bytes()).await, Some(right), "{name} {password}");
            assert_eq!(passwords.is_cached(name, password.as_bytes()), right, "{name} {password}");
        }
        for index in 0..1000_u16 {
            passwords.cache(passwords.digest("anna", &index.to_be_bytes()));
        }
        assert_eq!(passwords.verified.lock().len(), MAX_CACHED);
    }

    #[test]
    fn an_unknown_name_costs_as_much_as_a_known_one() {
        assert!(verifier().dummy_hash.starts_with("$2y$04$"), "{}", verifier().dummy_hash);
        assert_eq!(PasswordVerifier::default().dummy_hash, DUMMY_HASH);
        assert!(!bcrypt::verify("", &verifier().dummy_hash).unwrap());
    }

    #[test]
    fn the_header_is_parsed_as_rfc_7617_defines_it() {
        let read = |text: &str| parse_header(text.as_bytes());
        assert_eq!(read("Basic YW5uYTpzM2NyZXQ="), Some(("anna".into(), b"s3cret".to_vec())));
        assert_eq!(read("bAsIc YW5uYTphOmI="), Some(("anna".into(), b"a:b".to_vec())));
        for refused in
            ["", "Basic", "Basic ", "Basic !!", "Bearer YW5uYTpzM2NyZXQ=", "Basic YW5uYQ==", "Basic /zo="]
        {
            assert_eq!(read(refused), None, "{refused}");
        }
        assert_eq!(read(&format!("Basic {}", "QUFB".repeat(1000))), None);
    }
}
