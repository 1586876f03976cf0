//! The composition root: builds all components, binds listeners, spawns the loops and waits for
//! their end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::actions::ActionQueue;
use crate::actions::run_all_once;
use crate::auth;
use crate::auth::AccessControl;
use crate::collection::CollectionLoop;
use crate::collectors::Snapshot;
use crate::collectors::sample_database;
use crate::config::Config;
use crate::config::Listen;
use crate::config::StateLocation;
use crate::discovery::Discovery;
use crate::discovery::GivenName;
use crate::discovery::GivenNames;
use crate::discovery::NameStore;
use crate::http;
use crate::http::AppState;
use crate::http::Listener;
use crate::http::ReloadError;
use crate::http::ReloadRequest;
use crate::http::Scrapes;
use crate::metrics::AgentMetrics;
use crate::metrics::Exposition;
use crate::metrics::JobMetrics;
use crate::metrics::SpanCounts;
use crate::os::is_root;
use crate::runner::Runner;
use crate::runner::TaskExecutor;
use crate::sqlite;
use crate::state_store::NameRow;
use crate::state_store::StateStore;
use crate::trends::Trends;
use crate::worker_pool::run_blocking;

/// More threads would only compete for the same disk, and each needs memory.
const MAX_SAMPLER_THREADS: usize = 4;

/// Loads the configuration again.
pub type ConfigLoader = Arc<dyn Fn() -> anyhow::Result<Config> + Send + Sync>;

/// What the agent needs to run.
pub struct Options {
    /// The configuration at the start.
    pub config: Config,
    /// Authenticates requests.
    pub auth: Arc<AccessControl>,
    /// Loads it again.
    pub loader: ConfigLoader,
    /// Whether `POST /-/reload` is enabled.
    pub lifecycle: bool,
    /// Delay after which every task runs once, whatever its schedule; `None` for never.
    pub first_runs: Option<Duration>,
    /// Counts exported and dropped spans.
    pub spans: Arc<SpanCounts>,
    /// Stops the agent.
    pub stop: CancellationToken,
}

/// Binds the configured addresses, or uses the sockets passed by systemd.
///
/// # Errors
/// An address is in use or not local, or systemd passes no socket.
pub async fn bind(addresses: &[Listen], from_systemd: bool) -> anyhow::Result<Vec<Listener>> {
    if from_systemd { http::inherited() } else { http::bind(addresses).await }
}

