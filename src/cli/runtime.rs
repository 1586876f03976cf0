//! The asynchronous runtime and the tracing setup that commands share.

use crate::config::TracingSettings;
use crate::telemetry::Telemetry;

use super::escape::print_error;
use super::exit::Exit;
use super::log::Log;

/// Sets up tracing and then starts the log; prints an error if the settings are invalid.
pub(super) fn traces(settings: &TracingSettings, log: &Log) -> Result<Telemetry, Exit> {
    match Telemetry::start(settings) {
        Ok(telemetry) => {
            log.begin(Some(&telemetry));
            Ok(telemetry)
        }
        Err(problem) => {
            print_error!("litekeeper: {problem}");
            Err(Exit::Usage)
        }
    }
}

/// Runs a command on a new runtime. Threads that hang in a file system are abandoned at its end.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    /// Work that is still running takes a few milliseconds, unless it hangs.
    const SHUTDOWN_GRACE: std::time::Duration = std::time::Duration::from_millis(500);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    result
}
