//! The binary as a process.

use std::ffi::OsStr;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use super::Scrape;
use super::eventually;

/// The binary under test.
pub fn litekeeper() -> Command {
    Command::new(env!("CARGO_BIN_EXE_litekeeper"))
}

/// A finished command.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Runs the binary to its end.
    pub fn of(arguments: &[impl AsRef<OsStr>]) -> Self {
        let mut command = litekeeper();
        command.args(arguments);
        Self::from(command)
    }
}

impl From<Command> for Output {
    /// Runs a prepared command to its end.
    fn from(mut command: Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// `litekeeper serve` on a port of its own; ended when dropped.
pub struct Agent {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

/// An answer of the server.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl HttpResponse {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Takes a whole answer apart.
    pub fn parse(answer: &[u8]) -> Self {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        Self { status, headers, body: answer[end + 4..].to_vec() }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Agent {
    /// Serves paths.
    pub fn serve(targets: &[impl AsRef<OsStr>]) -> Self {
        let mut command = litekeeper();
        command.arg("serve").args(targets);
        Self::start(command)
    }

    /// Starts a prepared `serve` or `demo` command and waits until it listens.
    pub fn start(mut command: Command) -> Self {
        command.args(["--web.listen-address=127.0.0.1:0", "--log.format=json"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let address = eventually("the agent listens", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the agent ended with {status}: {:#?}", log.lock().unwrap());
            }
            let log = log.lock().unwrap();
            // A unix socket is no address.
            log.iter()
                .filter(|line| line.contains("\"listening\""))
                .find_map(|line| line.split("\"address\":\"").nth(1)?.split('"').next()?.parse().ok())
        });
        Self { child, address, log }
    }

    /// Waits until the first sweep is over.
    pub fn ready(self) -> Self {
        eventually("the first sweep", || (self.get("/-/ready").status == 200).then_some(()));
        self
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lines of the log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub fn get(&self, path: &str) -> HttpResponse {
        self.request("GET", path, &[])
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> HttpResponse {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        self.send(format!("{text}\r\n").as_bytes())
    }

    /// Sends bytes as they are and reads the answer.
    pub fn send(&self, bytes: &[u8]) -> HttpResponse {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        HttpResponse::parse(&answer)
    }

    /// A scrape in the text format.
    pub fn metrics(&self) -> Scrape {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200);
        Scrape { text: answer.text() }
    }

    /// Scrapes until a sample has a value.
    pub fn until(&self, name: &str, labels: &[(&str, &str)], expected: f64) -> Scrape {
        eventually(&format!("{name} {labels:?} is {expected}"), || {
            let scrape = self.metrics();
            (scrape.value(name, labels) == Some(expected)).then_some(scrape)
        })
    }

    /// Sends a signal to the agent.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end and gives the exit code.
    pub fn wait(mut self) -> Option<i32> {
        let status = eventually("the agent ends", || self.child.try_wait().unwrap());
        status.code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the agent: {:#?}", self.log.lock().unwrap());
        }
    }
}
