//! `litekeeper schedule`.

use chrono::DateTime;
use chrono::SecondsFormat;
use chrono::Utc;
use chrono_tz::Tz;
use clap::Args;

use crate::config::Timing;
use crate::database::Database;
use crate::task::TaskKind;

use super::common::CliContext;
use super::common::ConfigFile;
use super::common::table;
use super::escape::one_line;
use super::exit::Exit;
use super::output::print;
use crate::humanize::rfc3339;

#[derive(Debug, Args)]
#[command(after_help = "\
The times are calculated from the schedules. A running agent may start a run later if others are active, and makes up for missed runs.

Exit codes: 0 shown, 2 usage or configuration error, 3 the state file could not be read.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of a database; may be repeated; the default is all databases
    #[arg(long, value_name = "NAME")]
    db: Vec<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One task of one database.
struct ScheduleRow {
    next: Option<DateTime<Utc>>,
    zone: Tz,
    database: String,
    task: TaskKind,
    schedule: String,
    window: Option<String>,
    last: Option<String>,
    paused: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let CliContext { databases, executor, .. } = match arguments.config.open(&arguments.db)? {
        Ok(context) => context,
        Err(exit) => return Ok(exit),
    };
    let now = Utc::now();
    let mut rows = Vec::new();
    for database in &databases {
        let paused = executor.paused(database)?.is_some();
        for (task, timing) in database.settings.tasks.timings() {
            let (last, _) = executor.state_store.last_runs(&database.path, task)?;
            let last =
                last.map(|past| format!("{} {}", rfc3339(past.run.started_at), past.run.status.outcome()));
            rows.push(row(database, task, timing, now, last, paused));
        }
    }
    rows.sort_by(|one, other| {
        (one.next, &one.database, one.task).cmp(&(other.next, &other.database, other.task))
    });
    if arguments.json {
        let rows: Vec<_> = rows.iter().map(json).collect();
        return Ok(print(&(serde_json::to_string_pretty(&serde_json::json!({ "schedule": rows }))? + "\n")));
    }
    if rows.is_empty() {
        return Ok(print("no task is configured; add tasks under `tasks` in the configuration\n"));
    }
    let mut table = table(["NEXT", "ZONE", "DATABASE", "TASK", "SCHEDULE", "WINDOW", "LAST"]);
    for row in &rows {
        let next = if row.paused { "paused".to_owned() } else { local(row) };
        table.add_row([
            next,
            row.zone.name().to_owned(),
            one_line(&row.database).into_owned(),
            row.task.to_string(),
            row.schedule.clone(),
            row.window.clone().unwrap_or_else(|| "always".to_owned()),
            row.last.clone().unwrap_or_else(|| "never".to_owned()),
        ]);
    }
    Ok(print(&format!("{}\n", table.trim_fmt())))
}

fn row(
    database: &Database,
    task: TaskKind,
    timing: &Timing,
    now: DateTime<Utc>,
    last: Option<String>,
    paused: bool,
) -> ScheduleRow {
    let schedule = timing.schedule.clone().spread(timing.spread, database.name.as_str(), task.stored_name());
    ScheduleRow {
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

/// Formats the next time in the time zone of the schedule.
fn local(row: &ScheduleRow) -> String {
    let next = row.next.map(|next| next.with_timezone(&row.zone));
    next.map_or_else(|| "never".to_owned(), |next| next.format("%a %Y-%m-%d %H:%M:%S").to_string())
}

fn json(row: &ScheduleRow) -> serde_json::Value {
    let next = row.next.map(|next| next.with_timezone(&row.zone).to_rfc3339_opts(SecondsFormat::Secs, true));
    serde_json::json!({
        "database": row.database,
        "task": row.task.label(),
        "quick": row.task == TaskKind::QuickCheck,
        "next": next,
        "timezone": row.zone.name(),
        "schedule": row.schedule,
        "window": row.window,
        "last": row.last,
        "paused": row.paused,
    })
}
