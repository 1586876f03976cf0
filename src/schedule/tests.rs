use chrono::NaiveDateTime;
use chrono_tz::America::New_York;
use chrono_tz::Australia::Lord_Howe;
use chrono_tz::Europe::Berlin;
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    let form = if text.len() > 16 { "%Y-%m-%d %H:%M:%S%.f" } else { "%Y-%m-%d %H:%M" };
    NaiveDateTime::parse_from_str(text, form).unwrap().and_utc()
}

fn cron(text: &str, zone: Tz) -> Schedule {
    Schedule::cron(text, zone).unwrap()
}

/// The first occurrences after a time, as `day hour:minute` in UTC.
fn after(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    let next = |at: &DateTime<Utc>| schedule.next_after(*at);
    let found = std::iter::successors(schedule.next_after(utc(from)), next).take(count);
    found.map(|at| at.format("%d %H:%M").to_string()).collect()
}

#[test]
fn occurrences_follow_the_expression() {
    for (text, from, expected) in [
        ("0 4 * * *", "2026-01-01 04:00", ["02 04:00", "03 04:00"]),
        ("0 4 * * *", "2026-01-01 03:59:59.5", ["01 04:00", "02 04:00"]),
        ("0 4 * * *", "2026-01-01 04:00:00.5", ["02 04:00", "03 04:00"]),
        ("*/20 * * * *", "2026-01-01 04:00", ["01 04:20", "01 04:40"]),
        ("0 4 * * SUN", "2026-01-01 04:00", ["04 04:00", "11 04:00"]),
        ("0 4 * JAN MON-TUE", "2026-01-01 04:00", ["05 04:00", "06 04:00"]),
        ("0 4 29 2 *", "2026-01-01 04:00", ["29 04:00", "29 04:00"]),
        ("@hourly", "2026-01-01 04:00", ["01 05:00", "01 06:00"]),
        ("@daily", "2026-01-01 04:00", ["02 00:00", "03 00:00"]),
        ("@weekly", "2026-01-01 04:00", ["04 00:00", "11 00:00"]),
        ("@monthly", "2026-01-01 04:00", ["01 00:00", "01 00:00"]),
    ] {
        assert_eq!(after(&cron(text, Tz::UTC), from, 2), expected, "{text} after {from}");
    }
}

#[test]
fn a_clock_change_neither_loses_nor_repeats_an_occurrence() {
    for (zone, text, from, expected) in [
        // Berlin: 29 March 2026, 01:00 UTC, 02:00 becomes 03:00.
        (Berlin, "30 2 * * *", "2026-03-28 02:00", ["29 01:00", "30 00:30"]),
        (Berlin, "0 2 * * *", "2026-03-28 02:00", ["29 01:00", "30 00:00"]),
        (Berlin, "0 3 * * *", "2026-03-28 03:00", ["29 01:00", "30 01:00"]),
        (Berlin, "*/15 2 * * *", "2026-03-28 01:45", ["29 01:00", "30 00:00"]),
        (Berlin, "0 2,3 * * *", "2026-03-28 02:00", ["29 01:00", "30 00:00"]),
        (Berlin, "*/30 * * * *", "2026-03-29 00:00", ["29 00:30", "29 01:00"]),
        (Berlin, "*/30 * * * *", "2026-03-29 00:59:59.5", ["29 01:00", "29 01:30"]),
        // Berlin: 25 October 2026, 01:00 UTC, 03:00 becomes 02:00.
        (Berlin, "30 2 * * *", "2026-10-24 12:00", ["25 00:30", "26 01:30"]),
        (Berlin, "30 2 * * *", "2026-10-25 00:30", ["26 01:30", "27 01:30"]),
        (Berlin, "*/30 * * * *", "2026-10-25 00:00", ["25 00:30", "25 02:00"]),
        (Berlin, "*/30 * * * *", "2026-10-25 01:10", ["25 02:00", "25 02:30"]),
        (Berlin, "10 3 * * *", "2026-10-25 01:20", ["25 02:10", "26 02:10"]),
        // New York: 8 March 2026, 07:00 UTC, and 1 November 2026, 06:00 UTC.
        (New_York, "30 2 * * *", "2026-03-07 12:00", ["08 07:00", "09 06:30"]),
        (New_York, "30 1 * * *", "2026-10-31 12:00", ["01 05:30", "02 06:30"]),
        (New_York, "0 * * * *", "2026-11-01 04:30", ["01 05:00", "01 07:00"]),
        // Lord Howe: half an hour, 4 October 2026 at 15:30 UTC of the 3rd, and 5 April 2026 at
        // 15:00 UTC of the 4th.
        (Lord_Howe, "15 2 * * *", "2026-10-03 00:00", ["03 15:30", "04 15:15"]),
        (Lord_Howe, "45 1 * * *", "2026-04-04 00:00", ["04 14:45", "05 15:15"]),
        (Lord_Howe, "*/15 * * * *", "2026-04-04 14:30", ["04 14:45", "04 15:30"]),
    ] {
        let schedule = cron(text, zone);
        assert_eq!(after(&schedule, from, 2), expected, "{text} in {zone} after {from}");
        let first = schedule.next_after(utc(from)).unwrap();
        assert_eq!(schedule.last_until(first), Some(first), "{text} in {zone}");
    }
}

