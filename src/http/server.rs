//! Accepts and serves connections, with limits on number, time and size.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use super::caller::ClientAddress;
use super::connections::Connection;
use super::connections::ConnectionPermit;
use super::connections::ConnectionTracker;
use super::handler_label::HandlerLabel;
use super::listener::Listener;
use super::listener::Stream;
use super::router::declare_requests;
use super::router::router;
use super::state::AppState;
use super::write_timeout::WriteTimeoutStream;

/// Concurrent connections; beyond that, an idle one is evicted.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to send a request's head, which is also the keep-alive timeout:
/// longer than usual scrape intervals, so that Prometheus can reuse its connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// The response to a plain-text request on a TLS listener.
const SPEAKS_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
litekeeper speaks TLS here; use https (in Prometheus' scrape_configs: `scheme: https`)\n";
/// The largest request head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Concurrent requests per HTTP/2 connection.
const MAX_STREAMS: u32 = 16;
/// HTTP/2 keep-alive: ping after this much silence, and close without a response within the
/// timeout.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_LIMIT: Duration = Duration::from_secs(20);
/// The longest lifetime of a connection; Prometheus then opens another.
const CONNECTION_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long open connections may continue during shutdown.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// The delay after an error of accept (such as no free descriptor), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The router, and the state that it shares with the connections.
#[derive(Clone)]
struct Service {
    router: Router,
    state: Arc<AppState>,
}

/// Serves on every listener until `stop`, then waits for the requests in flight.
pub async fn serve(listeners: Vec<Listener>, state: Arc<AppState>, stop: CancellationToken) {
    declare_requests(&state.metrics);
    let service = Service { router: router(&state), state };
    let tracker = ConnectionTracker::new(MAX_CONNECTIONS);
    let connections = TaskTracker::new();
    let mut loops = JoinSet::new();
    for listener in listeners {
        let (tracker, service) = (Arc::clone(&tracker), service.clone());
        let (connections, stop) = (connections.clone(), stop.clone());
        loops.spawn(async move { accept_all(&listener, &tracker, &service, &connections, &stop).await });
    }
    while loops.join_next().await.is_some() {
        if !stop.is_cancelled() {
            // A listener must not stop on its own. Return, so that the caller shuts the agent down
            // instead of serving only some addresses.
            return;
        }
    }
    connections.close();
    if tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await.is_err() {
        tracing::debug!("connections were still open after the shutdown timeout");
    }
}

async fn accept_all(
    listener: &Listener,
    tracker: &Arc<ConnectionTracker>,
    service: &Service,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut accept_failing = false;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                if std::mem::take(&mut accept_failing) {
                    tracing::info!("accepting connections again");
                }
                let permit = tokio::select! {
                    () = stop.cancelled() => return,
                    permit = tracker.acquire(address) => permit,
                };
                let Some(permit) = permit else { return };
                connections.spawn(connection(stream, permit, service.clone(), stop.clone()));
            }
            Err(error) => {
                // accept is retried ten times per second, but logged once.
                if !std::mem::replace(&mut accept_failing, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: Box<dyn Stream>,
    permit: ConnectionPermit,
    service: Service,
    stop: CancellationToken,
) {
    let connection = Arc::clone(permit.connection());
    let mut stream = WriteTimeoutStream::new(stream, Arc::clone(&connection));
    let work = async {
        let Some(acceptor) = service.state.auth.acceptor() else {
            return serve_connection(Box::new(stream), Protocol::Http1, &connection, service, &stop).await;
        };
        let handshake = async {
            // An HTTP method begins with a letter, a TLS handshake with 22.
            if stream.first_byte().await?.is_some_and(|byte| byte.is_ascii_uppercase()) {
                service.state.metrics.count_request(HandlerLabel::InvalidRequest.as_str(), 400);
                return reject_plain_http(stream).await;
            }
            acceptor.accept(stream).await
        };
        let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
            Ok(Ok(stream)) => stream,
            // Logged so that a wrong certificate can be found; only at debug level because of port
            // scans.
            Ok(Err(error)) => {
                tracing::debug!(%error, address = ?connection.address(), "TLS handshake failed");
                return;
            }
            Err(_) => return,
        };
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            Some(_) | None => Protocol::Http1,
        };
        serve_connection(Box::new(stream), protocol, &connection, service, &stop).await;
    };
    tokio::select! {
        () = work => {}
        () = connection.evicted() => tracing::debug!("idle connection evicted"),
    }
    drop(permit);
}

/// Tells a client that uses plain HTTP to use TLS.
///
/// # Errors
/// Always, because there is no TLS stream.
async fn reject_plain_http<T>(mut stream: WriteTimeoutStream) -> io::Result<T> {
    stream.write_all(SPEAKS_TLS).await?;
    stream.shutdown().await?;
    // Closing a socket with unread data resets it, and the reset could overtake the response.
    tokio::io::copy(&mut stream.take(MAX_HEAD_BYTES as u64), &mut tokio::io::sink()).await?;
    Err(io::Error::new(io::ErrorKind::InvalidData, "the client uses plain HTTP"))
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves the requests of a connection until it ends or reaches its longest lifetime.
async fn serve_connection(
    stream: Box<dyn Stream>,
    protocol: Protocol,
    connection: &Arc<Connection>,
    service: Service,
    stop: &CancellationToken,
) {
    let connection = Arc::clone(connection);
    let Service { router, state } = service;
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (mut router, connection) = (router.clone(), Arc::clone(&connection));
        async move {
            let _in_flight = connection.in_flight();
            request.extensions_mut().insert(ClientAddress(connection.address()));
            router.call(request).await
        }
    });
    let stream = TokioIo::new(stream);
    /// Serves a connection until it is done; the types of both protocols have the same methods and
    /// no common trait.
    macro_rules! serve_until_done {
        ($connection:expr) => {{
            let mut connection = std::pin::pin!($connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                () = tokio::time::sleep(CONNECTION_LIMIT) => {
                    connection.as_mut().graceful_shutdown();
                    // A client that does not read its response is disconnected.
                    tokio::time::timeout(HEAD_TIMEOUT, connection).await.unwrap_or(Ok(()))
                }
            }
        }};
    }
    let ended = match protocol {
        Protocol::Http1 => {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
            serve_until_done!(builder.serve_connection(stream, service))
        }
        Protocol::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_LIMIT)
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(MAX_HEAD_BYTES as u32);
            serve_until_done!(builder.serve_connection(stream, service))
        }
    };
    if let Err(error) = ended {
        if let Some(status) = parse_error_status(&error) {
            state.metrics.count_request(HandlerLabel::InvalidRequest.as_str(), status);
        }
        // A client that disconnects or sends an invalid request is not a problem of the server.
        tracing::debug!(%error, "connection ended early");
    }
}

/// The status with which hyper has responded to a request that it could not parse.
fn parse_error_status(error: &hyper::Error) -> Option<u16> {
    if error.is_parse_too_large() {
        return Some(431);
    }
    (error.is_parse() && !error.is_parse_version_h2()).then_some(400)
}
