//! CSRF tokens: a form is accepted only from a page that this server sent to the same user.

use std::time::Duration;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// A token is valid in the period in which it was issued and in the next one.
const PERIOD: Duration = Duration::from_secs(6 * 3600);

/// Issues and verifies tokens with a key that lives as long as the process.
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

    /// Issues a token for a user.
    #[must_use]
    pub fn issue(&self, user: &str, now: SystemTime) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &content(user, period(now))))
    }

    /// Whether a token was issued to this user in this period or the one before.
    #[must_use]
    pub fn is_valid(&self, token: &str, user: &str, now: SystemTime) -> bool {
        let Ok(given) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let now = period(now);
        // `hmac::verify` compares in constant time.
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
    fn a_token_is_valid_for_one_user_and_two_periods() {
        let (tokens, others) = (CsrfTokens::new(), CsrfTokens::new());
        let now = SystemTime::now();
        let token = tokens.issue("anna", now);
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
