//! Limits the request rate, if configured, and the rate of wrong passwords per client network,
//! always.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::RateLimit;

/// Wrong passwords that a network may send at once.
const FAILURE_BURST: u32 = 10;
/// Time per further wrong password. 14,400 attempts per day do not find a strong password.
const FAILURE_INTERVAL: Duration = Duration::from_secs(6);
/// Number of networks tracked; beyond it, the one whose limit expires first is dropped.
const MAX_NETWORKS: usize = 4096;

/// A token bucket, stored as the time at which it is full again (generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct TokenBucket {
    limit: RateLimit,
    full_at: Mutex<Option<Instant>>,
}

impl TokenBucket {
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, full_at: Mutex::new(None) }
    }

    /// Takes a token; false if the bucket is empty.
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

/// The time at which the bucket is full again after taking one token; `None` if it is empty.
fn spend(limit: &RateLimit, full_at: Option<Instant>, now: Instant) -> Option<Instant> {
    let next = full_at.unwrap_or(now).max(now) + limit.interval;
    (next <= now + limit.interval * limit.burst).then_some(next)
}

/// Counts wrong passwords per client network.
#[derive(Debug, Default)]
pub(super) struct LoginThrottle(Mutex<HashMap<IpAddr, Instant>>);

impl LoginThrottle {
    const LIMIT: RateLimit = RateLimit { burst: FAILURE_BURST, interval: FAILURE_INTERVAL };

    /// Whether a client may try a password.
    pub fn allows(&self, from: IpAddr, now: Instant) -> bool {
        let networks = self.0.lock();
        spend(&Self::LIMIT, networks.get(&network(from)).copied(), now).is_some()
    }

    pub fn record_failure(&self, from: IpAddr, now: Instant) {
        let mut networks = self.0.lock();
        if networks.len() >= MAX_NETWORKS {
            networks.retain(|_, full_at| *full_at > now);
        }
        if networks.len() >= MAX_NETWORKS
            && let Some(first) = networks.iter().min_by_key(|(_, full_at)| **full_at).map(|(from, _)| *from)
        {
            networks.remove(&first);
        }
        let full_at = networks.entry(network(from)).or_insert(now);
        *full_at = (*full_at).max(now) + FAILURE_INTERVAL;
    }
}

/// The IPv4 address, or the /64 network of an IPv6 address, as one host can use all addresses of
/// it.
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
        for _ in 0..FAILURE_BURST {
            assert!(failures.allows(attacker, start));
            failures.record_failure(attacker, start);
        }
        assert!(!failures.allows("2001:db8::ffff".parse().unwrap(), start), "the same network");
        assert!(failures.allows("2001:db8:0:1::1".parse().unwrap(), start), "another one");
        assert!(failures.allows(attacker, start + FAILURE_INTERVAL));
        for index in 0..10_000_u32 {
            failures.record_failure(IpAddr::V4(index.into()), start);
        }
        assert!(failures.0.lock().len() <= MAX_NETWORKS);
        assert!(!failures.allows(attacker, start), "the one that waits longest is kept");
    }
}
