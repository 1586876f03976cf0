//! `litekeeper healthcheck`.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::Config;
use crate::config::DEFAULT_LISTEN;
use crate::config::Listen;
use crate::config::RoutePrefix;
use crate::http::connect_address;
use crate::http::query_health;
use crate::tls::PinnedTlsClient;

use super::escape::print_error;
use super::exit::Exit;
use super::output::print;
use super::runtime::block_on;

/// The configuration file that is used if it exists and no other is given.
const DEFAULT_CONFIG: &str = "/etc/litekeeper/litekeeper.yml";

#[derive(Debug, Args)]
#[command(after_help = "\
Without an option, the address is the first one in the configuration file (default /etc/litekeeper/litekeeper.yml), or \
127.0.0.1:10321 if there is no such file. A server that refuses the request for lack of a password or a client certificate \
is running, and counts as healthy.

Exit codes: 0 healthy, 1 not healthy, 2 usage error.")]
pub(super) struct Arguments {
    /// Address of the server, overriding the configuration
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT|unix:PATH")]
    listen: Option<Listen>,
    /// Configuration file of the server
    #[arg(long, value_name = "FILE", env = "LITEKEEPER_CONFIG")]
    config: Option<PathBuf>,
    /// Web configuration file (TLS and users) of the server, overriding the configuration
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config: Option<PathBuf>,
    /// Prefix of the server's routes, overriding the configuration
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    route_prefix: Option<RoutePrefix>,
    /// Seconds to wait for a response
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let limit = Duration::from_secs(arguments.timeout);
    let Server { place, prefix, client } = match server(arguments) {
        Ok(found) => found,
        Err(error) => {
            print_error!("litekeeper: {error:#}");
            return Ok(Exit::Problems);
        }
    };
    let answer = block_on(async { Ok(query_health(&place, &prefix, client, limit).await) })?;
    match answer {
        Ok(health) => Ok(print(&format!("{place}: {health}\n"))),
        Err(problem) => {
            print_error!("litekeeper: {place}: {problem}");
            Ok(Exit::Problems)
        }
    }
}

/// How to reach the server.
struct Server {
    place: Listen,
    prefix: RoutePrefix,
    /// `None` for plain HTTP.
    client: Option<PinnedTlsClient>,
}

fn server(arguments: Arguments) -> anyhow::Result<Server> {
    let Arguments { listen, config, web_config, route_prefix, timeout: _ } = arguments;
    let file = config.or_else(|| Some(PathBuf::from(DEFAULT_CONFIG)).filter(|file| file.exists()));
    let config = match file {
        // The command line gives everything that the file could.
        Some(_) if listen.is_some() && web_config.is_some() => None,
        Some(file) => Some(load(&file)?),
        None => None,
    };
    let configured = config.as_ref().and_then(|config| config.listen.first().cloned());
    let place = listen.or(configured).unwrap_or(Listen::Tcp(DEFAULT_LISTEN));
    let configured = config.as_ref().map(|config| config.web.prefix().clone());
    let prefix = route_prefix.or(configured).unwrap_or_default();
    let web_config = web_config.or_else(|| config.and_then(|config| config.web.config_file));
    let client = web_config.as_deref().map(PinnedTlsClient::from_web_config).transpose()?.flatten();
    Ok(Server { place: connect_address(&place), prefix, client })
}

fn load(file: &Path) -> anyhow::Result<Config> {
    Config::load(file).map_err(|errors| anyhow::anyhow!("the configuration is invalid\n{errors}"))
}
