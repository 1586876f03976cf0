//! An HTTP/1.1 client for single requests: the OTLP exporter and `litekeeper healthcheck`.
//!
//! Each request opens a new connection, as both send few. Time and size of a response are limited,
//! whatever the server does.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::tls::TlsClient;

pub use hyper::Request;
pub use hyper::StatusCode;
pub use hyper::body::Bytes;
pub use hyper::header;

/// A request with its whole body.
pub type HttpRequest = Request<Full<Bytes>>;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// A name or an IP address, and a port.
    Tcp(String, u16),
    /// The path of a socket.
    Unix(PathBuf),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// Nothing accepts connections at the address.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The handshake failed.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// The connection broke, or the response is not HTTP.
    #[error("connection failed: {0}")]
    Connection(hyper::Error),
    /// The time limit has passed.
    #[error("no response within {0:?}")]
    Timeout(Duration),
}

impl HttpClientError {
    /// The error of the connection, if that is the cause.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Connect(error) | Self::Tls(error) => Some(error),
            Self::Connection(error) => {
                let mut cause = error.source();
                while let Some(error) = cause {
                    if let Some(found) = error.downcast_ref() {
                        return Some(found);
                    }
                    cause = error.source();
                }
                None
            }
            Self::Timeout(_) => None,
        }
    }
}

/// A response.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: header::HeaderMap,
    /// The body up to the size limit, or what arrived of it.
    pub body: Vec<u8>,
    /// Whether the body is complete.
    pub is_complete: bool,
}

/// Sends requests to one server.
#[derive(Debug)]
pub struct HttpClient {
    /// The server.
    pub address: ServerAddress,
    /// `None` for plain HTTP.
    pub tls: Option<TlsClient>,
    /// From connecting to the end of the response.
    pub timeout: Duration,
    /// More of a body is not read.
    pub max_body_bytes: usize,
}

impl HttpClient {
    /// Sends a request once, over a new connection.
    ///
    /// # Errors
    /// There is no response within the time limit.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpClientError> {
        let response = tokio::time::timeout(self.timeout, self.connect_and_send(request)).await;
        response.unwrap_or(Err(HttpClientError::Timeout(self.timeout)))
    }

    async fn connect_and_send(&self, request: HttpRequest) -> Result<HttpResponse, HttpClientError> {
        match &self.address {
            ServerAddress::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                self.secure_and_send(stream.map_err(HttpClientError::Connect)?, request).await
            }
            ServerAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                self.secure_and_send(stream.map_err(HttpClientError::Connect)?, request).await
            }
        }
    }

    async fn secure_and_send<S>(
        &self,
        stream: S,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match &self.tls {
            None => self.exchange(stream, request).await,
            Some(tls) => {
                let secured = tls.connect(stream).await.map_err(HttpClientError::Tls)?;
                self.exchange(secured, request).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S, request: HttpRequest) -> Result<HttpResponse, HttpClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(HttpClientError::Connection)?;
        // Aborts the connection's task when this function returns.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        match sender.send_request(request).await {
            Ok(response) => Ok(self.read(response).await),
            // A connection that ended before the request was taken holds the cause.
            Err(error) => Err(HttpClientError::Connection(match driver.join_next().await {
                Some(Ok(Err(cause))) => cause,
                Some(Ok(Ok(())) | Err(_)) | None => error,
            })),
        }
    }

    async fn read(&self, response: hyper::Response<Incoming>) -> HttpResponse {
        let (head, mut incoming) = response.into_parts();
        let mut response =
            HttpResponse { status: head.status, headers: head.headers, body: Vec::new(), is_complete: false };
        loop {
            let Some(frame) = incoming.frame().await else {
                response.is_complete = true;
                return response;
            };
            let Ok(frame) = frame else { return response };
            let Ok(data) = frame.into_data() else { continue };
            let rest = self.max_body_bytes - response.body.len();
            response.body.extend_from_slice(&data[..data.len().min(rest)]);
            if data.len() > rest {
                return response;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// The response to a request whose server sends `answer` and closes the connection, or keeps it
    /// open.
    async fn response(answer: &[u8], closes: bool) -> Result<HttpResponse, HttpClientError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /a HTTP/1.1\r\n"));
            stream.write_all(answer).await.unwrap();
            (!closes).then_some(stream)
        };
        let client = HttpClient {
            address: ServerAddress::Tcp("127.0.0.1".to_owned(), port),
            tls: None,
            timeout: Duration::from_millis(if closes { 60_000 } else { 50 }),
            max_body_bytes: 8,
        };
        let request = Request::get("/a").body(Full::default()).unwrap();
        let (_open, response) = tokio::join!(server, client.send(request));
        response
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let short = response(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n12345678", true).await.unwrap();
        assert_eq!((short.status, short.body, short.is_complete), (StatusCode::OK, b"12345678".into(), true));
        assert_eq!(short.headers["x"], "y");
        let long = response(b"HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\n123456789", true).await.unwrap();
        assert_eq!((long.status.as_u16(), long.body, long.is_complete), (503, b"12345678".into(), false));
        let broken = response(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12", true).await.unwrap();
        assert_eq!((broken.body, broken.is_complete), (b"12".into(), false));
    }

    #[tokio::test]
    async fn there_is_an_error_without_a_response() {
        for answer in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x03\x00\x02\x02\x0a"] {
            let error = response(answer, true).await.unwrap_err();
            assert!(matches!(error, HttpClientError::Connection(_)), "{error:?}");
        }
        let error = response(b"HTTP/1.1 200 OK\r\n", false).await.unwrap_err();
        assert_eq!(error.to_string(), "no response within 50ms");
    }
}
