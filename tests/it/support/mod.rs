//! What the tests share: databases, the agent as a process, scrapes, second processes.

mod agent;
mod alertmanager;
mod collector;
mod database;
pub mod mount;
mod prometheus;
mod reserved_port;
mod scrape;
mod second_process;
mod tls;

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use libtest_mimic::Failed;
use libtest_mimic::Trial;

pub use agent::Agent;
pub use agent::HttpResponse;
pub use agent::Output;
pub use agent::litekeeper;
pub use alertmanager::Alertmanager;
pub use alertmanager::Pages;
pub use collector::Collector;
pub use collector::Span;
pub use collector::otlp_python;
pub use database::TestDatabase;
pub use prometheus::Prometheus;
pub use reserved_port::ReservedPort;
pub use scrape::Scrape;
pub use second_process::SecondProcess;
pub use tls::Authority;
pub use tls::TlsClient;

/// A test that every machine can run.
pub fn test(name: &str, body: fn()) -> Trial {
    Trial::test(name, move || catch(body))
}

/// A test that needs a tool; without it, it is reported as ignored.
pub fn test_with_tool(name: &str, tool: Option<String>, body: impl FnOnce(&str) + Send + 'static) -> Trial {
    let missing = tool.is_none();
    let trial = Trial::test(name, move || {
        let tool = tool.expect("an ignored test is not run");
        catch(move || body(&tool))
    });
    trial.with_ignored_flag(missing)
}

/// Finds a program on the PATH.
pub fn tool(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .map(|found| found.display().to_string())
}

fn catch(body: impl FnOnce()) -> Result<(), Failed> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default();
        Failed::from(text)
    })
}

/// Flips the lowest bit of the first byte of a value in the main file.
pub fn flip_bit(path: &Path, value: &[u8]) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let content = std::fs::read(path).unwrap();
    let at = content.windows(value.len()).position(|bytes| bytes == value).unwrap();
    file.write_all_at(&[content[at] ^ 1], at as u64).unwrap();
}

/// Tries until it succeeds. The limit only ends a test that would hang, so it is long enough for a machine under load.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(180);
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
    let started = std::time::Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(started.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}
