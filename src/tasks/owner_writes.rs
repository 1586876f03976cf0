//! When the application writes, as it is seen between our holds of the write lock, and when a hold
//! fits in between.
//!
//! An application without a busy timeout (SQLite's default) gets "database is locked" for each try
//! that meets a hold, and nobody sees such a try. What is seen are its writes. The time from the
//! end of one to the begin of the next is learnt, and a hold is placed right after a write and kept
//! shorter than any gap of late: an application that writes every few milliseconds then hardly ever
//! meets one. What a hold may have cost all the same is estimated from the gaps and has to be paid
//! with writes of the application that went through, so that the refused ones stay a small share of
//! all. While no write is seen, the share of time in which the lock is held is the share of writes
//! that would be refused, and is kept as small.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::sqlite::ForeignWrites;
use crate::sqlite::JournalMode;

/// The part of an application's writes that may be refused, in WAL mode and else, with a margin:
/// less than 0.01 and 0.05 are promised. A commit of a rollback database waits for the disk, so its
/// holds are longer.
const MAX_REFUSED_SHARE: (f64, f64) = (0.005, 0.035);

/// So many of the last gaps are known. The next one is shorter than all of them in one case of
/// `MAX_GAPS` + 1, whatever the application does.
const MAX_GAPS: usize = 100;

/// The part of a short gap, the tenth part of all are shorter, in which holds are placed.
const WINDOW_SHARE: f64 = 0.4;

/// A moment is known if the last look was so short a time ago, or a tenth of the gap: between two
/// looks the processor may have been somebody else's.
const PROMPT_WITHIN: Duration = Duration::from_millis(1);

/// The part of a window that a hold may last; it begins in the rest.
const HOLD_SHARE: f64 = 0.75;

/// With fewer gaps nothing is known yet.
const MIN_GAPS: usize = 4;

/// A hold that has no longer than this is not worth its commit.
const MIN_WINDOW: f64 = 0.000_5;

/// A hold is taken for longer than it was seen to be: who waits for the processor begins late.
const MARGIN: f64 = 1.3;

/// The same in seconds.
const LATENESS_SECONDS: f64 = 200e-6;

/// A hold that meets so few tries, as expected, need not be right after a write.
const NEGLIGIBLE_REFUSALS: f64 = 0.005;

/// An application that was not seen to write for so long may do so at any moment.
const SILENT_AFTER_SECONDS: f64 = 1.0;

/// How long is looked for writes before the first hold.
const FIRST_OBSERVATION: Duration = Duration::from_millis(100);

/// Whether it is our turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldDecision {
    /// Not yet.
    Wait,
    /// Now, for as long as usual.
    Start,
    /// Now, for no longer than this.
    StartWithin(Duration),
}

/// What was seen of the application's writes.
#[derive(Debug)]
pub(super) struct OwnerWrites {
    /// The part of its writes that may be refused.
    share: f64,
    /// From the end of one write to the begin of the next, in seconds.
    gaps: VecDeque<f64>,
    shortest: f64,
    /// A gap that few are shorter than.
    short: f64,
    longest: f64,
    /// Since when nobody else has the lock, as far as it was seen.
    free_since: Instant,
    /// Whether the write before that was seen.
    is_gap: bool,
    seen: ForeignWrites,
    seen_at: Instant,
    /// The last write that was seen.
    last: Option<Instant>,
    /// Writes that may have been refused, less those that the application's writes since allow.
    debt: f64,
    /// The end of the rest after a hold.
    rests_until: Instant,
    /// The end of the pause by which the lock is free for most of the time.
    not_before: Instant,
    /// What the last commits took, in seconds, where that does not shrink with the work.
    commits: VecDeque<f64>,
    /// The last hold, in seconds.
    usual: f64,
    held_at: Instant,
    syncs: bool,
}

impl OwnerWrites {
    /// Nothing is known yet but when the last write was, if that is known.
    pub(super) fn new(mode: JournalMode, seen: ForeignWrites, last: Option<Instant>, now: Instant) -> Self {
        let (share, syncs) = match mode {
            JournalMode::Wal => (MAX_REFUSED_SHARE.0, false),
            JournalMode::Rollback => (MAX_REFUSED_SHARE.1, true),
        };
        Self {
            share,
            gaps: VecDeque::with_capacity(MAX_GAPS),
            shortest: 0.0,
            short: 0.0,
            longest: 0.0,
            free_since: now,
            is_gap: false,
            seen,
            seen_at: now,
            last,
            debt: 0.0,
            rests_until: now,
            not_before: now + FIRST_OBSERVATION,
            commits: VecDeque::new(),
            usual: 0.007,
            held_at: now,
            syncs,
        }
    }

