mod properties;

use std::time::Duration;

use chrono::NaiveDateTime;
use chrono_tz::Tz;

use super::*;
use crate::database::DatabaseName;
use crate::schedule::Schedule;
use crate::schedule::Window;
use crate::task::TaskKind;

/// A time of Thursday, 1 January 2026, or of another day of that month: `04:00`, `02 04:00:30`.
fn utc(text: &str) -> DateTime<Utc> {
    let (day, time) = text.split_once(' ').unwrap_or(("01", text));
    let seconds = if time.len() > 5 { "" } else { ":00" };
    let form = "%Y-%m-%d %H:%M:%S%.f";
    NaiveDateTime::parse_from_str(&format!("2026-01-{day} {time}{seconds}"), form).unwrap().and_utc()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// `a vacuum` and the like.
fn key(text: &str) -> TaskKey {
    let (database, task) = text.split_once(' ').unwrap();
    let task = TaskKind::ALL.into_iter().find(|known| known.to_string() == task).unwrap();
    TaskKey { database: DatabaseName::new(database), task }
}

fn target(cron: &str) -> ScheduleTarget {
    ScheduleTarget {
        schedule: Schedule::cron(cron, Tz::UTC).unwrap(),
        window: None,
        start_deadline: minutes(60),
        filesystem: 1,
        last_scheduled: None,
    }
}

fn within(window: &str, target: ScheduleTarget) -> ScheduleTarget {
    ScheduleTarget { window: Some(Window::parse(window, Tz::UTC).unwrap()), ..target }
}

fn handled(until: &str, target: ScheduleTarget) -> ScheduleTarget {
    ScheduleTarget { last_scheduled: Some(utc(until)), ..target }
}

const LIMITS: ConcurrencyLimits =
    ConcurrencyLimits { jobs: 2, jobs_per_filesystem: 2, catch_up_delay: Duration::from_secs(5 * 60) };

fn targets<const N: usize>(targets: [(&str, ScheduleTarget); N]) -> BTreeMap<TaskKey, ScheduleTarget> {
    targets.into_iter().map(|(name, target)| (key(name), target)).collect()
}

fn scheduler<const N: usize>(list: [(&str, ScheduleTarget); N], now: &str) -> Scheduler {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.set_targets(targets(list), utc(now));
    scheduler
}

fn text(decision: &Decision) -> String {
    let time = |at: &DateTime<Utc>| at.format("%d %H:%M").to_string();
    match decision {
        Decision::Start(Start { key, due_at, catch_up, must_end_by }) => format!(
            "start {} {} {}{}{}",
            key.database,
            key.task,
            time(due_at),
            if *catch_up { " catch-up" } else { "" },
            must_end_by.map(|end| format!(" until {}", time(&end))).unwrap_or_default(),
        ),
        Decision::Skip { key, due_at, cause } => {
            format!("skip {} {} {} {cause:?}", key.database, key.task, time(due_at))
        }
        Decision::Missed { key, count } => format!("missed {} {} {count}", key.database, key.task),
    }
}

#[track_caller]
fn decides<const N: usize>(scheduler: &mut Scheduler, now: &str, expected: [&str; N]) -> Option<Start> {
    let decisions = scheduler.start_due(utc(now));
    assert_eq!(decisions.iter().map(text).collect::<Vec<_>>(), expected, "at {now}");
    decisions.into_iter().find_map(|decision| match decision {
        Decision::Start(start) => Some(start),
        Decision::Skip { .. } | Decision::Missed { .. } => None,
    })
}

#[test]
fn a_new_key_waits_for_its_next_occurrence() {
    let mut scheduler = scheduler([("a vacuum", target("0 4 * * *"))], "03:00");
    assert_eq!(scheduler.next_run(&key("a vacuum")), Some(utc("04:00")));
    decides(&mut scheduler, "03:59:59.9", []);
    assert_eq!(scheduler.next_wakeup(utc("03:59:59.9")), Some(utc("04:00")));
    decides(&mut scheduler, "04:00", ["start a vacuum 01 04:00"]);
    decides(&mut scheduler, "04:01", []);
    scheduler.finish(&key("a vacuum"));
    assert_eq!(scheduler.next_wakeup(utc("04:02")), Some(utc("02 04:00")));
}

#[test]
fn a_database_has_one_run_at_a_time_and_the_limits_hold() {
    let elsewhere = ScheduleTarget { filesystem: 2, ..target("0 4 * * *") };
    let list = [
        ("a vacuum", target("0 4 * * *")),
        ("a health_check", target("0 4 * * *")),
        ("b vacuum", target("0 4 * * *")),
        ("c vacuum", target("1 4 * * *")),
        ("d vacuum", elsewhere),
    ];
    let mut scheduler = scheduler(list, "03:00");
    scheduler.set_limits(ConcurrencyLimits { jobs: 2, jobs_per_filesystem: 1, ..LIMITS });
    decides(&mut scheduler, "04:00", ["start a health_check 01 04:00", "start d vacuum 01 04:00"]);
    assert_eq!(scheduler.next_wakeup(utc("04:00")), Some(utc("04:01")));
    decides(&mut scheduler, "04:02", []);
    scheduler.finish(&key("d vacuum"));
    decides(&mut scheduler, "04:03", []);
    scheduler.set_limits(LIMITS);
    decides(&mut scheduler, "04:04", ["start b vacuum 01 04:00"]);
    scheduler.finish(&key("a health_check"));
    assert_eq!(scheduler.next_wakeup(utc("04:05")), Some(utc("04:05")));
    decides(&mut scheduler, "04:05", ["start a vacuum 01 04:00"]);
    scheduler.finish(&key("a vacuum"));
    decides(&mut scheduler, "04:06", ["start c vacuum 01 04:01"]);
}

#[test]
fn what_cannot_start_in_time_is_skipped() {
    let list = [("a vacuum", target("0 4 * * *")), ("a health_check", target("30 4 * * *"))];
    let mut scheduler = scheduler(list, "03:00");
    decides(&mut scheduler, "04:00", ["start a vacuum 01 04:00"]);
    decides(&mut scheduler, "04:30", []);
    assert_eq!(scheduler.next_wakeup(utc("04:30")), Some(utc("05:30")));
    decides(&mut scheduler, "05:29", []);
    decides(&mut scheduler, "05:30", ["skip a health_check 01 04:30 Overlap"]);
    scheduler.finish(&key("a vacuum"));
    decides(&mut scheduler, "06:00", []);
    assert_eq!(scheduler.next_run(&key("a health_check")), Some(utc("02 04:30")));
}

#[test]
fn at_its_last_moment_a_run_may_still_start() {
    let list = [("a vacuum", target("0 4 * * *")), ("a health_check", target("30 4 * * *"))];
    for (now, expected) in [
        ("05:30", "start a health_check 01 04:30"),
        ("05:30:00.001", "skip a health_check 01 04:30 Overlap"),
        ("23:00", "skip a health_check 01 04:30 Overlap"),
    ] {
        let mut lenient = scheduler(list.clone(), "03:00");
        decides(&mut lenient, "04:00", ["start a vacuum 01 04:00"]);
        decides(&mut lenient, "04:30", []);
        lenient.finish(&key("a vacuum"));
        decides(&mut lenient, now, [expected]);
    }
    let at_once = ScheduleTarget { start_deadline: Duration::ZERO, ..target("0 4 * * *") };
    let mut hasty = scheduler([("a vacuum", at_once)], "03:00");
    decides(&mut hasty, "04:00:00.1", ["start a vacuum 01 04:00"]);
}

#[test]
fn occurrences_that_pass_meanwhile_are_one_run() {
    let mut scheduler = scheduler([("a vacuum", target("*/10 * * * *"))], "03:55");
    decides(&mut scheduler, "04:00", ["start a vacuum 01 04:00"]);
    decides(&mut scheduler, "04:10", []);
    decides(&mut scheduler, "04:35", []);
    scheduler.finish(&key("a vacuum"));
    decides(&mut scheduler, "04:36", ["missed a vacuum 2", "start a vacuum 01 04:30"]);
    scheduler.finish(&key("a vacuum"));
    // The machine slept.
    decides(&mut scheduler, "08:15", ["missed a vacuum 21", "start a vacuum 01 08:10"]);
    decides(&mut scheduler, "08:20", []);
    assert_eq!(scheduler.next_wakeup(utc("08:20")), Some(utc("09:20")));
    decides(&mut scheduler, "09:20", ["missed a vacuum 6", "skip a vacuum 01 09:20 Overlap"]);
    decides(&mut scheduler, "09:30", []);
}

#[test]
fn a_run_found_late_has_its_start_deadline_from_then_on() {
    let list = [("a health_check", target("0 3 * * *")), ("a vacuum", target("0 4 * * *"))];
    let mut scheduler = scheduler(list, "02:30");
    decides(&mut scheduler, "03:00", ["start a health_check 01 03:00"]);
    decides(&mut scheduler, "12:00", []);
    decides(&mut scheduler, "12:59", []);
    decides(&mut scheduler, "13:00", ["skip a vacuum 01 04:00 Overlap"]);
}

#[test]
fn a_restart_catches_up_once() {
    let daily = || target("0 4 * * *");
    for (last_scheduled, start) in [
        ("01 04:00", ["", ""]),
        ("02 05:00", ["", ""]),
        ("20 05:00", ["", ""]),
        ("01 03:59", ["missed a vacuum 1", "start a vacuum 01 04:00 catch-up"]),
    ] {
        let mut scheduler = scheduler([("a vacuum", handled(last_scheduled, daily()))], "12:00");
        let first: Vec<String> = scheduler.start_due(utc("12:00")).iter().map(text).collect();
        assert_eq!(first.join(""), start[0], "handled until {last_scheduled}");
        let second: Vec<String> = scheduler.start_due(utc("12:10")).iter().map(text).collect();
        assert_eq!(second.join(""), start[1], "handled until {last_scheduled}");
    }
    let hourly = handled("01 01:00", target("0 * * * *"));
    let mut scheduler = scheduler([("a vacuum", hourly)], "04:30");
    assert_eq!(scheduler.next_wakeup(utc("04:30")), Some(utc("04:30")));
    decides(&mut scheduler, "04:30", ["missed a vacuum 3"]);
    let at = scheduler.next_wakeup(utc("04:30")).unwrap();
    assert!(at >= utc("04:35") && at < utc("04:40"), "{at}");
    decides(&mut scheduler, "04:40", ["start a vacuum 01 04:00 catch-up"]);
    scheduler.finish(&key("a vacuum"));
    decides(&mut scheduler, "05:00", ["start a vacuum 01 05:00"]);
}

#[test]
fn a_catch_up_gives_way_to_the_next_occurrence() {
    // Before it is due.
    let hourly = || handled("01 01:00", target("0 * * * *"));
    let mut one = scheduler([("a vacuum", hourly())], "04:57");
    decides(&mut one, "04:57", ["missed a vacuum 3"]);
    assert_eq!(one.next_wakeup(utc("04:57")), Some(utc("05:00")));
    decides(&mut one, "05:00", ["start a vacuum 01 05:00"]);
    // While it waits for another run.
    let other = target("31 4 * * *");
    let mut waiting = scheduler([("a vacuum", hourly()), ("a health_check", other)], "04:30");
    decides(&mut waiting, "04:31", ["missed a vacuum 3", "start a health_check 01 04:31"]);
    decides(&mut waiting, "04:50", []);
    waiting.start_due(utc("04:59:59.999999999"));
    decides(&mut waiting, "05:00", []);
    waiting.finish(&key("a health_check"));
    decides(&mut waiting, "05:40", ["start a vacuum 01 05:00"]);
    // While the machine slept.
    let mut slept = scheduler([("a vacuum", hourly())], "04:30");
    decides(&mut slept, "04:30", ["missed a vacuum 3"]);
    decides(&mut slept, "06:30", ["missed a vacuum 1", "start a vacuum 01 06:00"]);
}

#[test]
fn a_catch_up_waits_for_its_window() {
    let daily = || within("03:00-06:00", handled("01 03:00", target("0 5 * * *")));
    let mut early = scheduler([("a vacuum", daily())], "12:00");
    decides(&mut early, "12:00", ["missed a vacuum 1"]);
    assert_eq!(early.next_run(&key("a vacuum")), Some(utc("02 03:00")));
    decides(&mut early, "02 03:00", ["start a vacuum 01 05:00 catch-up until 02 06:00"]);
    early.finish(&key("a vacuum"));
    decides(&mut early, "02 05:00", ["start a vacuum 02 05:00 until 02 06:00"]);
    // The next regular one opens with the window: there is nothing between them to catch up in.
    let mut none =
        scheduler([("a vacuum", within("03:00-06:00", handled("01 02:00", target("0 3 * * *"))))], "12:00");
    decides(&mut none, "12:00", ["missed a vacuum 1"]);
    decides(&mut none, "02 03:00", ["start a vacuum 02 03:00 until 02 06:00"]);
}

#[test]
fn nothing_starts_outside_its_window() {
    let list = || [("a vacuum", within("22:00-06:00", target("30 */4 * * *")))];
    let mut one = scheduler(list(), "03:00");
    assert_eq!(one.next_run(&key("a vacuum")), Some(utc("04:30")));
    decides(&mut one, "04:30", ["start a vacuum 01 04:30 until 01 06:00"]);
    one.finish(&key("a vacuum"));
    // 20:30 is outside too; 00:30 is inside.
    assert_eq!(one.next_run(&key("a vacuum")), Some(utc("02 00:30")));
    decides(&mut one, "08:30", ["skip a vacuum 01 08:30 OutsideWindow"]);
    // Due inside, but the machine slept until the last minute.
    let mut late = scheduler(list(), "03:00");
    decides(&mut late, "05:59:01", ["skip a vacuum 01 04:30 OutsideWindow"]);
    let mut early = scheduler(list(), "03:00");
    decides(&mut early, "05:59", ["start a vacuum 01 04:30 until 01 06:00"]);
    // It waits for another run until the window closes.
    let lenient = ScheduleTarget { start_deadline: minutes(600), ..target("30 */4 * * *") };
    let list = [("a vacuum", within("22:00-06:00", lenient)), ("a health_check", target("0 4 * * *"))];
    let mut waiting = scheduler(list, "03:00");
    decides(&mut waiting, "04:00", ["start a health_check 01 04:00"]);
    decides(&mut waiting, "04:30", []);
    assert_eq!(waiting.next_wakeup(utc("04:30")), Some(utc("05:59")));
    decides(&mut waiting, "05:59", ["skip a vacuum 01 04:30 OutsideWindow"]);
}

#[test]
fn a_postponed_run_is_tried_again_until_its_deadline() {
    let mut scheduler = scheduler([("a vacuum", target("0 4 * * *"))], "03:00");
    let start = decides(&mut scheduler, "04:00", ["start a vacuum 01 04:00"]).unwrap();
    scheduler.postpone(&start, utc("04:20"));
    assert_eq!(scheduler.next_wakeup(utc("04:00")), Some(utc("04:20")));
    decides(&mut scheduler, "04:10", []);
    let start = decides(&mut scheduler, "04:20", ["start a vacuum 01 04:00"]).unwrap();
    scheduler.postpone(&start, utc("05:20"));
    assert_eq!(scheduler.next_wakeup(utc("04:20")), Some(utc("05:00")));
    decides(&mut scheduler, "05:00", ["skip a vacuum 01 04:00 Overlap"]);
    assert_eq!(scheduler.next_wakeup(utc("05:00")), Some(utc("02 04:00")));
}

#[test]
fn a_postponed_run_is_one_with_what_came_due_meanwhile() {
    let mut scheduler = scheduler([("a vacuum", target("*/10 * * * *"))], "03:55");
    let start = decides(&mut scheduler, "04:00", ["start a vacuum 01 04:00"]).unwrap();
    decides(&mut scheduler, "04:10", []);
    scheduler.postpone(&start, utc("04:12"));
    decides(&mut scheduler, "04:11", ["missed a vacuum 1"]);
    let start = decides(&mut scheduler, "04:12", ["start a vacuum 01 04:10"]).unwrap();
    scheduler.postpone(&start, utc("04:31"));
    decides(&mut scheduler, "04:31", ["missed a vacuum 2", "start a vacuum 01 04:30"]);
}

#[test]
fn a_reload_keeps_the_place_of_what_did_not_change() {
    let mut scheduler =
        scheduler([("a vacuum", target("0 4 * * *")), ("b vacuum", target("0 4 * * *"))], "03:00");
    scheduler.set_limits(ConcurrencyLimits { jobs: 1, ..LIMITS });
    decides(&mut scheduler, "04:00", ["start a vacuum 01 04:00"]);
    // Same schedule, another file system; the one that runs is gone.
    let moved = ScheduleTarget { filesystem: 7, ..handled("01 01:00", target("0 4 * * *")) };
    scheduler.set_targets(targets([("b vacuum", moved)]), utc("04:10"));
    decides(&mut scheduler, "04:10", []);
    // It comes back with another task, but still runs.
    scheduler.set_limits(LIMITS);
    let list = [("a health_check", target("20 4 * * *")), ("b vacuum", target("0 5 * * *"))];
    scheduler.set_targets(targets(list), utc("04:15"));
    decides(&mut scheduler, "04:20", []);
    scheduler.finish(&key("a vacuum"));
    decides(&mut scheduler, "04:21", ["start a health_check 01 04:20"]);
    decides(&mut scheduler, "05:00", ["start b vacuum 01 05:00"]);
}

#[test]
fn a_clock_set_back_begins_anew() {
    let mut scheduler = scheduler([("a vacuum", target("0 4 * * *"))], "20 03:00");
    decides(&mut scheduler, "20 04:00", ["start a vacuum 20 04:00"]);
    scheduler.finish(&key("a vacuum"));
    decides(&mut scheduler, "20 03:59:30", []);
    decides(&mut scheduler, "20 04:00", []);
    decides(&mut scheduler, "02 05:00", []);
    assert_eq!(scheduler.next_wakeup(utc("02 05:00")), Some(utc("03 04:00")));
    decides(&mut scheduler, "03 04:00", ["start a vacuum 03 04:00"]);
}

#[test]
fn a_clock_set_back_a_little_opens_no_window() {
    let list =
        [("a vacuum", within("04:00-06:00", target("0 4 * * *"))), ("a health_check", target("0 3 * * *"))];
    let mut scheduler = scheduler(list, "02:00");
    decides(&mut scheduler, "03:00", ["start a health_check 01 03:00"]);
    decides(&mut scheduler, "04:00:05", []);
    scheduler.finish(&key("a health_check"));
    decides(&mut scheduler, "03:59:50", []);
    assert_eq!(scheduler.next_wakeup(utc("03:59:50")), Some(utc("04:00")));
    decides(&mut scheduler, "04:00", ["start a vacuum 01 04:00 until 01 06:00"]);
}

#[test]
fn thirty_thousand_keys_are_little_work() {
    let database =
        |n: u32| TaskKey { database: DatabaseName::new(&format!("{n}.db")), task: TaskKind::Vacuum };
    let daily = target("0 4 * * *");
    let all: BTreeMap<TaskKey, ScheduleTarget> = (0..30_000).map(|n| (database(n), daily.clone())).collect();
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.set_targets(all, utc("03:00"));
    let begin = std::time::Instant::now();
    for _ in 0..10_000 {
        assert_eq!(scheduler.start_due(utc("03:30")), []);
    }
    // All are due and wait for two at a time.
    let mut now = utc("04:00");
    for _ in 0..3000 {
        for decision in scheduler.start_due(now) {
            if let Decision::Start(start) = decision {
                scheduler.finish(&start.key);
            }
        }
        now += TimeDelta::seconds(1);
    }
    // A look at each key a call would take minutes.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}
