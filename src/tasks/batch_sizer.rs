//! How much to do at once, so that one hold of the write lock takes about as long as it is meant
//! to.

use std::time::Duration;

/// The most units at once; beyond it nothing is won.
const MAX_UNITS: u32 = 50_000;

/// A hold that lasts so many times its target is broken off.
const MAX_HOLD_FACTOR: u32 = 5;

/// What a hold costs beside its units, mostly the syncs of its commit, does not shrink with them.
/// However long that lasts, the units get this part of the target: fewer would not spare the owner,
/// but keep the job from ever ending.
const MIN_UNIT_SHARE: f64 = 0.5;

/// How much of what was learnt is kept at each hold: about the last five count.
const DECAY: f64 = 0.8;

/// A single unit that was broken off is tried so often again: any can meet a disk that stalls, and
/// finds its pages in memory at the next try.
const RETRIES: u32 = 5;

/// The size of the next piece of work, learnt from the last ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BatchSizer {
    units: u32,
    target: Duration,
    limit: Duration,
    /// What a commit takes, in seconds.
    commit: f64,
    holds: LinearFit,
    broken_off: u32,
}

impl BatchSizer {
    /// Begins small: what a unit costs here is not known yet.
    pub(super) fn new(first: u32, target: Duration) -> Self {
        Self {
            units: first,
            target,
            limit: target * MAX_HOLD_FACTOR,
            commit: 0.0,
            holds: LinearFit::default(),
            broken_off: 0,
        }
    }

    /// Has holds take another time from now on; what was learnt stays, and so does the limit.
    pub(super) fn set_target(&mut self, target: Duration) {
        if target < self.target {
            let part = target.as_secs_f64() / self.target.as_secs_f64();
            self.units = ((f64::from(self.units) * part) as u32).max(1);
        }
        self.target = target;
    }

    /// Units to do next.
    pub(super) fn units(self) -> u32 {
        self.units
    }

    /// How long they may take before the commit.
    pub(super) fn work(self) -> Duration {
        Duration::from_secs_f64(self.remaining_seconds(self.commit))
    }

    /// When a hold is broken off.
    pub(super) fn limit(self) -> Duration {
        self.limit
    }

    /// The part of a hold that is left beside so many seconds.
    fn remaining_seconds(self, seconds: f64) -> f64 {
        let target = self.target.as_secs_f64();
        (target - seconds).max(target * MIN_UNIT_SHARE)
    }

    /// Learns from a hold in which so many units were done.
    pub(super) fn record(&mut self, units: u32, hold: Duration, commit: Duration) {
        self.broken_off = 0;
        let (hold, commit) = (hold.as_secs_f64().max(1e-6), commit.as_secs_f64());
        self.commit = if self.holds.weight == 0.0 { commit } else { (self.commit + commit) / 2.0 };
        let work = (hold - commit).max(1e-7) / f64::from(units);
        self.holds.observe(f64::from(units), hold);
        let (fixed, unit) = self.holds.fit(work);
        // Up slowly, as the next rows may be larger; down at once. Rounded, so that a single unit
        // can become two.
        let factor = (self.remaining_seconds(fixed) / (unit * f64::from(units))).clamp(0.1, 1.5);
        self.units = ((f64::from(units) * factor).round() as u32).clamp(1, MAX_UNITS);
    }

    /// Learns from a hold that was broken off; `false` when there is nothing smaller, and trying
    /// again did not help.
    pub(super) fn shrink(&mut self) -> bool {
        if self.units == 1 {
            self.broken_off += 1;
            return self.broken_off <= RETRIES;
        }
        self.units = (self.units / 8).max(1);
        true
    }
}

/// A line through holds of different sizes: what a hold costs by itself, and what each unit adds.
/// The last holds weigh most.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct LinearFit {
    weight: f64,
    units: f64,
    seconds: f64,
    units_squared: f64,
    units_seconds: f64,
}

impl LinearFit {
    fn observe(&mut self, units: f64, seconds: f64) {
        for (sum, new) in [
            (&mut self.weight, 1.0),
            (&mut self.units, units),
            (&mut self.seconds, seconds),
            (&mut self.units_squared, units * units),
            (&mut self.units_seconds, units * seconds),
        ] {
            *sum = *sum * DECAY + new;
        }
    }

