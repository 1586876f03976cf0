//! Tasks: what is accepted with which meaning, and what is refused with which words.

use std::time::Duration;

use super::accept;
use super::parse;
use super::refuse;
use crate::config::Config;
use crate::config::Tasks;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn entry(tasks: &str) -> String {
    format!("databases:\n  - path: /srv/a.db\n    tasks: {tasks}\n")
}

fn tasks(config: &Config) -> &Tasks {
    &config.sources[0].settings.tasks
}

#[test]
fn a_task_that_is_named_takes_its_defaults() {
    let config = accept(&entry(
        "{health_check: {}, vacuum: {}, log_cleaning: {tables: [{table: logs, column: created_at}]}}",
    ));
    let tasks = tasks(&config);
    let schedules: Vec<String> =
        tasks.timings().map(|(task, timing)| format!("{task} {}", timing.schedule)).collect();
    assert_eq!(schedules, ["log_cleaning 0 1 * * *", "vacuum 0 3 * * SUN", "health_check 0 4 * * *"]);
    let vacuum = tasks.vacuum.as_ref().unwrap();
    assert_eq!(
        (vacuum.min_reclaimable.bytes, vacuum.min_reclaimable.ratio, vacuum.convert_auto_vacuum),
        (10 << 20, 0.1, false)
    );
    assert_eq!(vacuum.write_limits.target_lock_hold, Duration::from_millis(20));
    let retention = &tasks.log_cleaning.as_ref().unwrap().tables[0];
    assert_eq!((retention.retention, retention.max_newest_age), (Some(90 * DAY), 30 * DAY));
    assert!(tasks.health_check.as_ref().unwrap().quick.is_none());
}

#[test]
fn backups_checkpoints_and_statistics_take_their_defaults() {
    let config = accept(&entry("{backup: {to: kept}, checkpoint: {}, optimize: on}"));
    let tasks = tasks(&config);
    let schedules: Vec<String> =
        tasks.timings().map(|(task, timing)| format!("{task} {}", timing.schedule)).collect();
    assert_eq!(schedules, ["backup 0 2 * * *", "optimize 0 5 * * *", "checkpoint every 5m"]);
    let backup = tasks.backup.as_ref().unwrap();
    assert!(backup.to.is_absolute() && backup.to.ends_with("kept"), "{:?}", backup.to);
    assert_eq!(
        (backup.keep, backup.max_writer_wait, backup.max_wal_growth),
        (7, Duration::from_millis(100), 1 << 30)
    );
    assert_eq!(tasks.checkpoint.as_ref().unwrap().truncate_above, 64 << 20);
    assert_eq!(tasks.optimize.as_ref().unwrap().analysis_limit, 1000);
}

#[test]
fn no_task_runs_that_is_not_named() {
    assert_eq!(tasks(&accept("databases: [{path: /srv/a.db}]")), &Tasks::default());
    assert_eq!(tasks(&accept(&entry("{vacuum: off}"))), &Tasks::default());
}

#[test]
fn an_entry_is_laid_over_its_profile_task_by_task() {
    let config = accept(
        "profiles: {p: {tasks: {health_check: {quick: 6h}, vacuum: {}}}}\n\
         databases: [{path: /srv/a.db, profile: p, tasks: {vacuum: off, health_check: {quick: on}}}, {path: /srv/b.db, profile: p}]",
    );
    let quick = |index: usize| {
        let check = config.sources[index].settings.tasks.health_check.clone().unwrap();
        check.quick.unwrap().schedule.to_string()
    };
    assert_eq!((quick(0), quick(1)), ("every 1h".to_owned(), "every 6h".to_owned()));
    assert!(config.sources[0].settings.tasks.vacuum.is_none());
    assert!(config.sources[1].settings.tasks.vacuum.is_some());
}

#[test]
fn the_retention_comes_from_the_environment_where_none_is_written() {
    let text = entry("{log_cleaning: {tables: [{table: logs, column: at}]}}");
    let retention = |days: &str| {
        let days = days.to_owned();
        let environment = move |name: &str| (name == "LOG_RETENTION_DAYS").then(|| days.clone());
        let config =
            Config::parse(&text, "/etc/lk.yml", &environment).map_err(|errors| errors.to_string())?;
        Ok(config.sources[0].settings.tasks.log_cleaning.as_ref().unwrap().tables[0].retention)
    };
    assert_eq!(retention("14"), Ok(Some(14 * DAY)));
    let errors: String = retention("two weeks").unwrap_err();
    assert!(errors.contains("LOG_RETENTION_DAYS is `two weeks`"), "{errors}");
}

