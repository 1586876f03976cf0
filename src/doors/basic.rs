//! Names and passwords.
//!
//! A bcrypt check costs a tenth of a second by design, so a password that was right is remembered: as a keyed digest, with a
//! key that lives as long as the process. An unknown name takes as long as a wrong password. No password, and no digest of
//! one, may get into a log.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use parking_lot::Mutex;
use ring::hmac;
use tokio::sync::Semaphore;

use crate::worker_pool::run_blocking;

/// Right passwords that are remembered; each user has one, and one more after a change.
const MAX_REMEMBERED: usize = 100;
/// Checks at once, each on a processor of its own; and those that wait for their turn.
const CHECKS_AT_ONCE: usize = 1;
const CHECKS_WAITING: usize = 16;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest name and password together.
const MAX_CREDENTIAL_BYTES: usize = 1024;
/// A hash of a password that nobody has, for names that nobody has.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// A digest of name, hash and password.
type Digest = [u8; 32];

/// Who may sign in.
#[derive(Debug)]
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    nobody: String,
    key: hmac::Key,
    /// In the order in which they were found right.
    remembered: Mutex<HashMap<Digest, u64>>,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Users {
    fn default() -> Self {
        Self::new(&BTreeMap::new())
    }
}

impl Users {
    pub fn new(hashes: &BTreeMap<String, String>) -> Self {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).expect("the system has random numbers");
        // The same cost as most others have, so that time does not tell a name from none.
        let cost = hashes.values().filter_map(|hash| hash.get(4..6)).max().unwrap_or("10");
        let nobody = format!("{}{cost}{}", &NOBODY[..4], &NOBODY[6..]);
        Self {
            hashes: hashes.clone(),
            nobody,
            key,
            remembered: Mutex::default(),
            turns: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            places: Arc::new(Semaphore::new(CHECKS_AT_ONCE + CHECKS_WAITING)),
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

    /// Whether this was found right before.
    pub fn knows(&self, name: &str, password: &[u8]) -> bool {
        // The key makes digests that nobody can foresee, so how far two agree tells nothing.
        let digest = self.digest(name, password);
        self.remembered.lock().contains_key(&digest)
    }

    /// Checks a name and a password; `None` when too many others are being checked.
    pub async fn verify(&self, name: &str, password: &[u8]) -> Option<bool> {
        let _place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let turn =
            tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await.ok()?.ok()?;
        // Somebody with the same password may have had the turn before.
        if self.knows(name, password) {
            return Some(true);
        }
        let known = self.hashes.get(name).cloned();
        let (hash, exists) = (known.clone().unwrap_or_else(|| self.nobody.clone()), known.is_some());
        let given = password.to_vec();
        // The turn goes with the check, also when the client goes away meanwhile.
        let right = run_blocking(move || {
            let right = bcrypt::verify(&given, &hash).unwrap_or(false);
            drop(turn);
            right
        })
        .await
        .unwrap_or(false);
        let right = right && exists;
        if right {
            self.remember(self.digest(name, password));
        }
        Some(right)
    }

    fn remember(&self, digest: Digest) {
        let mut remembered = self.remembered.lock();
        let next = remembered.values().max().map_or(0, |last| last + 1);
        if remembered.len() >= MAX_REMEMBERED
            && let Some(oldest) = remembered.iter().min_by_key(|(_, turn)| **turn).map(|(digest, _)| *digest)
        {
            remembered.remove(&oldest);
        }
        remembered.insert(digest, next);
    }
}

/// Name and password of an `Authorization: Basic` (RFC 7617).
pub(super) fn basic(header: &[u8]) -> Option<(String, Vec<u8>)> {
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

    fn users() -> Users {
        let hash = bcrypt::hash("s3cret", 4).unwrap();
        Users::new(&BTreeMap::from([("anna".to_owned(), hash)]))
    }

    #[tokio::test]
    async fn only_the_right_password_is_right_and_remembered() {
        let users = users();
        for (name, password, right) in [
            ("anna", "wrong", false),
            ("bert", "s3cret", false),
            ("anna", "s3cret", true),
            ("anna", "", false),
        ] {
            assert_eq!(users.verify(name, password.as_bytes()).await, Some(right), "{name} {password}");
            assert_eq!(users.knows(name, password.as_bytes()), right, "{name} {password}");
        }
        for index in 0..1000_u16 {
            users.remember(users.digest("anna", &index.to_be_bytes()));
        }
        assert_eq!(users.remembered.lock().len(), MAX_REMEMBERED);
    }

    #[test]
    fn an_unknown_name_costs_what_a_known_one_does() {
        assert!(users().nobody.starts_with("$2y$04$"), "{}", users().nobody);
        assert_eq!(Users::default().nobody, NOBODY);
        assert!(!bcrypt::verify("", &users().nobody).unwrap());
    }

    #[test]
    fn the_header_is_read_as_the_standard_has_it() {
        let read = |text: &str| basic(text.as_bytes());
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
