//! A real Alertmanager, and somebody who is paged by it.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;

use serde_json::Value;

use super::ReservedPort;
use super::eventually;

/// An Alertmanager of this test's own, ended when dropped.
pub struct Alertmanager {
    child: Child,
    /// Where it takes alerts.
    pub address: SocketAddr,
    _port: ReservedPort,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Alertmanager {
    /// One with this configuration, and its data in this directory.
    pub fn start(program: &str, configuration: &str, directory: &Path) -> Self {
        // Alertmanager cannot be asked which port it chose.
        let port = ReservedPort::new();
        let address = port.address;
        let file = directory.join("alertmanager.yml");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", directory.join("alertmanager").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("Alertmanager listens", || TcpStream::connect(address).ok());
        Self { child, address, _port: port }
    }

    /// Asks its API, and gives the whole answer.
    pub fn request(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} /api/v2/{path} HTTP/1.0\r\nHost: alertmanager\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// A webhook that remembers every notification, by the path that it came to.
#[derive(Clone)]
pub struct Pages {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Pages {
    /// Listens until the test binary ends.
    pub fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let notifications = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if let Some(notification) = take(stream) {
                    notifications.lock().unwrap().push(notification);
                }
            }
        });
        Self { address, taken }
    }

    /// The address that a receiver of this name has.
    pub fn url(&self, receiver: &str) -> String {
        format!("http://{}/{receiver}", self.address)
    }

    /// Waits for an alert of a database in this state at a receiver: its labels and annotations.
    pub fn until(&self, receiver: &str, status: &str, alert: &str, database: Option<&str>) -> Value {
        let mut seen = 0;
        eventually(&format!("{receiver} hears that {alert} is {status}"), || {
            let taken = self.taken.lock().unwrap();
            let new = &taken[seen..];
            seen = taken.len();
            new.iter()
                .filter(|(path, _)| path == &format!("/{receiver}"))
                .flat_map(|(_, body)| body["alerts"].as_array().unwrap())
                .find(|found| {
                    found["status"] == status
                        && found["labels"]["alertname"] == alert
                        && found["labels"]["db"].as_str() == database
                })
                .cloned()
        })
    }

    /// The names of all alerts that a receiver has heard of.
    pub fn heard(&self, receiver: &str) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let alerts = taken.iter().filter(|(path, _)| path == &format!("/{receiver}"));
        let names = alerts.flat_map(|(_, body)| body["alerts"].as_array().unwrap().clone());
        names.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }
}

/// Reads one POST and thanks for it.
fn take(stream: TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.into_inner().write_all(answer.as_bytes()).ok()?;
    Some((path, serde_json::from_slice(&body).ok()?))
}