#[test]
fn while_an_hour_is_repeated_the_last_occurrence_lies_before_it() {
    for (zone, at, expected) in [
        (Berlin, "2026-10-25 00:50", "2026-10-25 00:45"),
        (Berlin, "2026-10-25 01:10", "2026-10-25 00:45"),
        (Berlin, "2026-10-25 02:00", "2026-10-25 02:00"),
        (Lord_Howe, "2026-04-04 15:20", "2026-04-04 14:45"),
    ] {
        assert_eq!(cron("*/15 * * * *", zone).last_until(utc(at)), Some(utc(expected)), "{zone} {at}");
    }
}

#[test]
fn wrong_expressions_are_named_with_an_example() {
    for (text, expected) in [
        ("", "has 0 fields"),
        ("0 4 * *", "has 4 fields"),
        ("0 0 4 * * *", "has 6 fields, and a cron expression has five: minute, hour"),
        ("60 4 * * *", "`60` is not a valid minute: 0 to 59; `*/15 * * * *` is every quarter of an hour"),
        ("0 24 * * *", "`24` is not a valid hour: 0 to 23"),
        ("0 4 32 * *", "`32` is not a valid day of month: 1 to 31"),
        ("0 4 * 13 *", "`13` is not a valid month: 1 to 12, or JAN to DEC"),
        ("0 4 * * SUNDAY", "`SUNDAY` is not a valid day of week: SUN to SAT"),
        ("0,,5 4 * * *", "`0,,5` is not a valid minute"),
        ("a b c d e", "`a` is not a valid minute"),
        ("@reboot", "`@reboot` is not known; write @hourly"),
        ("0 0 30 2 *", "`0 0 30 2 *` never occurs"),
        ("0 0 31 4,6 *", "never occurs"),
    ] {
        let error = Schedule::cron(text, Berlin).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn intervals_are_aligned_and_spread() {
    let hourly = Schedule::every(Duration::from_secs(3600));
    assert_eq!(after(&hourly, "2026-01-01 04:00", 2), ["01 05:00", "01 06:00"]);
    assert_eq!(hourly.next_after(utc("1969-12-31 23:30")), Some(utc("1970-01-01 00:00")));
    let spread = |name: &str| hourly.clone().spread(Duration::ZERO, name, "vacuum");
    let offsets: std::collections::BTreeSet<i64> =
        (0..100).map(|n| spread(&format!("app{n}.db")).shift).collect();
    assert!(offsets.len() > 90, "{offsets:?}");
    assert!(offsets.iter().all(|offset| (0..3600).contains(offset)));
    // These stand in state files: they are the same in every release.
    assert_eq!(stable_hash(&["app.db", "vacuum"]), 0x9868_37c8_bde9_33de);
    assert_ne!(stable_hash(&["ab", "c"]), stable_hash(&["a", "bc"]));
}

#[test]
fn a_spread_shifts_an_expression_within_its_width() {
    let plain = cron("0 4 * * *", Berlin);
    let from = utc("2026-01-01 12:00");
    for name in ["a.db", "b.db", "c.db"] {
        let shifted = plain.clone().spread(Duration::from_secs(600), name, "vacuum");
        let distance = shifted.next_after(from).unwrap() - plain.next_after(from).unwrap();
        assert!((0..600).contains(&distance.num_seconds()), "{distance}");
        assert_eq!(shifted, plain.clone().spread(Duration::from_secs(600), name, "vacuum"));
    }
    assert_eq!(plain.clone().spread(Duration::ZERO, "a.db", "vacuum"), plain);
    assert_ne!(plain, cron("0 4 * * *", New_York));
}

#[test]
fn the_expected_interval_is_the_longest_pause() {
    const HOUR: u64 = 3600;
    for (text, from, hours) in [
        ("0 4 * * *", "2026-01-01 05:00", 24),
        ("0 4 * * MON-FRI", "2026-01-05 05:00", 72),
        ("*/5 9-16 * * *", "2026-01-05 10:02", 16),
        ("* 9-16 * * MON-FRI", "2026-01-05 10:02", 64),
        ("0 0 1 * *", "2026-01-15 00:00", 31 * 24),
        ("@yearly", "2026-01-15 00:00", 366 * 24),
    ] {
        let interval = cron(text, Tz::UTC).interval(utc(from)).as_secs();
        assert_eq!(interval / HOUR, hours, "{text}: {interval} s");
    }
    assert_eq!(cron("* * * * *", Berlin).interval(utc("2026-01-01 00:00")), Duration::from_secs(60));
    assert_eq!(
        Schedule::every(Duration::from_secs(90)).interval(utc("2026-01-01 00:00")),
        Duration::from_secs(90)
    );
}

#[test]
fn schedules_are_written_as_they_were() {
    assert_eq!(cron(" 0 4 * * * ", Berlin).to_string(), "0 4 * * *");
    assert_eq!(cron("@Daily", Berlin).to_string(), "@Daily");
    for (seconds, text) in [
        (0, "every 1s"),
        (3600, "every 1h"),
        (5400, "every 1h30m"),
        (86_400, "every 1d"),
        (604_800, "every 1w"),
        (691_200, "every 8d"),
    ] {
        assert_eq!(Schedule::every(Duration::from_secs(seconds)).to_string(), text);
    }
    assert_eq!(Window::parse("sat-Sun  00:00-24:00", Berlin).unwrap().to_string(), "sat-Sun  00:00-24:00");
}

#[test]
fn windows_open_and_close() {
    // 1 January 2026 is a Thursday.
    for (text, zone, at, closes, opens) in [
        ("22:00-06:00", Tz::UTC, "2026-01-01 23:00", "2026-01-02 06:00", "2026-01-02 22:00"),
        ("22:00-06:00", Tz::UTC, "2026-01-01 05:59", "2026-01-01 06:00", "2026-01-01 22:00"),
        ("22:00-06:00", Tz::UTC, "2026-01-01 06:00", "", "2026-01-01 22:00"),
        ("22:00-24:00", Tz::UTC, "2026-01-01 22:00", "2026-01-02 00:00", "2026-01-02 22:00"),
        ("22:00-00:00", Tz::UTC, "2026-01-01 22:00", "2026-01-02 00:00", "2026-01-02 22:00"),
        ("22:00-06:00", New_York, "2026-01-02 03:00", "2026-01-02 11:00", "2026-01-03 03:00"),
        ("Sat-Sun 00:00-24:00", Tz::UTC, "2026-01-03 05:00", "2026-01-05 00:00", "2026-01-10 00:00"),
        ("Sat-Sun 00:00-24:00", Tz::UTC, "2026-01-05 00:00", "", "2026-01-10 00:00"),
        ("Sun-Mon 00:00-24:00", Tz::UTC, "2026-01-05 00:00", "2026-01-06 00:00", "2026-01-11 00:00"),
        ("Fri 22:00-06:00", Tz::UTC, "2026-01-03 05:00", "2026-01-03 06:00", "2026-01-09 22:00"),
        ("Fri 22:00-06:00", Tz::UTC, "2026-01-02 05:00", "", "2026-01-02 22:00"),
        ("Mon,Wed 01:00-05:00", Tz::UTC, "2026-01-01 02:00", "", "2026-01-05 01:00"),
        // The day of the change in Berlin: three hours less one, and three and one more.
        ("01:00-04:00", Berlin, "2026-03-29 00:30", "2026-03-29 02:00", "2026-03-29 23:00"),
        ("01:00-04:00", Berlin, "2026-10-25 01:30", "2026-10-25 03:00", "2026-10-26 00:00"),
        // The hours that are left out are not there, and an end that comes twice is the first one.
        ("Sun 02:00-03:00", Berlin, "2026-03-29 01:00", "", "2026-04-05 00:00"),
        ("Sun 02:15-03:30", Berlin, "2026-03-29 01:00", "2026-03-29 01:30", "2026-04-05 00:15"),
        ("Sun 00:00-02:30", Berlin, "2026-10-25 00:20", "2026-10-25 00:30", "2026-10-31 23:00"),
        ("Sun 00:00-02:30", Berlin, "2026-10-25 01:10", "", "2026-10-31 23:00"),
        ("03:00-02:30", Berlin, "2026-03-28 12:00", "2026-03-30 00:30", "2026-03-30 01:00"),
        ("01:30-02:15", Lord_Howe, "2026-10-03 15:15", "2026-10-03 15:30", "2026-10-04 14:30"),
    ] {
        let window = Window::parse(text, zone).unwrap();
        let expected = (!closes.is_empty()).then(|| utc(closes));
        assert_eq!(window.closes(utc(at)), expected, "{text} in {zone} at {at}");
        assert_eq!(window.contains(utc(at)), expected.is_some(), "{text} in {zone} at {at}");
        assert_eq!(window.next_opening(utc(at)), Some(utc(opens)), "{text} in {zone} at {at}");
    }
    for text in ["00:00-24:00", "Mon-Sun 00:00-24:00", "Wed-Tue 12:00-12:00"] {
        let Ok(window) = Window::parse(text, Berlin) else { continue };
        let at = utc("2026-03-29 01:00");
        assert!(window.contains(at) && window.closes(at).is_none() && window.next_opening(at).is_none());
    }
}

#[test]
fn wrong_windows_are_named_with_an_example() {
    for (text, expected) in [
        ("", "it is empty"),
        ("22:00", "`22:00` has no end"),
        ("22-06", "`22` is not a time of the day"),
        ("22:00-25:00", "`25:00` is not a time of the day"),
        ("24:00-06:00", "it begins at 24:00"),
        ("22:00-22:00", "the whole day is 00:00-24:00"),
        ("22:60-23:00", "`22:60` is not a time"),
        ("+2:00-23:00", "`+2:00` is not a time"),
        ("Sunday 22:00-23:00", "`Sunday` is not a day; the days are Mon"),
        ("Sat Sun 22:00-23:00", "it has more than days and hours"),
    ] {
        let error = Window::parse(text, Berlin).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("write `22:00-06:00`"), "{text}: {error}");
    }
}

fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(vec![Berlin, New_York, Lord_Howe, Tz::UTC, Tz::Pacific__Apia, Tz::Asia__Kathmandu])
}

