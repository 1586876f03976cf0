//! Places to listen: addresses, unix sockets, and sockets that systemd hands over.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::UnixListener;
use tokio::net::UnixStream;

use crate::config::Listen;
use crate::os::listen_everywhere;

/// Owner and group may connect to a unix socket; its directory can narrow that.
const SOCKET_MODE: u32 = 0o660;
/// How long whoever may have a socket already has to answer.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// What goes to and fro on a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One bound place.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Where it listens.
    place: Listen,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: Option<SocketFile> },
}

/// A socket's file, which goes with it unless another stands there by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path) == Some(self.inode) {
            // It is only a name by now; the next start removes it as well.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Binds every place.
///
/// # Errors
/// One of them is taken, or not of this machine.
pub async fn bind(places: &[Listen]) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::with_capacity(places.len());
    for place in places {
        listeners.push(Listener::bind(place).await?);
    }
    Ok(listeners)
}

/// The sockets that systemd hands over (`LISTEN_FDS`).
///
/// # Errors
/// There is none, or one that cannot be used.
pub fn inherited() -> anyhow::Result<Vec<Listener>> {
    let mut handed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..handed.len() {
        listeners.push(
            Listener::inherited(&mut handed, index)
                .with_context(|| format!("socket {index} that systemd hands over cannot be used"))?,
        );
    }
    anyhow::ensure!(
        !listeners.is_empty(),
        "--web.systemd-socket: systemd hands over no socket; a unit litekeeper.socket has to start the service"
    );
    Ok(listeners)
}

impl Listener {
    async fn bind(place: &Listen) -> anyhow::Result<Self> {
        let socket = match place {
            Listen::Tcp(address) => {
                let bound = TcpListener::bind(address).await;
                Socket::Tcp(bound.map_err(|error| cannot_listen(place, error))?)
            }
            Listen::Everywhere(port) => {
                let bound = listen_everywhere(*port).and_then(TcpListener::from_std);
                Socket::Tcp(bound.map_err(|error| cannot_listen(place, error))?)
            }
            Listen::Unix(path) => {
                remove_stale(path).await?;
                let listener =
                    UnixListener::bind(path).with_context(|| {
                        format!("cannot listen on {place}: its directory has to be there, and this user has to be allowed to write to it")
                    })?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))
                    .with_context(|| format!("cannot set who may connect to {place}"))?;
                let file = inode(path).map(|inode| SocketFile { path: path.clone(), inode });
                Socket::Unix { listener, _file: file }
            }
        };
        let place = match &socket {
            // A port that was left to the system is known now.
            Socket::Tcp(listener) => Listen::Tcp(listener.local_addr().context("cannot tell the address")?),
            Socket::Unix { .. } => place.clone(),
        };
        Ok(Self { socket, place })
    }

    fn inherited(handed: &mut listenfd::ListenFd, index: usize) -> anyhow::Result<Self> {
        // Which kind a descriptor is, only trying tells; one that is refused stays where it was.
        if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let place = Listen::Tcp(listener.local_addr()?);
            return Ok(Self { socket: Socket::Tcp(listener), place });
        }
        let listener = handed.take_unix_listener(index)?.context("it is not there")?;
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
        // The file is systemd's, which goes on listening when the agent is gone.
        Ok(Self {
            socket: Socket::Unix { listener: UnixListener::from_std(listener)?, _file: None },
            place: Listen::Unix(path),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn place(&self) -> &Listen {
        &self.place
    }

    /// The next connection, and where it comes from.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // An answer is written at once; waiting for more would only delay its end.
                stream.set_nodelay(true)?;
                // Where one socket takes both, IPv4 comes as `::ffff:192.0.2.7`: that is the same client.
                Ok((Box::new(stream), Some(from.ip().to_canonical())))
            }
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), None))
            }
        }
    }
}

/// Why a port cannot be had, and what to do.
fn cannot_listen(place: &Listen, error: io::Error) -> anyhow::Error {
    let words = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has this port, or another of the addresses to listen on includes it; name another (--web.listen-address)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; `:PORT` is every address that it has"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are for root, or a service with CAP_NET_BIND_SERVICE; name a higher one (--web.listen-address)"
        }
        _ => "name another address (--web.listen-address)",
    };
    anyhow::Error::new(error).context(format!("cannot listen on {place}: {words}"))
}

/// Removes the socket of an agent that was killed, and nothing else.
async fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    anyhow::ensure!(
        found.file_type().is_socket(),
        "cannot listen on unix:{}: there is a file that is no socket; move it away or name another",
        path.display()
    );
    let answer = tokio::time::timeout(PROBE_LIMIT, UnixStream::connect(path)).await;
    let is_stale = matches!(&answer, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused);
    anyhow::ensure!(
        is_stale,
        "cannot listen on unix:{}: another program has it (--web.listen-address names another)",
        path.display()
    );
    std::fs::remove_file(path).with_context(|| format!("cannot remove the old socket {}", path.display()))
}
