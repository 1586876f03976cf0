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

use http_body_util::Full;

use crate::config::Listen;
use crate::config::RoutePrefix;
use crate::http_client::HttpClient;
use crate::http_client::HttpClientError;
use crate::http_client::HttpResponse;
use crate::http_client::Request;
use crate::http_client::ServerAddress;
use crate::http_client::StatusCode;
use crate::http_client::header;
use crate::tls::PinnedTlsClient;
use crate::tls::is_tls_alert;

/// A response has a line of text; more is not read.
const MAX_BODY_BYTES: usize = 16 << 10;
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

/// Why a server does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// The route prefix cannot be part of a URL.
    #[error("the route prefix cannot be requested")]
    InvalidPrefix,
    /// Nothing accepts connections.
    #[error("nobody listens: {0}")]
    NotListening(io::Error),
    /// The time limit has passed.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke.
    #[error("no response: {0}")]
    NoResponse(io::Error),
    /// litekeeper's answer to plain HTTP.
    #[error("speaks TLS; pass its web configuration file")]
    ExpectsTls,
    /// A status that litekeeper does not have for this path.
    #[error("answers {0}, which litekeeper never does: is another program listening there?")]
    AnotherProgram(u16),
    /// Something else than a response.
    #[error("the response is not HTTP; if it speaks TLS, pass its web configuration file")]
    NotHttp,
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
    tls: Option<PinnedTlsClient>,
    timeout: Duration,
) -> Result<Health, HealthcheckError> {
    let address = match place {
        Listen::Tcp(address) => ServerAddress::Tcp(address.ip().to_string(), address.port()),
        Listen::Everywhere(port) => ServerAddress::Tcp(Ipv4Addr::LOCALHOST.to_string(), *port),
        Listen::Unix(path) => ServerAddress::Unix(path.clone()),
    };
    let (tls, server_requires_certificate) =
        tls.map_or((None, false), |tls| (Some(tls.client), tls.server_requires_certificate));
    let request = Request::get(format!("{}/-/healthy", prefix.as_str()))
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "close")
        .body(Full::default())
        .map_err(|_| HealthcheckError::InvalidPrefix)?;
    let client = HttpClient { address, tls, timeout, max_body_bytes: MAX_BODY_BYTES };
    match client.send(request).await {
        Ok(response) => parse_response(&response),
        Err(error) if server_requires_certificate && error.io_error().is_some_and(is_tls_alert) => {
            Ok(Health::ClientCertRequired)
        }
        Err(HttpClientError::Connect(error)) => Err(HealthcheckError::NotListening(error)),
        Err(HttpClientError::Timeout(limit)) => Err(HealthcheckError::Timeout(limit)),
        Err(HttpClientError::Tls(error)) => Err(HealthcheckError::NoResponse(error)),
        Err(HttpClientError::Connection(error)) => Err(no_response(error)),
    }
}

/// A server that closes the connection or sends something else probably expects TLS.
fn no_response(error: hyper::Error) -> HealthcheckError {
    if error.is_parse() || error.is_incomplete_message() {
        HealthcheckError::NotHttp
    } else {
        HealthcheckError::NoResponse(io::Error::other(error))
    }
}

fn parse_response(response: &HttpResponse) -> Result<Health, HealthcheckError> {
    let names_litekeeper = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(SERVER_NAME);
    let mut headers = response.headers.values();
    let is_litekeeper =
        names_litekeeper(&response.body) || headers.any(|value| names_litekeeper(value.as_bytes()));
    match response.status {
        StatusCode::OK if is_litekeeper => Ok(Health::Healthy),
        StatusCode::UNAUTHORIZED if is_litekeeper => Ok(Health::Unauthorized),
        StatusCode::TOO_MANY_REQUESTS => Ok(Health::RateLimited),
        StatusCode::BAD_REQUEST if is_litekeeper => Err(HealthcheckError::ExpectsTls),
        status => Err(HealthcheckError::AnotherProgram(status.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What the health check says of a server that sends `answer` and closes the connection.
    async fn health(answer: &str) -> Result<Health, HealthcheckError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Listen::Tcp(listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /-/healthy HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let prefix = RoutePrefix::default();
        tokio::join!(server, query_health(&place, &prefix, None, Duration::from_secs(60))).1
    }

    #[tokio::test]
    async fn responses_are_distinguished() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\nlitekeeper is healthy.\n", Health::Healthy),
            (
                "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"litekeeper\"\r\n\r\n",
                Health::Unauthorized,
            ),
            ("HTTP/1.1 429 Too Many Requests\r\n\r\n", Health::RateLimited),
        ] {
            assert_eq!(health(answer).await.unwrap(), expected, "{answer:?}");
        }
        for (answer, word) in [
            ("HTTP/1.1 200 OK\r\n\r\nwelcome to nginx", "another program"),
            ("HTTP/1.1 400 Bad Request\r\n\r\nlitekeeper speaks TLS here", "speaks TLS; pass"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers 503"),
            ("SSH-2.0-OpenSSH\r\n", "not HTTP"),
            ("\u{15}\u{3}\u{3}", "TLS"),
            ("", "not HTTP"),
        ] {
            let error = health(answer).await.unwrap_err().to_string();
            assert!(error.contains(word), "{answer:?}: {error}");
        }
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
