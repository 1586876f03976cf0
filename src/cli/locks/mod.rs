//! `litekeeper locks`.

use std::io::IsTerminal as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::locks::Locks;
use crate::locks::LocksJson;
use crate::locks::LostLocksJson;
use crate::os::stdout_is_closed;
use crate::worker_pool::run_blocking;

use super::escape::printable;
use super::exit::Exit;
use super::output::print;
use super::output::print_raw;
use super::runtime::block_on;

mod render;
mod target;

use target::LockReport;
use target::LockTarget;
use target::observe;

/// The version of the JSON format; it increases when a field is removed or changes its meaning.
const FORMAT_VERSION: u32 = 1;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper locks books.db
  litekeeper locks books.db --watch 0.5
  litekeeper locks --json /srv/tenants/*.db | jq '.databases[] | select(.locks.holds != []) | .path'

The kernel does not report when a lock was acquired. Without --watch, the output shows the locks held now; with --watch, it also shows for how long each lock has been seen held without interruption. docs/LOCKS.md explains each lock.

Exit codes: 0 shown, 2 usage error, 3 a file could not be examined.")]
pub(super) struct Arguments {
    /// Database files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Repeat every INTERVAL seconds until Ctrl-C or until the output is closed. On a terminal, the
    /// display is updated; otherwise each change is one line
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "1", value_parser = interval)]
    watch: Option<Duration>,
    /// Print JSON instead of text; with --watch, one document per line
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> anyhow::Result<Duration> {
    const BOUNDS: std::ops::RangeInclusive<f64> = 0.1..=3600.0;
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds) if BOUNDS.contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => anyhow::bail!(
            "give a number of seconds from {} to {}, or put the files before --watch",
            BOUNDS.start(),
            BOUNDS.end()
        ),
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    block_on(async {
        let targets: Vec<LockTarget> = arguments.files.into_iter().map(LockTarget::new).collect();
        let watch = Watch { targets: Arc::new(Mutex::new(targets)), json: arguments.json };
        match arguments.watch {
            None => watch.once().await,
            Some(interval) => watch.keep_on(interval).await,
        }
    })
}

/// Samples the locks on one file; `None` if the kernel does not list them.
pub(super) fn locks_of(file: &Path) -> Option<Locks> {
    let report = observe(&mut [LockTarget::new(file.to_owned())]).ok()?.pop()?;
    Some(report.observation.ok()?.locks)
}

struct Watch {
    targets: Arc<Mutex<Vec<LockTarget>>>,
    json: bool,
}

impl Watch {
    /// Samples the locks of all files once.
    async fn sample(&self) -> anyhow::Result<Vec<LockReport>> {
        let targets = Arc::clone(&self.targets);
        let sampled = run_blocking(move || observe(&mut targets.lock()));
        sampled.await.ok_or_else(|| anyhow::anyhow!("reading the locks panicked; please report this"))?
    }

    async fn once(&self) -> anyhow::Result<Exit> {
        let reports = self.sample().await?;
        if self.json {
            print(&(serde_json::to_string_pretty(&document(&reports))? + "\n"));
        } else {
            print(&render::page(&reports, false));
        }
        let failed = reports.iter().any(|report| report.observation.is_err());
        Ok(if failed { Exit::Failure } else { Exit::Success })
    }

    /// Samples repeatedly until a signal arrives. A file that disappears is reported, and may
    /// reappear.
    async fn keep_on(&self, interval: Duration) -> anyhow::Result<Exit> {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        let terminal = std::io::stdout().is_terminal();
        let mut before: Vec<LockReport> = Vec::new();
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if terminal && !self.json {
            print_raw(render::CLEAR_SCREEN);
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(Exit::Success),
                // A closed pipe must be detected even if there is nothing to write.
                () = output_closed() => return Ok(Exit::Success),
                _ = ticks.tick() => {}
            }
            let reports = tokio::select! {
                () = stop.cancelled() => return Ok(Exit::Success),
                reports = self.sample() => reports?,
            };
            let text = if self.json {
                document(&reports).to_string() + "\n"
            } else if terminal {
                render::redrawn(&printable(&render::page(&reports, true)))
            } else {
                printable(&render::changes(&before, &reports)).into_owned()
            };
            if !text.is_empty() && !printed(&text) {
                return Ok(Exit::Success);
            }
            before = reports;
        }
    }
}

/// Waits until standard output is closed.
async fn output_closed() {
    const POLL_INTERVAL: Duration = Duration::from_millis(100);
    while !stdout_is_closed() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Writes to standard output; false if it is closed.
fn printed(text: &str) -> bool {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

fn document(reports: &[LockReport]) -> Value {
    let database = |report: &LockReport| {
        let (mut value, error) = match &report.observation {
            Ok(observation) => {
                let mode = observation.facts.as_ref().map(|facts| facts.header.journal_mode.label());
                let wal = observation.facts.as_ref().and_then(|facts| facts.wal);
                let locks = LocksJson::new(&observation.locks, wal);
                let lost: Vec<LostLocksJson> = observation.lost.iter().map(LostLocksJson::new).collect();
                (
                    json!({ "journal_mode": mode, "locks": locks, "lost_locks": lost }),
                    observation.note.clone(),
                )
            }
            Err(error) => {
                (json!({ "journal_mode": null, "locks": null, "lost_locks": [] }), Some(error.clone()))
            }
        };
        value["path"] = report.path.to_string_lossy().into();
        value["error"] = error.into();
        value
    };
    json!({
        "format_version": FORMAT_VERSION,
        "litekeeper_version": env!("CARGO_PKG_VERSION"),
        "databases": reports.iter().map(database).collect::<Vec<_>>(),
    })
}
