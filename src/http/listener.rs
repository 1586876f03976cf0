//! Listeners: TCP addresses, unix sockets, and sockets passed by systemd.

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
use crate::os::bind_dual_stack;

/// Owner and group may connect to a unix socket; its directory can restrict that further.
const SOCKET_MODE: u32 = 0o660;
/// How long to wait for another program that may be using a socket file.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// The byte stream of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Listen,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: Option<SocketFile> },
}

/// The file of a unix socket, removed on drop unless another file has replaced it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path) == Some(self.inode) {
            // A socket file that stays behind does no harm: the next start removes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Binds every address.
///
/// # Errors
/// An address is in use or not an address of this machine.
pub async fn bind(addresses: &[Listen]) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(Listener::bind(address).await?);
    }
    Ok(listeners)
}

/// The sockets that systemd passes (`LISTEN_FDS`).
///
/// # Errors
/// There is none, or one cannot be used.
pub fn inherited() -> anyhow::Result<Vec<Listener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        listeners.push(
            Listener::inherited(&mut passed, index)
                .with_context(|| format!("socket {index} that systemd passed cannot be used"))?,
        );
    }
    anyhow::ensure!(
        !listeners.is_empty(),
        "--web.systemd-socket: systemd passed no socket; a unit litekeeper.socket must start the service"
    );
    Ok(listeners)
}

impl Listener {
    async fn bind(listen: &Listen) -> anyhow::Result<Self> {
        let socket = match listen {
            Listen::Tcp(address) => {
                let bound = TcpListener::bind(address).await;
                Socket::Tcp(bound.map_err(|error| cannot_listen(listen, error))?)
            }
            Listen::Everywhere(port) => {
                let bound = bind_dual_stack(*port).and_then(TcpListener::from_std);
                Socket::Tcp(bound.map_err(|error| cannot_listen(listen, error))?)
            }
            Listen::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path).with_context(|| {
                    format!(
                        "cannot listen on {listen}: its directory must exist and be writable by this user"
                    )
                })?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))
                    .with_context(|| format!("cannot set the permissions of {listen}"))?;
                let file = inode(path).map(|inode| SocketFile { path: path.clone(), inode });
                Socket::Unix { listener, _file: file }
            }
        };
        let address = match &socket {
            // Port 0 has become a real port now.
            Socket::Tcp(listener) => {
                Listen::Tcp(listener.local_addr().context("cannot read the bound address")?)
            }
            Socket::Unix { .. } => listen.clone(),
        };
        Ok(Self { socket, address })
    }

    fn inherited(passed: &mut listenfd::ListenFd, index: usize) -> anyhow::Result<Self> {
        // The kind of a descriptor is found by trying; a descriptor of another kind is not
        // consumed.
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let address = Listen::Tcp(listener.local_addr()?);
            return Ok(Self { socket: Socket::Tcp(listener), address });
        }
        let listener = passed.take_unix_listener(index)?.context("the descriptor is missing")?;
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
        // The file belongs to systemd, which keeps listening when the agent has stopped.
        Ok(Self {
            socket: Socket::Unix { listener: UnixListener::from_std(listener)?, _file: None },
            address: Listen::Unix(path),
        })
    }

    /// The address to which the socket is bound.
    #[must_use]
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// The next connection and its client address.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // A response is written at once; Nagle's algorithm would only delay its end.
                stream.set_nodelay(true)?;
                // A dual-stack socket reports IPv4 clients as `::ffff:192.0.2.7`.
                Ok((Box::new(stream), Some(from.ip().to_canonical())))
            }
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), None))
            }
        }
    }
}

/// Adds the likely cause and the remedy to an error of bind.
fn cannot_listen(listen: &Listen, error: io::Error) -> anyhow::Error {
    let message = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use, by another program or by another listen address that includes it; choose another (--web.listen-address)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have this address; `:PORT` listens on all its addresses"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher one (--web.listen-address)"
        }
        _ => "choose another address (--web.listen-address)",
    };
    anyhow::Error::new(error).context(format!("cannot listen on {listen}: {message}"))
}

/// Removes the socket file of an agent that was killed, and no other file.
async fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    anyhow::ensure!(
        metadata.file_type().is_socket(),
        "cannot listen on unix:{}: the file exists and is not a socket; move it away or choose another path",
        path.display()
    );
    let answer = tokio::time::timeout(PROBE_LIMIT, UnixStream::connect(path)).await;
    let is_stale = matches!(&answer, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused);
    anyhow::ensure!(
        is_stale,
        "cannot listen on unix:{}: another program is using it; choose another path (--web.listen-address)",
        path.display()
    );
    std::fs::remove_file(path).with_context(|| format!("cannot remove the old socket {}", path.display()))
}
