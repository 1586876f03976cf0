//! A collector of traces: tests/otlp_receiver.py, which reads OTLP by the official descriptions.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;

use serde_json::Value;

use super::eventually;
use super::tool;

/// The Python that has PyPI's opentelemetry-proto, if there is one.
pub fn otlp_python() -> Option<String> {
    let python = std::env::var("LITEKEEPER_TEST_PYTHON").ok().or_else(|| tool("python3"))?;
    let script = "import opentelemetry.proto.collector.trace.v1.trace_service_pb2";
    let found = Command::new(&python).args(["-c", script]).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success()).then_some(python)
}

/// A collector of this test's own, ended when dropped.
pub struct Collector {
    child: Child,
    input: ChildStdin,
    said: Arc<Mutex<Vec<Value>>>,
    pub port: u16,
}

/// A span as it came over the wire.
#[derive(Debug, Clone)]
pub struct Span(pub Value);

impl Span {
    pub fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap()
    }

    pub fn attribute(&self, key: &str) -> &Value {
        &self.0["attributes"][key]
    }
}

impl Collector {
    pub fn start(python: &str) -> Self {
        Self::spawn(Command::new(python).arg(Self::script()))
    }

    /// One that speaks TLS, with `NAME.crt` and `NAME.key` of a directory.
    pub fn start_tls(python: &str, directory: &Path, name: &str) -> Self {
        let file = |kind: &str| directory.join(format!("{name}.{kind}"));
        Self::spawn(Command::new(python).arg(Self::script()).arg(file("crt")).arg(file("key")))
    }

    fn script() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp_receiver.py")
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        let port = eventually("the collector listens", || {
            said.lock().unwrap().iter().find_map(|said: &Value| said["port"].as_u64())
        });
        let input = child.stdin.take().unwrap();
        Self { child, input, said, port: port.try_into().unwrap() }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How it treats requests from now on.
    pub fn become_(&mut self, mode: &str) {
        writeln!(self.input, "{mode}").unwrap();
        eventually("the collector has changed", || {
            let said = self.said.lock().unwrap();
            said.iter()
                .filter_map(|said| said["mode"].as_str())
                .next_back()
                .filter(|now| *now == mode)
                .map(|_| ())
        });
    }

    fn all(&self, kind: &str) -> Vec<Value> {
        let said = self.said.lock().unwrap();
        said.iter().filter_map(|said| said.get(kind)).cloned().collect()
    }

    pub fn requests(&self) -> Vec<Value> {
        self.all("request")
    }

    pub fn spans(&self) -> Vec<Span> {
        self.all("span").into_iter().map(Span).collect()
    }

    /// Waits for a span with this name.
    pub fn span(&self, name: &str) -> Span {
        eventually(&format!("a span {name}"), || {
            self.spans().into_iter().find(|span| span.text("name") == name)
        })
    }

    /// Waits until a request came while it had this mode.
    pub fn asked_while(&self, mode: &str) {
        eventually(&format!("a request while the collector's mode is {mode}"), || {
            self.requests().iter().any(|request| request["mode"] == mode).then_some(())
        });
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
