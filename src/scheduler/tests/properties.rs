use proptest::prelude::*;
use proptest::sample::select;

use super::super::target::MIN_WINDOW_LEFT;
use super::*;

/// Shorter than what `unblock` allows a key to be late.
const RETRY: TimeDelta = TimeDelta::minutes(2);

/// What happens to the agent.
#[derive(Clone, Debug)]
enum Event {
    /// The loop goes on to its next wake-up or to the end of a job.
    Next,
    /// The clock goes forward at once: suspend, or a correction.
    Forward(i64),
    Back(i64),
    Reload,
    /// A database goes with its runs under way, and comes back some events later.
    Vanish(usize),
    /// The process starts anew, with what its state file knows.
    Restart,
    ConcurrencyLimits(usize, usize),
}

#[derive(Clone, Debug)]
struct World {
    targets: BTreeMap<TaskKey, ScheduleTarget>,
    limits: ConcurrencyLimits,
    events: Vec<Event>,
    /// For each start in turn, how many minutes it takes; None is another process that has the
    /// database.
    durations: Vec<Option<i64>>,
}

/// What the test knows of a key.
#[derive(Default, Debug)]
struct Seen {
    occurrences: u32,
    starts: u32,
    catch_ups: u32,
    skips: u32,
    missed: u32,
    /// How often it may have caught up.
    restarts: u32,
    last_scheduled: Option<DateTime<Utc>>,
}

struct Simulation {
    scheduler: Scheduler,
    targets: BTreeMap<TaskKey, ScheduleTarget>,
    limits: ConcurrencyLimits,
    now: DateTime<Utc>,
    jobs: Vec<(Start, u64, DateTime<Utc>)>,
    seen: BTreeMap<TaskKey, Seen>,
    jumps_back: u32,
    durations: std::iter::Cycle<std::vec::IntoIter<Option<i64>>>,
    vanished: Vec<TaskKey>,
}

impl Simulation {
    fn new(world: World) -> Self {
        let mut simulation = Self {
            scheduler: Scheduler::new(world.limits),
            seen: world.targets.keys().map(|key| (key.clone(), Seen::default())).collect(),
            limits: world.limits,
            now: utc("05 12:34:56.7"),
            jobs: Vec::new(),
            jumps_back: 0,
            durations: world.durations.into_iter().cycle(),
            vanished: Vec::new(),
            targets: world.targets,
        };
        for (key, target) in &simulation.targets {
            let seen = simulation.seen.get_mut(key).unwrap();
            seen.last_scheduled = target.last_scheduled;
            seen.restarts = u32::from(target.last_scheduled.is_some());
        }
        simulation.set_targets();
        simulation
    }

    /// What the application gives the planner: targets with what the state file knows.
    fn set_targets(&mut self) {
        let mut targets = self.targets.clone();
        targets.retain(|key, _| !self.vanished.contains(key));
        for (key, target) in &mut targets {
            target.last_scheduled = self.seen[key].last_scheduled;
        }
        self.scheduler.set_targets(targets, self.now);
        self.call();
    }

    fn call(&mut self) {
        let mut rounds = 0;
        loop {
            let decisions = self.scheduler.start_due(self.now);
            let calm = self.scheduler.next_wakeup(self.now).is_none_or(|at| at > self.now);
            let mut postponed = false;
            for decision in decisions {
                postponed |= self.apply(decision);
            }
            if calm && !postponed {
                break;
            }
            rounds += 1;
            assert!(rounds < 2 + self.targets.len(), "the planner wants to be called again and again");
        }
    }

    /// Whether it was a run that could not start.
    fn apply(&mut self, decision: Decision) -> bool {
        match decision {
            Decision::Missed { key, count } => self.seen.get_mut(&key).unwrap().missed += count,
            Decision::Skip { key, due_at, .. } => {
                let seen = self.seen.get_mut(&key).unwrap();
                seen.skips += 1;
                seen.last_scheduled = seen.last_scheduled.max(Some(due_at));
            }
            Decision::Start(start) => return self.begin(start),
        }
        false
    }

    fn begin(&mut self, start: Start) -> bool {
        let target = &self.targets[&start.key];
        for (other, ..) in &self.jobs {
            assert_ne!(other.key.database, start.key.database, "two runs of one database");
        }
        assert!(self.jobs.len() < self.limits.jobs, "more jobs than the limit");
        let beside = self.jobs.iter().filter(|(_, filesystem, _)| *filesystem == target.filesystem).count();
        assert!(beside < self.limits.jobs_per_filesystem, "more jobs on a file system than the limit");
        assert!(start.due_at <= self.now, "before its time");
        if let Some(window) = &target.window {
            assert!(window.contains(self.now), "outside its window");
            assert_eq!(start.must_end_by, window.closes(self.now));
            assert!(
                start.must_end_by.is_none_or(|end| end - self.now >= MIN_WINDOW_LEFT),
                "at the window's end"
            );
        }
        let seen = self.seen.get_mut(&start.key).unwrap();
        let Some(minutes) = self.durations.next().unwrap() else {
            self.scheduler.postpone(&start, self.now + RETRY);
            return true;
        };
        seen.last_scheduled = seen.last_scheduled.max(Some(start.due_at));
        if start.catch_up {
            seen.catch_ups += 1;
        } else {
            seen.starts += 1;
        }
        self.jobs.push((start, target.filesystem, self.now + TimeDelta::minutes(minutes)));
        false
    }

