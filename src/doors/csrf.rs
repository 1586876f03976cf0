//! Tokens in forms: only a page of this server, shown to this user, can send them.

use std::time::Duration;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// How long a page may lie open before its buttons want a fresh one; twice this at the most.
const PERIOD: Duration = Duration::from_secs(6 * 3600);

/// Makes and checks tokens, with a key that lives as long as the process.
#[derive(Debug)]
pub struct CsrfTokens {
    key: hmac::Key,
}

impl CsrfTokens {
    pub(super) fn new() -> Self {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).expect("the system has random numbers");
        Self { key }
    }

    /// A token for a user.
    #[must_use]
    pub fn make(&self, user: &str, now: SystemTime) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &content(user, period(now))))
    }

    /// Whether a token was made for a user not long ago.
    #[must_use]
    pub fn is_valid(&self, token: &str, user: &str, now: SystemTime) -> bool {
        let Ok(given) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let now = period(now);
        // Compared in constant time by ring.
        [now, now.saturating_sub(1)]
            .into_iter()
            .any(|period| hmac::verify(&self.key, &content(user, period), &given).is_ok())
    }
}

fn period(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / PERIOD.as_secs()
}

fn content(user: &str, period: u64) -> Vec<u8> {
    [&period.to_be_bytes()[..], user.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_user_and_some_hours() {
        let (tokens, others) = (CsrfTokens::new(), CsrfTokens::new());
        let now = SystemTime::now();
        let token = tokens.make("anna", now);
        assert!(tokens.is_valid(&token, "anna", now + PERIOD));
        for (valid, what) in [
            (tokens.is_valid(&token, "bert", now), "another user"),
            (tokens.is_valid(&token, "anna", now + 2 * PERIOD), "later"),
            (others.is_valid(&token, "anna", now), "another process"),
            (tokens.is_valid("", "anna", now), "nothing"),
            (tokens.is_valid("!", "anna", now), "nonsense"),
        ] {
            assert!(!valid, "{what}");
        }
    }
}
