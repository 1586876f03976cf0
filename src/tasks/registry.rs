//! Every task: the one list from which the command line, the runner, the page, the API and the
//! metrics take them.

use crate::task::TaskKind;

use super::backup::Backup;
use super::checkpoint::Checkpoint;
use super::health_check::HealthCheck;
use super::log_cleaning::LogCleaning;
use super::optimize::Optimize;
use super::report::Report;
use super::scrub::Scrub;
use super::task::Task;
use super::vacuum::Vacuum;

/// Every task, in the order in which `run all` runs them: the scrub precedes what could rewrite or
/// rotate away what it finds, the backup precedes every change, log cleaning frees the pages that a vacuum gives back, and the health check sees the result.
pub static TASKS: [&dyn Task; TaskKind::ALL.len()] = [
    &Scrub,
    &Backup,
    &LogCleaning,
    &Vacuum,
    &Optimize,
    &Checkpoint,
    &HealthCheck { quick: true },
    &HealthCheck { quick: false },
];

/// The task of a kind.
#[must_use]
pub fn task(kind: TaskKind) -> &'static dyn Task {
    TASKS.into_iter().find(|task| task.kind() == kind).expect("every kind of task is registered")
}

/// Parses the stored JSON of a run's report; `None` where an older version wrote it in another
/// form.
#[must_use]
pub fn parse_report(kind: TaskKind, json: &serde_json::Value) -> Option<Report> {
    Report::from_json(json, kind.label(), |details| task(kind).parse_report(details))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;

    const MAINTENANCE: &str = include_str!("../../docs/MAINTENANCE.md");

    /// A task for which a piece is missing fails here, with the name of the piece.
    #[test]
    fn each_task_is_complete() {
        let kinds: Vec<TaskKind> = TASKS.iter().map(|task| task.kind()).collect();
        assert_eq!(
            kinds,
            TaskKind::ALL,
            "the registry has every kind of task once, in the order of `run all`"
        );
        let names: BTreeSet<&str> = kinds.iter().map(|kind| kind.stored_name()).collect();
        assert_eq!(names.len(), kinds.len(), "two tasks have the same name in the state file");
        let helps: BTreeSet<&str> = TASKS.iter().map(|task| task.help()).collect();
        let labels: BTreeSet<&str> = kinds.iter().map(|kind| kind.label()).collect();
        assert_eq!(helps.len(), labels.len(), "two tasks have the same help, or one has two");
        for task in TASKS {
            let (kind, label) = (task.kind(), task.kind().label());
            assert_eq!(TaskKind::from_label(label).map(TaskKind::label), Some(label), "{kind}");
            assert!(task.help().len() > 10 && !task.help().ends_with('.'), "{kind}: help");
            let heading = format!("\n## {label}\n");
            assert!(MAINTENANCE.contains(&heading), "{kind}: docs/MAINTENANCE.md has no {heading:?}");
            assert!(
                task.parse_report(&serde_json::json!({ "none": true })).is_none(),
                "{kind}: parse_report"
            );
        }
    }

    /// The settings of `example` enable the task with a default schedule, and `label: off` disables
    /// it.
    #[test]
    fn each_task_has_a_default_schedule() {
        for task in TASKS {
            let (kind, label) = (task.kind(), task.kind().label());
            let timings = |settings: &str| {
                let yaml = format!("databases: [{{path: /srv/a.db, tasks: {{{label}: {settings}}}}}]");
                let config = Config::parse(&yaml, "/etc/litekeeper.yml", &|_| None)
                    .unwrap_or_else(|errors| panic!("{kind}: {errors}"));
                let tasks = config.sources[0].settings.tasks.clone();
                tasks.timings().map(|(kind, timing)| (kind, timing.clone())).collect::<Vec<_>>()
            };
            let found = timings(task.example());
            let timing = found.iter().find(|(found, _)| *found == kind).map(|(_, timing)| timing);
            let timing = timing.unwrap_or_else(|| panic!("{kind}: `{}` does not enable it", task.example()));
            assert!(timing.schedule.next_after(chrono::Utc::now()).is_some(), "{kind}: schedule");
            assert!(timing.timeout.as_secs() > 0, "{kind}: timeout");
            assert!(timings("off").iter().all(|(found, _)| *found != kind), "{kind}: off");
        }
    }
}
