//! `litekeeper serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::config::Config;

use super::Exit;
use super::block_on;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper serve books.db '/srv/tenants/*.db' /var/lib/app
  litekeeper serve --rows companies,vouchers books.db
  litekeeper serve --config /etc/litekeeper/litekeeper.yml

SIGHUP reloads the configuration; a bad file changes nothing. Exit codes: 0 stopped, 2 usage or configuration, 3 failure.")]
pub(super) struct Arguments {
    /// Files, directories and patterns to watch
    #[arg(required_unless_present = "config", conflicts_with = "config", value_name = "PATH|PATTERN")]
    targets: Vec<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tables whose rows are counted, by name or pattern; only with paths on the command line
    #[arg(long, value_delimiter = ',', value_name = "TABLE", conflicts_with = "config")]
    rows: Vec<String>,
    /// Address to listen on, instead of the configuration's
    #[arg(long = "web.listen-address", value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// Answer POST /-/reload
    #[arg(long = "web.enable-lifecycle")]
    lifecycle: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let Arguments { targets, config, rows, listen, lifecycle } = arguments;
    let loader: app::Loader = Arc::new(move || {
        let mut loaded = match &config {
            Some(file) => Config::load(file).map_err(|errors| errors.to_string())?,
            None => Config::for_targets(&targets, &rows).map_err(|errors| errors.to_string())?,
        };
        if let Some(listen) = listen {
            loaded.listen = listen;
        }
        Ok(loaded)
    });
    let config = match loader() {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("litekeeper: the configuration is not usable\n{errors}");
            return Ok(Exit::Usage);
        }
    };
    block_on(async {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        let listener = app::bind(config.listen).await?;
        app::run(listener, app::Options { config, loader, lifecycle, stop }).await?;
        tracing::info!("stopped");
        Ok(Exit::Success)
    })
}