/// Around the changes of the clock of 2026, and of 2011, when Apia left out a day.
fn times() -> impl Strategy<Value = DateTime<Utc>> {
    let around = ["2026-03-29 01:00", "2026-10-25 01:00", "2026-03-08 07:00", "2026-11-01 06:00"]
        .into_iter()
        .chain(["2026-10-03 15:30", "2026-04-04 15:00", "2011-12-30 10:00"]);
    let around: Vec<_> = around.map(utc).collect();
    (prop::sample::select(around), prop_oneof![-200_000i64..200_000, -4000i64..4000], 0..2i64).prop_map(
        |(around, seconds, half)| around + TimeDelta::seconds(seconds) + TimeDelta::milliseconds(500 * half),
    )
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let crons =
        ["* * * * *", "*/15 * * * *", "30 2 * * *", "*/7 1-3 * * *", "0 0 * * SUN", "15,45 0,2,23 * * *"];
    let plain = (prop::sample::select(crons.to_vec()), zones()).prop_map(|(text, zone)| cron(text, zone));
    let every = (1u64..100_000).prop_map(|seconds| Schedule::every(Duration::from_secs(seconds)));
    (prop_oneof![4 => plain, 1 => every], 0u64..10_000, "[a-c]{1,3}")
        .prop_map(|(schedule, width, name)| schedule.spread(Duration::from_secs(width), &name, "vacuum"))
}

