//! Client side of `litekeeper healthcheck`: is a litekeeper server answering at this address?
//!
//! A response that requires authentication counts as alive: a health check should not need secrets.

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

/// A response is a head and a line of text; more is not read.
const MAX_ANSWER_BYTES: u64 = 16 << 10;
/// Occurs in every response of this server.
const SERVER_NAME: &str = "litekeeper";

/// How a running server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// 200.
    Healthy,
    /// It requires a user and a password.
    Unauthorized,
    /// It requires a client certificate.
    ClientCertRequired,
    /// It is at its rate limit.
    RateLimited,
}

impl fmt::Display for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Healthy => "healthy",
            Self::Unauthorized => "answers, requires a user",
            Self::ClientCertRequired => "answers, requires a client certificate",
            Self::RateLimited => "answers, is at its rate limit",
        })
    }
}

/// The address at which this machine reaches a listener: loopback if it listens on all addresses.
#[must_use]
pub fn connect_address(place: &Listen) -> Listen {
    match place {
        Listen::Tcp(address) if address.ip().is_unspecified() => {
            let ip = match address.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            Listen::Tcp(SocketAddr::new(ip, address.port()))
        }
        // IPv4 works with and without IPv6.
        Listen::Everywhere(port) => Listen::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), *port)),
        Listen::Tcp(_) | Listen::Unix(_) => place.clone(),
    }
}

/// Requests `/-/healthy` below the route prefix; by plain HTTP without a TLS client.
///
/// # Errors
/// Nothing answers within the limit, or the response is not litekeeper's.
pub async fn query_health(
    place: &Listen,
    prefix: &RoutePrefix,
    client: Option<&PinnedTlsClient>,
    limit: Duration,
) -> Result<Health, String> {
    match tokio::time::timeout(limit, request(place, prefix, client)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

async fn request(
    place: &Listen,
    prefix: &RoutePrefix,
    client: Option<&PinnedTlsClient>,
) -> Result<Health, String> {
    let prefix = prefix.as_str();
    let run_query =
        format!("GET {prefix}/-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut stream = connect(place).await.map_err(|error| format!("nobody listens: {error}"))?;
    let Some(client) = client else { return parse_response(&exchange(&mut stream, &run_query).await) };
    let exchanged = match client.connect(stream).await {
        Ok(mut stream) => exchange(&mut stream, &run_query).await,
        Err(error) => (Vec::new(), Some(error)),
    };
    if exchanged.1.as_ref().is_some_and(|error| client.requires_client_certificate(error)) {
        return Ok(Health::ClientCertRequired);
    }
    parse_response(&exchanged)
}

async fn connect(place: &Listen) -> io::Result<Box<dyn Stream>> {
    Ok(match place {
        Listen::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        Listen::Everywhere(port) => Box::new(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?),
        Listen::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// Sends a request. Returns the response so far, and the error that ended it.
async fn exchange(stream: &mut (impl Stream + ?Sized), run_query: &str) -> (Vec<u8>, Option<io::Error>) {
    let mut answer = Vec::new();
    let result = async {
        stream.write_all(run_query.as_bytes()).await?;
        stream.flush().await?;
        (&mut *stream).take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await
    }
    .await;
    (answer, result.err())
}

fn parse_response((answer, error): &(Vec<u8>, Option<io::Error>)) -> Result<Health, String> {
    let text = String::from_utf8_lossy(answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let is_same_origin = text.contains(SERVER_NAME);
    match (status, error) {
        (Some("200"), _) if is_same_origin => Ok(Health::Healthy),
        (Some("401"), _) if is_same_origin => Ok(Health::Unauthorized),
        (Some("429"), _) => Ok(Health::RateLimited),
        (Some("400"), _) if is_same_origin => Err("speaks TLS; pass its web configuration file".to_owned()),
        (Some(status), _) => {
            Err(format!("answers {status}, which litekeeper never does: is another program listening there?"))
        }
        (None, Some(error)) => Err(format!("no response: {error}")),
        (None, None) => {
            Err("the response is not HTTP; if it speaks TLS, pass its web configuration file".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_distinguished() {
        let parsed = |answer: &str| parse_response(&(answer.as_bytes().to_vec(), None));
        assert_eq!(parsed("HTTP/1.1 200 OK\r\n\r\nlitekeeper is healthy.\n"), Ok(Health::Healthy));
        assert_eq!(
            parsed("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"litekeeper\"\r\n\r\n"),
            Ok(Health::Unauthorized)
        );
        assert_eq!(parsed("HTTP/1.1 429 Too Many Requests\r\n\r\n"), Ok(Health::RateLimited));
        for (answer, word) in [
            ("HTTP/1.1 200 OK\r\n\r\nwelcome to nginx", "another program"),
            ("HTTP/1.1 400 Bad Request\r\n\r\nlitekeeper speaks TLS here", "speaks TLS; pass"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers 503"),
            ("SSH-2.0-OpenSSH", "not HTTP"),
            ("\u{15}\u{3}\u{3}", "TLS"),
            ("", "not HTTP"),
        ] {
            let error = parsed(answer).unwrap_err();
            assert!(error.contains(word), "{answer:?}: {error}");
        }
        let broken = parse_response(&(Vec::new(), Some(io::ErrorKind::ConnectionReset.into())));
        assert!(broken.unwrap_err().contains("connection reset"));
    }

    #[test]
    fn all_addresses_are_reached_by_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:10321", "127.0.0.1:10321"),
            ("[::]:80", "[::1]:80"),
            (":9100", "127.0.0.1:9100"),
            ("192.0.2.7:9", "192.0.2.7:9"),
            ("unix:/run/web.sock", "unix:/run/web.sock"),
        ] {
            let place: Listen = listens.parse().unwrap();
            assert_eq!(connect_address(&place).to_string(), asked);
        }
    }
}
