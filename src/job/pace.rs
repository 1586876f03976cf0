//! How much to do at once, so that one hold of the write lock takes about as long as it is meant to.

use std::time::Duration;

/// Aimed at a little below the target: then a pause that meets every waiting writer can be shorter, see
/// `Writer::pause_for_others`.
const AIM: f64 = 0.87;

/// The most units at once; beyond it nothing is won.
const MOST: u32 = 50_000;

/// A hold that lasts so many times its target is broken off.
const LIMIT: u32 = 5;

/// The size of the next piece of work, learnt from the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    units: u32,
    target: Duration,
}

impl Pace {
    /// Begins small: what a unit costs here is not known yet.
    pub(super) fn new(first: u32, target: Duration) -> Self {
        Self { units: first, target }
    }

    /// Units to do next.
    pub(super) fn units(self) -> u32 {
        self.units
    }

    /// When a hold is broken off.
    pub(super) fn limit(self) -> Duration {
        self.target * LIMIT
    }

    /// Learns from a hold in which `units` were done.
    pub(super) fn held(&mut self, hold: Duration) {
        let hold = hold.as_secs_f64().max(1e-6);
        // Up slowly, as the next rows may be larger; down at once.
        let factor = (self.target.as_secs_f64() * AIM / hold).clamp(0.1, 1.5);
        self.units = ((f64::from(self.units) * factor) as u32).clamp(1, MOST);
    }

    /// Learns from a hold that was broken off; `false` when there is nothing smaller.
    pub(super) fn too_long(&mut self) -> bool {
        if self.units == 1 {
            return false;
        }
        self.units = (self.units / 8).max(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_settles_below_the_target() {
        // A unit takes 0.1 ms, then 1 ms, then nothing at all.
        let mut pace = Pace::new(100, Duration::from_millis(20));
        for _ in 0..20 {
            pace.held(Duration::from_micros(100) * pace.units());
        }
        assert!((165..=175).contains(&pace.units()), "{pace:?}");
        for _ in 0..20 {
            pace.held(Duration::from_millis(1) * pace.units());
        }
        assert!((16..=18).contains(&pace.units()), "{pace:?}");
        for _ in 0..40 {
            pace.held(Duration::ZERO);
        }
        assert_eq!(pace.units(), MOST);
    }

    #[test]
    fn what_takes_too_long_becomes_smaller_until_nothing_is_smaller() {
        let mut pace = Pace::new(100, Duration::from_millis(20));
        assert!(pace.too_long() && pace.units() == 12);
        assert!(pace.too_long() && pace.units() == 1);
        assert!(!pace.too_long());
    }
}