proptest! {
    #[test]
    fn forward_and_backward_agree(schedule in schedules(), at in times()) {
        let next = schedule.next_after(at).unwrap();
        let last = schedule.last_until(at).unwrap();
        prop_assert!(last <= at && at < next);
        prop_assert_eq!(schedule.next_after(last), Some(next));
        prop_assert_eq!(schedule.last_until(next), Some(next));
        prop_assert_eq!(schedule.last_until(next - TimeDelta::milliseconds(1)), Some(last));
        prop_assert_eq!(schedule.occurrences(last - TimeDelta::milliseconds(1), next, 10), 2);
        prop_assert_eq!(schedule.occurrences(last, next - TimeDelta::milliseconds(1), 10), 0);
    }

    #[test]
    fn a_window_says_the_same_in_every_way(
        begin in 0i64..1440, length in 1i64..=1440, days in "(Sun |Sat-Mon |Thu,Sun |)", zone in zones(), at in times(),
    ) {
        let end = if begin + length > 1440 { begin + length - 1440 } else { begin + length };
        let text = format!("{days}{:02}:{:02}-{:02}:{:02}", begin / 60, begin % 60, end / 60, end % 60);
        let Ok(window) = Window::parse(&text, zone) else { return Ok(()) };
        prop_assume!(!window.is_always_open());
        let tick = TimeDelta::milliseconds(1);
        if let Some(close) = window.closes(at) {
            prop_assert!(close > at && window.contains(at) && window.contains(close - tick));
            prop_assert!(!window.contains(close), "{} is open at its close {}", text, close);
            prop_assert!(window.next_opening(at).unwrap() > close - tick);
        } else {
            prop_assert!(!window.contains(at));
            let open = window.next_opening(at).unwrap();
            prop_assert!(window.contains(open) && !window.contains(open - tick));
            let middle = at + (open - at) / 2;
            prop_assert!(middle >= open || !window.contains(middle));
        }
    }
}
