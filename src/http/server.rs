//! Accepting connections, with a limit on everything.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

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

use super::connections::Connection;
use super::connections::ConnectionTracker;
use super::connections::Place;
use super::listener::Listener;
use super::listener::Stream;
use super::router::AppState;
use super::write_timeout::WriteTimeoutStream;

/// Connections at the same time; for a further one, the one goes that was of no use for longest.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to send a request's head, also the idle time of a kept connection: more
/// than the usual scrape intervals, so that Prometheus can keep its own.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a client may take to agree on TLS.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// To a request in plain text where there is TLS.
const SPEAKS_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
litekeeper speaks TLS here; ask by https (in Prometheus' scrape_configs: `scheme: https`)\n";
/// The most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Requests at the same time on one connection of HTTP/2.
const MAX_STREAMS: u32 = 16;
/// How long a connection of HTTP/2 may say nothing before it is asked whether it is there, and to answer that.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_LIMIT: Duration = Duration::from_secs(20);
/// How long one connection may last; Prometheus keeps its own and opens another then.
const CONNECTION_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long open connections may go on after the agent was told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// After an error of accept, e.g. no descriptor left: a pause, or the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a site at every place until it is told to stop, then lets open requests end.
pub async fn serve(listeners: Vec<Listener>, site: Arc<AppState>, stop: CancellationToken) {
    let guests = ConnectionTracker::new(MAX_CONNECTIONS);
    let connections = TaskTracker::new();
    let mut loops = JoinSet::new();
    for listener in listeners {
        let (guests, site) = (Arc::clone(&guests), Arc::clone(&site));
        let (connections, stop) = (connections.clone(), stop.clone());
        loops.spawn(async move { accept_all(&listener, &guests, &site, &connections, &stop).await });
    }
    while loops.join_next().await.is_some() {
        if !stop.is_cancelled() {
            // A place that is not listened on any more is a defect; who called ends the agent rather than have it half deaf.
            return;
        }
    }
    connections.close();
    if tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await.is_err() {
        tracing::debug!("connections were still open at the end");
    }
}

async fn accept_all(
    listener: &Listener,
    guests: &Arc<ConnectionTracker>,
    site: &Arc<AppState>,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut is_deaf = false;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                if std::mem::take(&mut is_deaf) {
                    tracing::info!("connections are accepted again");
                }
                let place = tokio::select! {
                    () = stop.cancelled() => return,
                    place = guests.admit(from) => place,
                };
                let Some(place) = place else { return };
                connections.spawn(connection(stream, place, Arc::clone(site), stop.clone()));
            }
            Err(error) => {
                // Tried ten times a second; what is wrong is said once.
                if !std::mem::replace(&mut is_deaf, true) {
                    tracing::warn!(%error, "connections cannot be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: Box<dyn Stream>, place: Place, site: Arc<AppState>, stop: CancellationToken) {
    let guest = Arc::clone(place.guest());
    let mut stream = WriteTimeoutStream::new(stream, Arc::clone(&guest));
    let work = async {
        let Some(acceptor) = site.auth.acceptor() else {
            return speak(Box::new(stream), Protocol::Http1, &guest, site, &stop).await;
        };
        let shaken = async {
            // A method's name, where a handshake begins with 22.
            if stream.first_byte().await?.is_some_and(|byte| byte.is_ascii_uppercase()) {
                return send_away(stream).await;
            }
            acceptor.accept(stream).await
        };
        let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, shaken).await {
            Ok(Ok(stream)) => stream,
            // A wrong certificate is worth a word to whoever looks for it; a port scan is not.
            Ok(Err(error)) => {
                tracing::debug!(%error, address = ?guest.from(), "a client could not agree on TLS");
                return;
            }
            Err(_) => return,
        };
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            Some(_) | None => Protocol::Http1,
        };
        speak(Box::new(stream), protocol, &guest, site, &stop).await;
    };
    tokio::select! {
        () = work => {}
        () = guest.told_to_leave() => tracing::debug!("a connection of no use made room for another"),
    }
    drop(place);
}

/// Tells a client that speaks plain HTTP what is spoken here.
///
/// # Errors
/// Always: there will be no TLS.
async fn send_away<T>(mut stream: WriteTimeoutStream) -> io::Result<T> {
    stream.write_all(SPEAKS_TLS).await?;
    stream.shutdown().await?;
    // With a request unread, the end of the connection could overtake the answer.
    tokio::io::copy(&mut stream.take(MAX_HEAD_BYTES as u64), &mut tokio::io::sink()).await?;
    Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks plain HTTP"))
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

/// Has a connection's requests answered, until it ends or has lasted long enough.
async fn speak(
    stream: Box<dyn Stream>,
    protocol: Protocol,
    guest: &Arc<Connection>,
    site: Arc<AppState>,
    stop: &CancellationToken,
) {
    let guest = Arc::clone(guest);
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, guest) = (Arc::clone(&site), Arc::clone(&guest));
        async move {
            let _answering = guest.answering();
            Ok::<_, Infallible>(site.answer(request, guest.from()).await)
        }
    });
    let stream = TokioIo::new(stream);
    /// Serves a connection to its end; both kinds have the same methods and no common trait.
    macro_rules! to_the_end {
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
                    // A client that does not read its answer is let go.
                    tokio::time::timeout(HEAD_TIMEOUT, connection).await.unwrap_or(Ok(()))
                }
            }
        }};
    }
    let ended = match protocol {
        Protocol::Http1 => {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
            to_the_end!(builder.serve_connection(stream, service))
        }
        Protocol::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_LIMIT)
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(MAX_HEAD_BYTES as u32);
            to_the_end!(builder.serve_connection(stream, service))
        }
    };
    if let Err(error) = ended {
        // A client that goes away or sends nonsense is its own affair.
        tracing::debug!(%error, "a connection ended early");
    }
}
