//! A real Prometheus, as a process of a test's own.

use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use super::ReservedPort;
use super::eventually;

/// A Prometheus of this test's own, ended when dropped.
pub struct Prometheus {
    child: Child,
    /// Where its API listens.
    pub address: SocketAddr,
    _port: ReservedPort,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// One that scrapes this address every second, and has its data in this directory.
    pub fn scraping(program: &str, target: SocketAddr, directory: &Path) -> Self {
        Self::scraping_with(program, target, directory, "")
    }

    /// The same, with more settings of the job.
    pub fn scraping_with(program: &str, target: SocketAddr, directory: &Path, job: &str) -> Self {
        Self::scraping_by(program, target, directory, job, &[])
    }

    /// The same, with more arguments of Prometheus.
    pub fn scraping_by(
        program: &str,
        target: SocketAddr,
        directory: &Path,
        job: &str,
        arguments: &[&str],
    ) -> Self {
        // Prometheus cannot be asked which port it chose.
        let port = ReservedPort::new();
        let address = port.address;
        let configuration = directory.join("prometheus.yml");
        std::fs::write(
            &configuration,
            format!(
                "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
                 scrape_configs:\n- job_name: litekeeper\n  static_configs: [{{targets: ['{target}']}}]\n{job}"
            ),
        )
        .unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            // An alert that fires before Alertmanager is known is sent again after a second, not a minute.
            .arg("--rules.alert.resend-delay=1s")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address, _port: port }
    }

    /// Asks the API; `None` while it does not answer.
    pub fn api(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET /api/v1/{path} HTTP/1.0\r\nHost: prometheus\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let body = answer.split_once("\r\n\r\n")?.1;
        serde_json::from_str(body).ok()
    }

    /// The results of an instant query.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.api(&format!("query?query={encoded}"));
        answer.and_then(|answer| answer["data"]["result"].as_array().cloned()).unwrap_or_default()
    }

    /// The value of a query with one result.
    pub fn value(&self, expression: &str) -> Option<f64> {
        let results = self.query(expression);
        assert!(results.len() <= 1, "{expression} gives {results:?}");
        results.first()?["value"][1].as_str()?.parse().ok()
    }

    /// Waits until a query has this value.
    pub fn until(&self, expression: &str, expected: f64) {
        eventually(&format!("{expression} is {expected}"), || {
            (self.value(expression) == Some(expected)).then_some(())
        });
    }
}