    fn advance(&mut self, to: DateTime<Utc>) {
        for (key, target) in &self.targets {
            let seen = self.seen.get_mut(key).unwrap();
            seen.occurrences += target.schedule.occurrences(self.now, to, u32::MAX);
        }
        self.now = to;
        let (ended, going) = std::mem::take(&mut self.jobs).into_iter().partition(|(.., end)| *end <= to);
        self.jobs = going;
        let ended: Vec<(Start, u64, DateTime<Utc>)> = ended;
        for (start, ..) in ended {
            self.scheduler.finish(&start.key);
        }
        self.call();
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Next => {
                let wakeup = self.scheduler.next_wakeup(self.now);
                let end = self.jobs.iter().map(|(.., end)| *end).min();
                let next = [wakeup, end].into_iter().flatten().min();
                self.advance(next.unwrap_or(self.now + TimeDelta::hours(1)).max(self.now));
            }
            Event::Forward(minutes) => self.advance(self.now + TimeDelta::minutes(*minutes)),
            Event::Back(minutes) => {
                let by = TimeDelta::minutes(*minutes);
                self.now -= by;
                self.jumps_back += 1;
                for (.., end) in &mut self.jobs {
                    *end -= by;
                }
                self.call();
            }
            Event::Reload => {
                for key in self.vanished.drain(..) {
                    self.seen.get_mut(&key).unwrap().restarts += 1;
                }
                self.set_targets();
            }
            Event::Vanish(index) => {
                let key = self.targets.keys().nth(index % self.targets.len()).unwrap().clone();
                if !self.vanished.contains(&key) {
                    self.vanished.push(key);
                }
                self.set_targets();
            }
            Event::Restart => {
                self.vanished.clear();
                self.jobs.clear();
                self.scheduler = Scheduler::new(self.limits);
                for seen in self.seen.values_mut() {
                    seen.restarts += 1;
                }
                self.set_targets();
            }
            Event::ConcurrencyLimits(jobs, on_one) => {
                self.limits.jobs = *jobs;
                self.limits.jobs_per_filesystem = *on_one;
                self.scheduler.set_limits(self.limits);
                self.call();
            }
        }
    }

    fn check(&self) {
        for (key, seen) in &self.seen {
            assert!(seen.catch_ups <= seen.restarts, "{key:?} caught up too often: {seen:?}");
            let most = seen.occurrences + seen.restarts + self.jumps_back;
            assert!(
                seen.starts + seen.catch_ups <= most,
                "a storm of {key:?}: {seen:?}, {}",
                self.jumps_back
            );
        }
    }

    /// Nothing holds up a run any more: each key starts at the first occurrence that its window
    /// admits.
    fn unblock(&mut self) {
        self.durations = vec![Some(0)].into_iter().cycle();
        self.limits = ConcurrencyLimits { jobs: 1, jobs_per_filesystem: 1, ..self.limits };
        self.scheduler.set_limits(self.limits);
        self.step(&Event::Reload);
        while let Some(end) = self.jobs.iter().map(|(.., end)| *end).max() {
            self.advance(end);
        }
        let mut expected: BTreeMap<TaskKey, DateTime<Utc>> = BTreeMap::new();
        for (key, target) in &self.targets {
            let mut at = self.now;
            while let Some(next) =
                target.schedule.next_after(at).filter(|next| *next < self.now + TimeDelta::days(8))
            {
                at = next;
                let open = |at| target.window.as_ref().is_none_or(|window| window.contains(at));
                if open(at) && open(at + TimeDelta::minutes(3)) {
                    expected.insert(key.clone(), at);
                    break;
                }
            }
        }
        let before: BTreeMap<TaskKey, u32> = self.starts();
        while let Some(last) = expected.values().max()
            && self.now < *last + TimeDelta::minutes(5)
        {
            self.step(&Event::Next);
            let starts = self.starts();
            expected.retain(|key, at| {
                let started = starts[key] > before[key];
                assert!(started || self.now < *at + TimeDelta::minutes(5), "{key:?} did not start at {at}");
                !started
            });
        }
        assert!(expected.is_empty(), "{expected:?} did not start");
    }

    fn starts(&self) -> BTreeMap<TaskKey, u32> {
        self.seen.iter().map(|(key, seen)| (key.clone(), seen.starts + seen.catch_ups)).collect()
    }
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let crons =
        ["*/15 * * * *", "0 * * * *", "*/20 1-5 * * *", "30 2 * * *", "0 4 * * SUN", "10,50 */3 * * *"];
    let zones = [Tz::UTC, Tz::Europe__Berlin, Tz::Australia__Lord_Howe];
    let cron = (select(crons.to_vec()), select(zones.to_vec()))
        .prop_map(|(text, zone)| Schedule::cron(text, zone).unwrap());
    let every = (240u64..20_000).prop_map(|seconds| Schedule::every(Duration::from_secs(seconds)));
    let spread = (0u64..4000, "[a-z]{2}");
    (prop_oneof![2 => cron, 1 => every], spread)
        .prop_map(|(schedule, (width, name))| schedule.spread(Duration::from_secs(width), &name, "vacuum"))
}