#[test]
fn tasks_survive_the_way_through_yaml() {
    let config = accept(&format!(
        "timezone: Europe/Berlin\nstate: /var/lib/litekeeper/state.db\ntemp_directory: /var/tmp\npause_file: /run/p\n\
         max_jobs: 4\nmax_jobs_per_filesystem: 2\ncatch_up_delay: 5m\nhistory_retention: 100d\n{}",
        entry(
            "{health_check: {quick: {schedule: 30m, timeout: 5m}, max_writer_wait: 1s, max_wal_growth: 2GiB}, \
              vacuum: {schedule: 3d, window: \"Sat-Sun 22:00-06:00\", convert_auto_vacuum: incremental, max_lock_hold: 1m, min_reclaimable: {bytes: 1000, ratio: 0.25}}, \
              log_cleaning: {timezone: UTC, spread: 2h, foreign_keys: off, pause_ratio: 1.5, lock_timeout: 1m, target_lock_hold: 5ms, \
                tables: [{table: logs, column: at, format: unix_milliseconds, retention: 12h, allow_short_retention: true, \
                  condition: \"level <> 'x'\", keep_latest: 10, archive: /srv/archive, max_newest_age: 2d, cascade: [a, b], set_null: [\"c d\"]}, \
                  {table: events, max_rows: 1000}, {table: audit, column: at, max_bytes: 10MiB, retention: 3d}, \
                  {table: sessions, column: until, expires: on}]}, \
              backup: {to: \"/srv/$${name}\", keep: 3, min_free_space: 1GiB, max_writer_wait: 5s, max_wal_growth: 1MiB, window: \"01:00-05:00\"}, \
              checkpoint: {schedule: 1m, truncate_above: 8MiB, allow_replicated: true, allow_network_filesystem: true}, \
              optimize: {analysis_limit: 400, target_lock_hold: 10ms}}"
        )
    ));
    let cleaning = tasks(&config).log_cleaning.as_ref().unwrap();
    assert_eq!((cleaning.timing.spread, cleaning.tables[0].retention), (2 * HOUR, Some(12 * HOUR)));
    let shown = config.to_yaml();
    assert_eq!(parse(&shown), Ok(config), "--- shown\n{shown}");
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    let table = |more: &str| format!("{{log_cleaning: {{tables: [{{table: logs, column: at, {more}}}]}}}}");
    for (tasks, words) in [
        ("{vaccum: {}}".to_owned(), "did you mean `vacuum`?"),
        ("{vacuum: {schedule: \"0 25 * * *\"}}".to_owned(), "`25` is not a valid hour"),
        ("{vacuum: {schedule: 5s}}".to_owned(), "an interval must be from 1m to 366d"),
        ("{vacuum: {timezone: Berlin}}".to_owned(), "is not a time zone; write it as in `Europe/Berlin`"),
        ("{vacuum: {window: \"22-6\"}}".to_owned(), "is not a window"),
        ("{vacuum: {min_reclaimable: {bytes: 10 apples}}}".to_owned(), "is not a size"),
        ("{vacuum: {min_reclaimable: {ratio: 10}}}".to_owned(), "must be a number from 0 to 1"),
        ("{vacuum: {max_lock_hold: 0s}}".to_owned(), "must be from 1ms to 1d"),
        ("{log_cleaning: {}}".to_owned(), "missing key; write `tables:"),
        ("{log_cleaning: {tables: []}}".to_owned(), "must name at least one table"),
        (table("retention: 1h"), "is below one day; if that is intended, add `allow_short_retention: on`"),
        (table("format: epoch"), "must be one of `auto`"),
        (
            "{log_cleaning: {tables: [{table: logs, column: at}, {table: LOGS, column: at}]}}".to_owned(),
            "`LOGS` is listed already",
        ),
        ("{log_cleaning: {tables: [{table: logs}]}}".to_owned(), "missing key; write `column: created_at`"),
        (
            "{log_cleaning: {tables: [{table: logs, max_rows: 5, retention: 9d}]}}".to_owned(),
            "missing key; write `column: created_at`",
        ),
        (
            "{log_cleaning: {tables: [{table: logs, max_rows: 5, max_newest_age: 9d}]}}".to_owned(),
            "has no effect without `retention`",
        ),
        (
            "{log_cleaning: {tables: [{table: logs, max_rows: 5, format: iso8601}]}}".to_owned(),
            "has no effect without `column`",
        ),
        (table("max_rows: 0"), "must be a whole number from 1"),
        (table("max_bytes: 5, keep_latest: 5"), "cannot be combined with `max_rows` and `max_bytes`"),
        (table("max_rows: 5, expires: on"), "does not go with `expires: on`"),
        ("{backup: {}}".to_owned(), "missing key; write `to: /srv/backups`"),
        ("{backup: {to: /srv, keep: 0}}".to_owned(), "from 1 to 10000"),
        ("{backup: {to: /srv, target_lock_hold: 1s}}".to_owned(), "unknown key"),
        ("{checkpoint: {lock_timeout: 1s}}".to_owned(), "unknown key"),
        ("{optimize: {analysis_limit: 1}}".to_owned(), "from 100 to 1000000"),
        ("{health_check: {quick: often}}".to_owned(), "a cron expression has five"),
    ] {
        let errors = refuse(&entry(&tasks));
        assert!(errors.len() == 1 && errors[0].contains(words), "{tasks}: {errors:#?}");
    }
}
