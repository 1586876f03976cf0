//! `litekeeper demo`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::auth::AccessControl;
use crate::config::Listen;
use crate::config::TracingSettings;
use crate::demo::Demo;
use crate::http::connect_address;
use crate::worker_pool::run_blocking;

use super::escape::print_error;
use super::exit::Exit;
use super::log::Log;
use super::runtime::block_on;
use super::runtime::traces;

/// Leaves time for one or two scrapes before the first runs, with Prometheus' default scrape
/// interval.
const FIRST_RUNS_DELAY: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 stopped, 2 usage error, 3 failed (the address is in use, or the directory already exists)."
)]
pub(super) struct Arguments {
    /// Create the databases in this new directory and keep them
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
    /// Address to listen on
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT", default_value = "127.0.0.1:10321", value_parser = port_of)]
    listen: Listen,
}

pub(super) fn run(arguments: Arguments, log: &Log) -> anyhow::Result<Exit> {
    let telemetry = match traces(&TracingSettings::default(), log) {
        Ok(telemetry) => telemetry,
        Err(exit) => return Ok(exit),
    };
    block_on(async {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        // Bind first, so that a port in use is reported before the databases are created.
        let listeners = app::bind(&[arguments.listen], false).await?;
        // The port may have been chosen by the system.
        let bound = listeners.first().map(|listener| listener.address().clone());
        let place = bound.context("the demo has no listener; please report this")?;
        let kept = arguments.keep.is_some();
        print_error!("Creating demo databases ...");
        let made = run_blocking(move || Demo::make(arguments.keep.as_deref())).await;
        let demo = made.context("creating the demo databases panicked")??;
        let config = demo.config(place.clone());
        let auth = Arc::new(AccessControl::open(&config.web).map_err(anyhow::Error::msg)?);
        print_error!("{}", welcome(&demo, &connect_address(&place)));
        let loader: app::ConfigLoader = {
            let config = config.clone();
            Arc::new(move || Ok(config.clone()))
        };
        let first_runs = Some(FIRST_RUNS_DELAY);
        let spans = telemetry.counts();
        let options = app::Options { config, auth, loader, lifecycle: false, first_runs, spans, stop };
        let result = app::run(listeners, options).await;
        telemetry.end().await;
        // Stop the writers and remove the directory before the last message.
        run_blocking(move || drop(demo)).await;
        result?;
        print_error!(
            "{}",
            if kept { "The demo has ended." } else { "The demo has ended; its databases are removed." }
        );
        Ok(Exit::Success)
    })
}

/// Parses an address that a browser can open.
fn port_of(text: &str) -> anyhow::Result<Listen> {
    match text.parse()? {
        Listen::Unix(_) => anyhow::bail!("a browser needs an address with a port, such as 127.0.0.1:10321"),
        place @ (Listen::Tcp(_) | Listen::Everywhere(_)) => Ok(place),
    }
}

fn welcome(demo: &Demo, address: &Listen) -> String {
    format!(
        "Databases of the demo, in {directory}:\n\
         {databases}\n\
         \n\
         Open in a browser:\n\
         \x20      http://{address}/          the databases and their state\n\
         \x20      http://{address}/metrics   the metrics for Prometheus\n\
         Run in another terminal:\n\
         \x20      litekeeper check {directory}/damaged.db\n\
         \x20      litekeeper doctor {directory}/bloated.db\n\
         \x20      litekeeper locks {directory}/pinned.db --watch\n\
         \x20      litekeeper run all --db books --config {directory}/litekeeper.yml\n\
         \n\
         Every task runs once, {first_runs} s after the start. Press Ctrl-C to end the demo{end}.",
        first_runs = FIRST_RUNS_DELAY.as_secs(),
        directory = demo.directory().display(),
        databases = demo
            .descriptions()
            .iter()
            .map(|(name, words)| format!("  {name:<12} {words}"))
            .collect::<Vec<_>>()
            .join("\n"),
        end = if demo.is_kept() { "; the databases are kept" } else { " and remove the databases" },
    )
}