/// Runs the agent on bound listeners until `stop`.
///
/// # Errors
/// Signals cannot be received, or SQLite refuses its memory limit.
pub async fn run(listeners: Vec<Listener>, options: Options) -> anyhow::Result<()> {
    let Options { config, auth, loader, lifecycle, first_runs, spans, stop } = options;
    log_listeners(&listeners, &auth);
    let hangups = signal(SignalKind::hangup()).context("cannot receive SIGHUP")?;
    let executor = build_executor(&config)?;
    let (jobs, history) = (Arc::clone(&executor.metrics), Arc::clone(&executor.state_store));
    let trends = Arc::new(Trends::new(Arc::clone(&history)));
    let metrics = Arc::new(AgentMetrics::with_spans(spans));
    metrics.reloaded(true);
    metrics.set_series_limit(config.series_limit);
    metrics.set_sample_interval(config.sample_interval);
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let (targets_sender, targets) = watch::channel(None);
    let (interval_sender, interval) = watch::channel(config.sample_interval);
    let web = config.web.clone();
    let (config_sender, config_receiver) = watch::channel(Arc::new(config));
    let (reload_sender, reload_requests) = mpsc::channel(1);

    let names = Arc::clone(&history) as Arc<dyn NameStore>;
    let config = config_receiver.clone();
    let discovery = Discovery { config, targets: targets_sender, metrics: Arc::clone(&metrics), names };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_SAMPLER_THREADS);
    let actions = Arc::new(ActionQueue::new(executor.clone()));
    let first =
        first_runs.map(|delay| run_all_once(Arc::clone(&actions), delay, targets.clone(), stop.clone()));
    let runner = Runner { targets: targets.clone(), config: config_receiver, executor };
    let sampler = CollectionLoop {
        targets,
        interval,
        snapshot: Arc::clone(&snapshot),
        metrics: Arc::clone(&metrics),
        collect: sample_database,
        threads,
    };
    let reloader = Reloader {
        loader,
        config: config_sender,
        interval: interval_sender,
        metrics: Arc::clone(&metrics),
        auth: Arc::clone(&auth),
    };
    let state = Arc::new(AppState {
        scrapes: Scrapes::new(Exposition::new(Arc::clone(&snapshot), &jobs, &metrics)),
        snapshot: Arc::clone(&snapshot),
        metrics,
        web,
        auth: Arc::clone(&auth),
        jobs,
        trends: Arc::clone(&trends),
        state_store: history,
        action_queue: Arc::clone(&actions),
        on_demand: Arc::new(Semaphore::new(1)),
        reload: lifecycle.then_some(reload_sender),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(discovery.run(stop.clone()));
    tasks.spawn(sampler.run(stop.clone()));
    tasks.spawn(runner.run(stop.clone()));
    tasks.spawn(reloader.run(hangups, reload_requests, stop.clone()));
    tasks.spawn(actions.run(stop.clone()));
    if let Some(first) = first {
        tasks.spawn(first);
    }
    tasks.spawn(trends.run(snapshot, stop.clone()));
    let metrics_of_reload = Arc::clone(&state.metrics);
    tasks.spawn(auth::watch_files(auth, move |taken| metrics_of_reload.web_reloaded(taken), stop.clone()));
    tasks.spawn(http::serve(listeners, state, stop.clone()));
    join_all(tasks, &stop).await
}

/// Waits for all loops to end.
async fn join_all(mut tasks: JoinSet<()>, stop: &CancellationToken) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        // A loop must not end on its own: the agent would look healthy while doing only part of its
        // work.
        if !stop.is_cancelled() {
            stop.cancel();
            ended.context("a component of litekeeper failed")?;
            anyhow::bail!("a component of litekeeper stopped unexpectedly; please report this with the log");
        }
    }
    Ok(())
}

/// Logs the listening addresses and warns about insecure ones.
fn log_listeners(listeners: &[Listener], auth: &AccessControl) {
    let addresses: Vec<Listen> = listeners.iter().map(|listener| listener.address().clone()).collect();
    for address in &addresses {
        tracing::info!(address = %address, tls = auth.has_tls(), "listening");
    }
    auth::warn_insecure_listen(auth, &addresses);
}

/// Opens the state file and builds the executor of runs. Must be called before any database is
/// opened, because SQLite has one temporary directory per process.
///
/// # Errors
/// The state file or the temporary directory cannot be used.
pub fn build_executor(config: &Config) -> anyhow::Result<TaskExecutor> {
    let maintenance = &config.maintenance;
    if let Some(directory) = &maintenance.temp_directory {
        anyhow::ensure!(directory.is_dir(), "temp_directory {}: no such directory", directory.display());
        sqlite::set_temporary_directory(directory)
            .with_context(|| format!("temp_directory {} cannot be used", directory.display()))?;
    }
    let history = StateStore::open(state_file(config).as_deref())?;
    Ok(TaskExecutor::new(Arc::new(history), Arc::new(JobMetrics::default()), maintenance))
}

/// The state file of a configuration; `None` if the state is kept in memory.
#[must_use]
pub fn state_file(config: &Config) -> Option<PathBuf> {
    // Without tasks and sealed rows there is no state to keep, so no file is created by default.
    let has_state = config
        .sources
        .iter()
        .any(|source| source.settings.tasks.timings().next().is_some() || !source.settings.sealed.is_empty());
    let address = match &config.maintenance.state {
        StateLocation::Default if !has_state => &StateLocation::Memory,
        address => address,
    };
    address.file(&|name| std::env::var(name).ok(), is_root())
}