    /// The last write that was seen, ours not counted.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last
    }

    /// How often to look.
    pub(super) fn step(&self) -> Duration {
        const STEPS: (f64, f64) = (50e-6, 500e-6);
        Duration::from_secs_f64((self.shortest / 50.0).clamp(STEPS.0, STEPS.1))
    }

    /// Takes in what is seen now.
    pub(super) fn observe(&mut self, seen: ForeignWrites, now: Instant) {
        let (was, unseen) = (self.seen, now.duration_since(self.seen_at));
        // It cannot be read while it is written.
        let seen = ForeignWrites { mark: seen.mark.or(was.mark), ..seen };
        let committed = seen.mark != was.mark;
        if !was.locked && (seen.locked || committed) {
            let gap = now.duration_since(self.free_since);
            if self.is_gap && unseen <= PROMPT_WITHIN.max(gap / 10) {
                self.observe_gap(gap.as_secs_f64());
            }
            self.last = Some(now);
        }
        if !seen.locked && (was.locked || committed) {
            // It ended after the last look, but nobody knows when.
            (self.free_since, self.is_gap) = (self.seen_at, unseen <= PROMPT_WITHIN);
            self.last = Some(now);
            // Nothing is saved up for more than one refusal.
            self.debt = (self.debt - self.share).max(-1.0);
        }
        self.seen_at = now;
        // A mark moves before the lock is let go.
        self.seen = if seen.locked { ForeignWrites { locked: true, ..was } } else { seen };
    }

    /// Whether a hold may begin now.
    pub(super) fn decide(&self, now: Instant) -> HoldDecision {
        if self.seen.locked || now < self.rests_until {
            return HoldDecision::Wait;
        }
        let since = now.duration_since(self.free_since).as_secs_f64();
        if self.is_silent(since) {
            return if now >= self.not_before { HoldDecision::Start } else { HoldDecision::Wait };
        }
        if self.debt > 0.0 {
            return HoldDecision::Wait;
        }
        let window = WINDOW_SHARE * self.short;
        let fits = window >= MIN_WINDOW && self.min_commit() <= window / 2.0;
        // Always as long as the last ones where the gaps are: what is done at once is learnt from
        // holds of one length.
        let hold = HOLD_SHARE * window;
        let expected = if fits { self.usual.min(hold) } else { self.usual };
        if fits && since <= window - hold || self.refused(since, expected) <= NEGLIGIBLE_REFUSALS {
            return if fits {
                HoldDecision::StartWithin(Duration::from_secs_f64(hold))
            } else {
                HoldDecision::Start
            };
        }
        // No hold is as short as that, and no better moment came: whatever it costs is owed, and it
        // is least right after a write.
        let waited = now.duration_since(self.held_at).as_secs_f64() > 2.0 * self.longest;
        if !fits && waited && since <= (self.short / 10.0).max(200e-6) {
            HoldDecision::Start
        } else {
            HoldDecision::Wait
        }
    }

    /// Takes in a hold of our own that ends now.
    pub(super) fn held(
        &mut self,
        hold: Duration,
        commit: Duration,
        ratio: f64,
        after: ForeignWrites,
        now: Instant,
    ) {
        let seconds = hold.as_secs_f64();
        if self.syncs {
            if self.commits.len() == 8 {
                self.commits.pop_front();
            }
            self.commits.push_back(commit.as_secs_f64());
        }
        let end = now.duration_since(self.free_since).as_secs_f64();
        if !self.gaps.is_empty() {
            self.debt += self.refused((end - seconds).max(0.0), seconds);
            self.usual = seconds;
        }
        tracing::trace!(seconds, end, debt = self.debt, gaps = self.gaps.len(), "held");
        self.held_at = now;
        self.rests_until = now + hold.mul_f64(ratio.max(1.0));
        self.not_before = now + hold.div_f64(self.share);
        self.seen_at = now;
        // Our own commit moves the mark.
        self.seen = ForeignWrites { locked: false, mark: after.mark.or(self.seen.mark) };
    }

    /// Whether what was learnt says nothing of the next moment.
    fn is_silent(&self, since: f64) -> bool {
        self.gaps.len() < MIN_GAPS || since > (2.0 * self.longest).max(SILENT_AFTER_SECONDS)
    }

    /// Takes in a time between two writes.
    fn observe_gap(&mut self, gap: f64) {
        if self.gaps.len() == MAX_GAPS {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
        let mut sorted: Vec<f64> = self.gaps.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        (self.shortest, self.short) = (sorted[0], sorted[sorted.len() / 10]);
        self.longest = sorted[sorted.len() - 1];
    }

    fn min_commit(&self) -> f64 {
        self.commits.iter().copied().min_by(f64::total_cmp).unwrap_or(0.0)
    }

    /// About how many tries a hold meets that begins so many seconds after the last write: the next
    /// one by the gaps that are longer than that (by the rule of succession, as the coming gap may
    /// be unlike all that are known), and those after it, each of which comes after a gap again.
    fn refused(&self, start: f64, hold: f64) -> f64 {
        const MAX_TRIES: u32 = 1_000;
        let late = MARGIN * hold + LATENESS_SECONDS;
        let (longer, met, nearest) = self.gaps.iter().filter(|gap| **gap > start).fold(
            (0.0, 0.0, f64::INFINITY),
            |(longer, met, nearest), gap| {
                let is_met = if *gap <= start + late { 1.0 } else { 0.0 };
                (longer + 1.0, met + is_met, gap.min(nearest))
            },
        );
        let next = if nearest - start > late { (late / (nearest - start)).min(1.0) } else { met + 1.0 };
        let left = (late - self.shortest).max(0.0);
        let further: f64 = (1..=MAX_TRIES)
            .map(|tries| left / f64::from(tries))
            .take_while(|time| *time > self.shortest)
            .map(|time| self.gaps.iter().filter(|gap| **gap < time).count() as f64 / self.gaps.len() as f64)
            .sum();
        next / (longer + 1.0) * (1.0 + further)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::ChangeCounter;

    /// What an application leaves between two writes, in milliseconds, from a number from 0 to 1.
    type Gap = fn(f64) -> f64;

    /// Plays an application without a busy timeout that needs `write` milliseconds for a write, and
    /// holds that need `fixed` milliseconds and as much again of work as fits. Returns its tries,
    /// those refused, our holds, and their milliseconds of work in a minute.
    fn played(mode: JournalMode, gap: Gap, write: f64, fixed: f64) -> (u32, u32, u32, f64) {
        const END: f64 = 60_000.0;
        let start = Instant::now();
        let at = |ms: f64| start + Duration::from_secs_f64(ms / 1e3);
        let mut noise = 1_u32;
        let mut random = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(noise) / f64::from(u32::MAX)
        };
        let (mut tries, mut refused, mut holds, mut work, mut commits) = (0, 0, 0, 0.0, 0);
        let mut next = gap(random());
        let mut writing: Option<f64> = None;
        let seen = |locked, commits| ForeignWrites { locked, mark: Some(ChangeCounter::Counter(commits)) };
        let mut owner = OwnerWrites::new(mode, seen(false, 0), Some(start), start);
        let mut now = 0.0;
        while now < END {
            // What the application did until now.
            loop {
                match writing {
                    Some(end) if end <= now => {
                        (writing, commits) = (None, commits + 1);
                        next = end + gap(random());
                    }
                    None if next <= now => {
                        tries += 1;
                        writing = Some(next + write);
                    }
                    Some(_) | None => break,
                }
            }
            owner.observe(seen(writing.is_some(), commits), at(now));
            let available = match owner.decide(at(now)) {
                HoldDecision::Wait => {
                    now += owner.step().as_secs_f64() * 1e3 + 0.06;
                    continue;
                }
                HoldDecision::Start => 7.0,
                HoldDecision::StartWithin(left) => (left.as_secs_f64() * 1e3).min(7.0),
            };
            let hold = (fixed + (available - fixed).max(available / 2.0)) * (0.9 + 0.2 * random());
            now += hold;
            while next <= now {
                (tries, refused) = (tries + 1, refused + 1);
                next += gap(random());
            }
            (holds, work) = (holds + 1, work + hold - fixed);
            let (hold, fixed) = (Duration::from_secs_f64(hold / 1e3), Duration::from_secs_f64(fixed / 1e3));
            owner.held(hold, fixed, 0.0, seen(false, commits), at(now));
        }
        (tries, refused, holds, work)
    }

    #[test]
    fn few_writes_are_refused_whatever_the_application_does() {
        let random: Gap = |x| -20.0 * (1.0 - x * 0.999_999).ln();
        let bursts: Gap = |x| if x < 0.9 { 2.0 } else { 800.0 + 400.0 * x };
        for (name, gap, least_work) in [
            // What it does, and the least work of a minute in milliseconds, in WAL mode and else.
            ("each 5 ms", (|_| 5.05) as Gap, (6_000.0, 100.0)),
            ("each 4 to 6 ms", |x| 4.0 + 2.0 * x, (6_000.0, 100.0)),
            ("each 200 ms", |_| 200.0, (1_000.0, 500.0)),
            ("each second", |_| 1_000.0, (300.0, 100.0)),
            ("at random", random, (40.0, 40.0)),
            ("in bursts", bursts, (40.0, 10.0)),
        ] {
            for (mode, write, fixed, share, least) in [
                (JournalMode::Wal, 1.0, 0.2, 0.01, least_work.0),
                (JournalMode::Rollback, 6.0, 5.0, 0.05, least_work.1),
            ] {
                let (tries, refused, holds, work) = played(mode, gap, write, fixed);
                let found = f64::from(refused) / f64::from(tries);
                println!(
                    "{name}, {mode:?}: {refused} of {tries} refused ({found:.4}), {holds} holds, {work:.0} ms of work"
                );
                assert!(found < share, "{name}, {mode:?}: {refused} of {tries} refused in {holds} holds");
                assert!(work >= least, "{name}, {mode:?}: {work:.0} ms of work in {holds} holds");
            }
        }
    }

    #[test]
    fn without_writes_the_lock_is_held_for_a_small_share_of_the_time() {
        let (_, _, holds, work) = played(JournalMode::Wal, |_| 1e9, 1.0, 0.2);
        assert!(holds >= 10 && work < 60_000.0 * 0.008, "{holds} holds, {work} ms");
    }
}
