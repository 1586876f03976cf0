//! `litekeeper schedule`.

use chrono::DateTime;
use chrono::SecondsFormat;
use chrono::Utc;
use chrono_tz::Tz;
use clap::Args;

use crate::config::Timing;
use crate::database::Database;
use crate::task::Task;

use super::Exit;
use super::common::CliContext;
use super::common::ConfigFile;
use super::common::iso;
use super::common::table;
use super::escape::one_line;
use super::print;

#[derive(Debug, Args)]
#[command(after_help = "\
Times are those of the schedules. A running agent may be late by what runs before, and makes up for what it missed.

Exit codes: 0 shown, 2 usage or configuration, 3 the state file could not be read.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Databases, by name
    #[arg(long, value_name = "NAME")]
    db: Vec<String>,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One task of one database.
struct Line {
    next: Option<DateTime<Utc>>,
    zone: Tz,
    database: String,
    task: Task,
    schedule: String,
    window: Option<String>,
    last: Option<String>,
    paused: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let CliContext { databases, workshop, .. } = match arguments.config.open(&arguments.db)? {
        Ok(premises) => premises,
        Err(exit) => return Ok(exit),
    };
    let now = Utc::now();
    let mut lines = Vec::new();
    for database in &databases {
        let paused = workshop.paused(database)?.is_some();
        for (task, timing) in database.settings.tasks.timings() {
            let (last, _) = workshop.history.last_runs(&database.path, task)?;
            let last = last.map(|past| format!("{} {}", iso(past.run.started_at), past.run.outcome));
            lines.push(line(database, task, timing, now, last, paused));
        }
    }
    lines.sort_by(|one, other| {
        (one.next, &one.database, one.task).cmp(&(other.next, &other.database, other.task))
    });
    if arguments.json {
        let lines: Vec<_> = lines.iter().map(json).collect();
        return Ok(print(&(serde_json::to_string_pretty(&serde_json::json!({ "schedule": lines }))? + "\n")));
    }
    if lines.is_empty() {
        return Ok(print("no task is configured; name some under `tasks` in the configuration\n"));
    }
    let mut table = table(["NEXT", "ZONE", "DATABASE", "TASK", "SCHEDULE", "WINDOW", "LAST"]);
    for line in &lines {
        let next = if line.paused { "paused".to_owned() } else { local(line) };
        table.add_row([
            next,
            line.zone.name().to_owned(),
            one_line(&line.database).into_owned(),
            line.task.to_string(),
            line.schedule.clone(),
            line.window.clone().unwrap_or_else(|| "always".to_owned()),
            line.last.clone().unwrap_or_else(|| "never".to_owned()),
        ]);
    }
    Ok(print(&format!("{}\n", table.trim_fmt())))
}

fn line(
    database: &Database,
    task: Task,
    timing: &Timing,
    now: DateTime<Utc>,
    last: Option<String>,
    paused: bool,
) -> Line {
    let schedule = timing.schedule.clone().spread(timing.spread, database.name.as_str(), task.slot());
    Line {
        next: schedule.next_after(now),
        zone: timing.zone,
        database: database.name.as_str().to_owned(),
        task,
        schedule: timing.schedule.to_string(),
        window: timing.window.as_ref().map(ToString::to_string),
        last,
        paused,
    }
}

/// The next time on the clock of its zone, as the schedule was written for it.
fn local(line: &Line) -> String {
    let next = line.next.map(|next| next.with_timezone(&line.zone));
    next.map_or_else(|| "never".to_owned(), |next| next.format("%a %Y-%m-%d %H:%M:%S").to_string())
}

fn json(line: &Line) -> serde_json::Value {
    let next =
        line.next.map(|next| next.with_timezone(&line.zone).to_rfc3339_opts(SecondsFormat::Secs, true));
    serde_json::json!({
        "database": line.database,
        "task": line.task.label(),
        "quick": line.task == Task::QuickCheck,
        "next": next,
        "timezone": line.zone.name(),
        "schedule": line.schedule,
        "window": line.window,
        "last": line.last,
        "paused": line.paused,
    })
}
