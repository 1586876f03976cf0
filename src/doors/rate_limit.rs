//! How often: the configured limit on requests, and the one on wrong passwords, which is always there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::RateLimit;

/// Wrong passwords from one address before it has to wait.
const FAILURES_AT_ONCE: u32 = 10;
/// What one more try costs then. 14,400 tries a day guess no password worth the name.
const FAILURE_INTERVAL: Duration = Duration::from_secs(6);
/// Addresses that are remembered; with more at once, those that may try again first are forgotten.
const MAX_ADDRESSES: usize = 4096;

/// A bucket of tokens, kept as the moment at which it would be full again (the generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct TokenBucket {
    limit: RateLimit,
    full_at: Mutex<Option<Instant>>,
}

impl TokenBucket {
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, full_at: Mutex::new(None) }
    }

    /// Takes a token, if there is one.
    pub fn take(&self, now: Instant) -> bool {
        let mut full_at = self.full_at.lock();
        match spend(&self.limit, *full_at, now) {
            Some(next) => {
                *full_at = Some(next);
                true
            }
            None => false,
        }
    }
}

/// When the bucket is full again after one more token, unless it is empty.
fn spend(limit: &RateLimit, full_at: Option<Instant>, now: Instant) -> Option<Instant> {
    let next = full_at.unwrap_or(now).max(now) + limit.interval;
    (next <= now + limit.interval * limit.burst).then_some(next)
}

/// Wrong passwords by address.
#[derive(Debug, Default)]
pub(super) struct LoginThrottle(Mutex<HashMap<IpAddr, Instant>>);

impl LoginThrottle {
    const LIMIT: RateLimit = RateLimit { burst: FAILURES_AT_ONCE, interval: FAILURE_INTERVAL };

    /// Whether an address may try.
    pub fn allows(&self, from: IpAddr, now: Instant) -> bool {
        let known = self.0.lock();
        spend(&Self::LIMIT, known.get(&network(from)).copied(), now).is_some()
    }

    /// Counts a wrong password.
    pub fn count(&self, from: IpAddr, now: Instant) {
        let mut known = self.0.lock();
        if known.len() >= MAX_ADDRESSES {
            known.retain(|_, full_at| *full_at > now);
        }
        if known.len() >= MAX_ADDRESSES
            && let Some(first) = known.iter().min_by_key(|(_, full_at)| **full_at).map(|(from, _)| *from)
        {
            known.remove(&first);
        }
        let full_at = known.entry(network(from)).or_insert(now);
        *full_at = (*full_at).max(now) + FAILURE_INTERVAL;
    }
}

/// Whoever has one address of IPv6 has the 2^64 of its network.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_an_interval() {
        let bucket = TokenBucket::new(RateLimit { burst: 3, interval: Duration::from_secs(10) });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let taken: Vec<bool> =
            [0, 0, 0, 0, 9, 10, 10, 35, 35, 36].into_iter().map(|seconds| bucket.take(at(seconds))).collect();
        assert_eq!(taken, [true, true, true, false, false, true, false, true, true, false]);
    }

    #[test]
    fn wrong_passwords_are_counted_by_network() {
        let failures = LoginThrottle::default();
        let start = Instant::now();
        let attacker: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..FAILURES_AT_ONCE {
            assert!(failures.allows(attacker, start));
            failures.count(attacker, start);
        }
        assert!(!failures.allows("2001:db8::ffff".parse().unwrap(), start), "the same network");
        assert!(failures.allows("2001:db8:0:1::1".parse().unwrap(), start), "another one");
        assert!(failures.allows(attacker, start + FAILURE_INTERVAL));
        for index in 0..10_000_u32 {
            failures.count(IpAddr::V4(index.into()), start);
        }
        assert!(failures.0.lock().len() <= MAX_ADDRESSES);
        assert!(!failures.allows(attacker, start), "the one that waits longest is kept");
    }
}
