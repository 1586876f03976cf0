//! `litekeeper serve`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::auth::AccessControl;
use crate::config::Config;
use crate::config::ExternalUrl;
use crate::config::Listen;
use crate::config::RoutePrefix;
use crate::config::TelemetryPath;

use super::escape::print_error;
use super::exit::Exit;
use super::log::Log;
use super::runtime::block_on;
use super::runtime::traces;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  litekeeper serve books.db '/srv/tenants/*.db' /var/lib/app
  litekeeper serve --rows companies,vouchers books.db
  litekeeper serve --config /etc/litekeeper/litekeeper.yml

SIGHUP reloads the configuration. If the new file is invalid, the old configuration stays in effect.

Exit codes: 0 stopped, 2 usage or configuration error, 3 failed.")]
pub(super) struct Arguments {
    /// Files, directories and patterns to monitor
    #[arg(required_unless_present = "config", conflicts_with = "config", value_name = "PATH|PATTERN")]
    targets: Vec<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tables whose rows are counted, as names or patterns separated by commas; not with --config
    #[arg(long, value_delimiter = ',', value_name = "TABLE", conflicts_with = "config")]
    rows: Vec<String>,
    /// Address to listen on, overriding the configuration (`:PORT` for all interfaces); may be
    /// repeated
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT|unix:PATH")]
    listen: Vec<Listen>,
    /// Listen on the sockets passed by systemd instead of on addresses
    #[arg(long = "web.systemd-socket", conflicts_with = "listen")]
    systemd_socket: bool,
    /// Web configuration file (TLS and users) in the format of Prometheus exporters, overriding the
    /// configuration
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config: Option<PathBuf>,
    /// Path of the metrics, overriding the configuration (default /metrics)
    #[arg(long = "web.telemetry-path", value_name = "PATH")]
    telemetry_path: Option<TelemetryPath>,
    /// URL under which a reverse proxy exposes litekeeper; its path becomes the prefix of all
    /// routes
    #[arg(long = "web.external-url", value_name = "URL")]
    external_url: Option<ExternalUrl>,
    /// Prefix of all routes (default: the path of --web.external-url); use `/` if the proxy strips
    /// the prefix
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    route_prefix: Option<RoutePrefix>,
    /// Enable POST /-/reload
    #[arg(long = "web.enable-lifecycle")]
    lifecycle: bool,
}

pub(super) fn run(arguments: Arguments, log: &Log) -> anyhow::Result<Exit> {
    let Arguments {
        targets,
        config,
        rows,
        listen,
        systemd_socket,
        web_config,
        telemetry_path,
        external_url,
        route_prefix,
        lifecycle,
    } = arguments;
    let loader: app::ConfigLoader = Arc::new(move || {
        let mut loaded = match &config {
            Some(file) => Config::load(file)?,
            None => Config::for_targets(&targets, &rows)?,
        };
        if !listen.is_empty() {
            loaded.listen.clone_from(&listen);
        }
        if web_config.is_some() {
            loaded.web.config_file.clone_from(&web_config);
        }
        if let Some(path) = &telemetry_path {
            loaded.web.telemetry_path.clone_from(path);
        }
        if external_url.is_some() {
            loaded.web.external_url.clone_from(&external_url);
        }
        if route_prefix.is_some() {
            loaded.web.route_prefix.clone_from(&route_prefix);
        }
        Ok(loaded)
    });
    let config = match loader() {
        Ok(config) => config,
        Err(errors) => {
            print_error!("litekeeper: the configuration is invalid\n{errors}");
            return Ok(Exit::Usage);
        }
    };
    let telemetry = match traces(&config.tracing, log) {
        Ok(telemetry) => telemetry,
        Err(exit) => return Ok(exit),
    };
    let auth = match AccessControl::open(&config.web) {
        Ok(auth) => Arc::new(auth),
        Err(error) => {
            print_error!("litekeeper: the web configuration is invalid\n{error}");
            return Ok(Exit::Usage);
        }
    };
    block_on(async {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        let listeners = app::bind(&config.listen, systemd_socket).await?;
        let spans = telemetry.counts();
        let options = app::Options { config, auth, loader, lifecycle, first_runs: None, spans, stop };
        let result = app::run(listeners, options).await;
        telemetry.end().await;
        result?;
        tracing::info!("stopped");
        Ok(Exit::Success)
    })
}