    /// The seconds of a hold without units, and those that each unit adds: never less than its
    /// `work` before the commit, which is known. Where that alone is believed, the sizes grow, and
    /// show what the commit adds.
    fn fit(self, work: f64) -> (f64, f64) {
        let (units, seconds) = (self.units / self.weight, self.seconds / self.weight);
        let variance = self.units_squared / self.weight - units * units;
        let covariance = self.units_seconds / self.weight - units * seconds;
        // Sizes that hardly differ say nothing of the slope.
        let slope = if variance > (0.05 * units).powi(2) { covariance / variance } else { 0.0 };
        let unit = slope.clamp(work.min(seconds / units), seconds / units);
        (seconds - unit * units, unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(20);

    /// Holds of so many milliseconds, plus microseconds of work and of commit for each unit, with a
    /// tenth of noise.
    fn read_consistently(fixed_ms: f64, work_us: f64, commit_us: f64) -> (u32, f64) {
        let mut sizer = BatchSizer::new(100, TARGET);
        let mut noise = 1_u32;
        let (mut holds, mut sizes) = (Vec::new(), Vec::new());
        for turn in 0..400 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let shaken = 0.95 + 0.1 * f64::from(noise) / f64::from(u32::MAX);
            let units = f64::from(sizer.units());
            let commit = (fixed_ms / 1e3 + units * commit_us / 1e6) * shaken;
            let hold = commit + units * work_us / 1e6;
            if turn >= 100 {
                holds.push(hold * 1e3);
                sizes.push(sizer.units());
            }
            sizer.record(sizer.units(), Duration::from_secs_f64(hold), Duration::from_secs_f64(commit));
        }
        holds.sort_by(f64::total_cmp);
        sizes.sort_unstable();
        (sizes[sizes.len() / 2], holds[holds.len() * 9 / 10])
    }

    #[test]
    fn a_hold_comes_near_its_target() {
        // (fixed, work a unit, commit a unit), then the least units and the longest holds but for a
        // tenth of them, in ms.
        for (case, least, longest) in [
            ((0.0, 100.0, 0.0), 180, 20.0),
            ((0.0, 1000.0, 0.0), 18, 20.0),
            ((2.0, 10.0, 2.0), 1300, 21.0),
            // As an incremental vacuum has it: nearly all of the work is the commit's.
            ((2.0, 1.0, 40.0), 200, 24.0),
            // A disk that needs longer for a sync than the target: the units get their part all the
            // same.
            ((25.0, 10.0, 2.0), 500, 42.0),
            ((25.0, 1.0, 40.0), 100, 55.0),
            ((200.0, 10.0, 2.0), 500, 240.0),
        ] {
            let (units, hold) = read_consistently(case.0, case.1, case.2);
            assert!(units >= least && hold <= longest, "{case:?}: {units} units, {hold:.1} ms");
        }
        assert_eq!(read_consistently(0.0, 0.0, 0.0).0, MAX_UNITS);
    }

    #[test]
    fn a_shorter_aim_is_met_at_once() {
        let mut sizer = BatchSizer::new(100, TARGET);
        for _ in 0..50 {
            sizer.record(sizer.units(), Duration::from_micros(100) * sizer.units(), Duration::ZERO);
        }
        assert!((180..=200).contains(&sizer.units()), "{sizer:?}");
        sizer.set_target(TARGET / 2);
        assert!((90..=100).contains(&sizer.units()), "{sizer:?}");
        // Longer ones come by and by, and what a single row may take does not change.
        sizer.set_target(TARGET);
        assert!(
            (90..=100).contains(&sizer.units()) && sizer.limit() == TARGET * MAX_HOLD_FACTOR,
            "{sizer:?}"
        );
    }

    #[test]
    fn a_single_unit_grows_again() {
        let mut sizer = BatchSizer::new(100, TARGET);
        sizer.record(100, TARGET * 4, Duration::ZERO);
        while sizer.units() > 1 {
            assert!(sizer.shrink());
        }
        for _ in 0..50 {
            sizer.record(sizer.units(), Duration::from_micros(100) * sizer.units(), Duration::ZERO);
        }
        assert!((180..=200).contains(&sizer.units()), "{sizer:?}");
    }

    #[test]
    fn what_is_broken_off_becomes_smaller_until_it_is_one() {
        let mut sizer = BatchSizer::new(100, TARGET);
        for units in [12, 1] {
            assert!(sizer.shrink());
            assert_eq!(sizer.units(), units);
        }
        for _ in 0..RETRIES {
            assert!(sizer.shrink());
        }
        assert!(!sizer.shrink());
    }
}
