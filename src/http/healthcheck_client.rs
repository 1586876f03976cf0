//! The question of a health check, as a container's engine or a script asks it: does the server of this place answer?
//!
//! It is asked from another process. That the server wants to know who asks is an answer as good as any: the secrets for
//! more do not belong in a health check.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

use crate::config::Listen;
use crate::config::RoutePrefix;
use crate::tls::PinnedTlsClient;

use super::listener::Stream;

/// An answer is a line of text with its head; more is not read.
const MAX_ANSWER_BYTES: u64 = 16 << 10;
/// What this server's answers and its sign-in have in common.
const OWN_NAME: &str = "litekeeper";

/// How a server that lives answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// That it is healthy.
    Healthy,
    /// That it wants a name and a password first.
    AsksForUser,
    /// That it wants a client certificate first.
    AsksForCertificate,
    /// That there are too many requests at the moment.
    Limits,
}

impl fmt::Display for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Healthy => "healthy",
            Self::AsksForUser => "answers, and asks for a user first",
            Self::AsksForCertificate => "answers, and asks for a client certificate first",
            Self::Limits => "answers, and is at its rate limit",
        })
    }
}

/// Where a server that listens there can be reached from this machine: on loopback when it listens on every network.
#[must_use]
pub fn reached_at(place: &Listen) -> Listen {
    match place {
        Listen::Tcp(address) if address.ip().is_unspecified() => {
            let ip = match address.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            Listen::Tcp(SocketAddr::new(ip, address.port()))
        }
        // IPv4 is there with IPv6 and without.
        Listen::Everywhere(port) => Listen::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), *port)),
        Listen::Tcp(_) | Listen::Unix(_) => place.clone(),
    }
}

/// Asks `/-/healthy`, below the prefix of the routes, of the server at this place, in plain text where there is no client for TLS.
///
/// # Errors
/// Nobody answers within the limit, or not as litekeeper does; in words.
pub async fn ask_health(
    place: &Listen,
    prefix: &RoutePrefix,
    client: Option<&PinnedTlsClient>,
    limit: Duration,
) -> Result<Health, String> {
    match tokio::time::timeout(limit, ask(place, prefix, client)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

async fn ask(
    place: &Listen,
    prefix: &RoutePrefix,
    client: Option<&PinnedTlsClient>,
) -> Result<Health, String> {
    let prefix = prefix.as_str();
    let question = format!("GET {prefix}/-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut stream = connect(place).await.map_err(|error| format!("nobody listens: {error}"))?;
    let Some(client) = client else { return judge(&exchange(&mut stream, &question).await) };
    let exchanged = match client.connect(stream).await {
        Ok(mut stream) => exchange(&mut stream, &question).await,
        Err(error) => (Vec::new(), Some(error)),
    };
    if exchanged.1.as_ref().is_some_and(|error| client.requires_client_certificate(error)) {
        return Ok(Health::AsksForCertificate);
    }
    judge(&exchanged)
}

async fn connect(place: &Listen) -> io::Result<Box<dyn Stream>> {
    Ok(match place {
        Listen::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        Listen::Everywhere(port) => Box::new(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?),
        Listen::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// Asks, and gives what came back, with the error that ended it.
async fn exchange(stream: &mut (impl Stream + ?Sized), question: &str) -> (Vec<u8>, Option<io::Error>) {
    let mut answer = Vec::new();
    let result = async {
        stream.write_all(question.as_bytes()).await?;
        stream.flush().await?;
        (&mut *stream).take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await
    }
    .await;
    (answer, result.err())
}

fn judge((answer, error): &(Vec<u8>, Option<io::Error>)) -> Result<Health, String> {
    let text = String::from_utf8_lossy(answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let is_own = text.contains(OWN_NAME);
    match (status, error) {
        (Some("200"), _) if is_own => Ok(Health::Healthy),
        (Some("401"), _) if is_own => Ok(Health::AsksForUser),
        (Some("429"), _) => Ok(Health::Limits),
        (Some("400"), _) if is_own => Err("speaks TLS; name its web configuration file".to_owned()),
        (Some(status), _) => Err(format!("answers {status}, which litekeeper does not: who listens there?")),
        (None, Some(error)) => Err(format!("gives no answer: {error}")),
        (None, None) => {
            Err("answers in no HTTP; if it speaks TLS, name its web configuration file".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let judged = |answer: &str| judge(&(answer.as_bytes().to_vec(), None));
        assert_eq!(judged("HTTP/1.1 200 OK\r\n\r\nlitekeeper is healthy.\n"), Ok(Health::Healthy));
        assert_eq!(
            judged("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"litekeeper\"\r\n\r\n"),
            Ok(Health::AsksForUser)
        );
        assert_eq!(judged("HTTP/1.1 429 Too Many Requests\r\n\r\n"), Ok(Health::Limits));
        for (answer, word) in [
            ("HTTP/1.1 200 OK\r\n\r\nwelcome to nginx", "who listens"),
            ("HTTP/1.1 400 Bad Request\r\n\r\nlitekeeper speaks TLS here", "speaks TLS; name"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers 503"),
            ("SSH-2.0-OpenSSH", "no HTTP"),
            ("\u{15}\u{3}\u{3}", "TLS"),
            ("", "no HTTP"),
        ] {
            let error = judged(answer).unwrap_err();
            assert!(error.contains(word), "{answer:?}: {error}");
        }
        let broken = judge(&(Vec::new(), Some(io::ErrorKind::ConnectionReset.into())));
        assert!(broken.unwrap_err().contains("connection reset"));
    }

    #[test]
    fn every_network_is_reached_on_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:10321", "127.0.0.1:10321"),
            ("[::]:80", "[::1]:80"),
            (":9100", "127.0.0.1:9100"),
            ("192.0.2.7:9", "192.0.2.7:9"),
            ("unix:/run/web.sock", "unix:/run/web.sock"),
        ] {
            let place: Listen = listens.parse().unwrap();
            assert_eq!(reached_at(&place).to_string(), asked);
        }
    }
}