impl NameStore for StateStore {
    fn load_names(&self) -> GivenNames {
        match self.names() {
            Ok(rows) => given_names_of(rows),
            Err(error) => {
                tracing::warn!(error = %error, "cannot read the stored database names; assigning new ones");
                GivenNames::default()
            }
        }
    }

    fn store_names(&self, names: &GivenNames) {
        let rows = names.0.iter().map(|(path, given)| (path.as_path(), &*given.base, &*given.name));
        if let Err(error) = self.set_names(rows) {
            tracing::warn!(error = %error, "cannot store the database names; they may change at a restart");
        }
    }
}

fn given_names_of(rows: Vec<NameRow>) -> GivenNames {
    rows.into_iter().map(|(path, base, name)| (path, GivenName { base, name })).collect()
}

/// The database names that the agent has assigned, from its state file.
#[must_use]
pub fn given_names(config: &Config) -> GivenNames {
    let Some(file) = state_file(config) else { return GivenNames::default() };
    match StateStore::read(&file) {
        Ok(Some(history)) => given_names_of(history.names().unwrap_or_default()),
        // A file that cannot be read is reported by the command that needs it.
        Ok(None) | Err(_) => GivenNames::default(),
    }
}

/// Reloads the configuration on SIGHUP or on request; an invalid one changes nothing.
struct Reloader {
    loader: ConfigLoader,
    config: watch::Sender<Arc<Config>>,
    interval: watch::Sender<Duration>,
    metrics: Arc<AgentMetrics>,
    auth: Arc<AccessControl>,
}

impl Reloader {
    async fn run(
        self,
        mut hangups: Signal,
        mut requests: mpsc::Receiver<ReloadRequest>,
        stop: CancellationToken,
    ) {
        let mut requests_open = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = hangups.recv() => { let _ = self.reload().await; }
                request = requests.recv(), if requests_open => match request {
                    // The client may have disconnected meanwhile.
                    Some(answer) => { let _ = answer.send(self.reload().await); }
                    None => requests_open = false,
                },
            }
        }
    }

    async fn reload(&self) -> Result<(), ReloadError> {
        let loader = Arc::clone(&self.loader);
        let loaded =
            run_blocking(move || loader()).await.unwrap_or_else(|| Err(anyhow::anyhow!("loading panicked")));
        let loaded = loaded.and_then(|config| {
            self.auth.set_operators(&config.web.operators)?;
            Ok(config)
        });
        self.metrics.reloaded(loaded.is_ok());
        match loaded {
            Ok(config) => {
                let same = {
                    let before = self.config.borrow();
                    config.listen == before.listen && config.web.differs_only_in_operators(&before.web)
                };
                if !same {
                    tracing::warn!("`listen` and all of `web` except `operators` change only at a restart");
                }
                let (now, before) = (&config.maintenance, self.config.borrow().maintenance.clone());
                if now.state != before.state || now.temp_directory != before.temp_directory {
                    tracing::warn!("`state` and `temp_directory` change only at a restart");
                }
                if config.tracing != self.config.borrow().tracing {
                    tracing::warn!("`tracing` changes only at a restart");
                }
                self.metrics.set_series_limit(config.series_limit);
                self.metrics.set_sample_interval(config.sample_interval);
                self.interval.send_replace(config.sample_interval);
                self.config.send_replace(Arc::new(config));
                tracing::info!("configuration reloaded");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "configuration not reloaded; the previous one stays in force");
                Err(ReloadError(error.to_string()))
            }
        }
    }
}

/// Stops the agent on SIGINT or SIGTERM; a second signal exits the process immediately.
///
/// # Errors
/// Signals cannot be received.
pub fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
    tokio::spawn(async move {
        for turn in 0.. {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if turn > 0 {
                std::process::exit(code);
            }
            stop.cancel();
        }
    });
    Ok(())
}