fn windows() -> impl Strategy<Value = Option<Window>> {
    let texts = ["22:00-06:00", "Sat-Sun 00:00-24:00", "Mon,Wed 01:00-05:00", "12:00-12:20", "00:00-24:00"];
    let zones = [Tz::UTC, Tz::America__New_York];
    let window = (select(texts.to_vec()), select(zones.to_vec()))
        .prop_map(|(text, zone)| Some(Window::parse(text, zone).unwrap()));
    prop_oneof![Just(None), window]
}

fn all_targets() -> impl Strategy<Value = BTreeMap<TaskKey, ScheduleTarget>> {
    let key = (select(vec!["a", "b", "c", "d", "e"]), select(TaskKind::ALL.to_vec()))
        .prop_map(|(name, task)| TaskKey { database: DatabaseName::new(name), task });
    let target = (schedules(), windows(), 5u64..600, 1u64..3, prop::option::of(0i64..10_000)).prop_map(
        |(schedule, window, deadline, filesystem, handled)| ScheduleTarget {
            schedule,
            window,
            start_deadline: minutes(deadline),
            filesystem,
            last_scheduled: handled.map(|ago| utc("05 12:34") - TimeDelta::minutes(ago)),
        },
    );
    prop::collection::btree_map(key, target, 1..9)
}

fn worlds(calm: bool) -> impl Strategy<Value = World> {
    let wild = prop_oneof![
        40 => Just(Event::Next),
        3 => (1i64..3000).prop_map(Event::Forward),
        2 => (2i64..3000).prop_map(Event::Back),
        2 => Just(Event::Reload),
        2 => (0usize..9).prop_map(Event::Vanish),
        1 => Just(Event::Restart),
        1 => (1usize..4, 1usize..3).prop_map(|(jobs, on_one)| Event::ConcurrencyLimits(jobs, on_one)),
    ];
    let forward = prop_oneof![10 => Just(Event::Next), 1 => (1i64..3000).prop_map(Event::Forward)];
    let event = if calm { forward.boxed() } else { wild.boxed() };
    let duration =
        prop_oneof![2 => (0i64..5).prop_map(Some), 2 => (0i64..200).prop_map(Some), 1 => Just(None)];
    (
        all_targets(),
        (1usize..4, 1usize..3, 0u64..120),
        prop::collection::vec(event, 100..400),
        prop::collection::vec(duration, 1..50),
    )
        .prop_map(|(targets, (jobs, jobs_per_filesystem, delay), events, durations)| World {
            targets,
            limits: ConcurrencyLimits { jobs, jobs_per_filesystem, catch_up_delay: minutes(delay) },
            events,
            durations,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 1000, ..ProptestConfig::default() })]

    /// One run a database, the limits, the windows, one catch-up a restart, no storm, and no key is
    /// forgotten.
    #[test]
    fn the_rules_hold_whatever_happens(world in worlds(false)) {
        let mut simulation = Simulation::new(world.clone());
        for event in &world.events {
            simulation.step(event);
            simulation.check();
        }
        simulation.unblock();
        simulation.check();
    }

    /// While the clock only goes forward, each occurrence is one start, one skip, or one counted as
    /// missed.
    #[test]
    fn every_occurrence_is_accounted_for(world in worlds(true)) {
        let mut simulation = Simulation::new(world.clone());
        let at_restart: BTreeMap<TaskKey, u32> =
            simulation.seen.iter().map(|(key, seen)| (key.clone(), seen.missed)).collect();
        for event in &world.events {
            simulation.step(event);
        }
        for (key, seen) in &simulation.seen {
            let due = match simulation.scheduler.queue.entry(key).unwrap().state {
                EntryState::Due { run, .. } => simulation.targets[key].schedule.occurrences(run.due_at, simulation.now, u32::MAX) + 1,
                EntryState::Never | EntryState::Regular { .. } | EntryState::CatchUp { .. } => 0,
            };
            let accounted = seen.starts + seen.skips + seen.missed - at_restart[key] + due;
            // A catch-up that waits or was given up is one of those missed at the restart.
            let catch_up = u32::from(simulation.targets[key].last_scheduled.is_some());
            prop_assert!(
                (seen.occurrences..=seen.occurrences + catch_up).contains(&accounted),
                "{:?}: {:?} and {} due", key, seen, due
            );
        }
    }
}
