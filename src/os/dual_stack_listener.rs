//! Listening on every address of this machine, of IPv6 and IPv4, with one socket.

use std::io;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddrV4;
use std::net::SocketAddrV6;
use std::net::TcpListener;

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::bind;
use rustix::net::listen;
use rustix::net::socket_with;
use rustix::net::sockopt;

/// Connections that may wait to be accepted, as tokio's listeners have it.
const BACKLOG: i32 = 1_024;

/// A socket that takes connections to this port of every address: IPv6 and IPv4, or IPv4 alone
/// where the machine has no other. It does not block.
///
/// # Errors
/// The port is taken, or not allowed.
pub fn bind_dual_stack(port: u16) -> io::Result<TcpListener> {
    let listener = match listen_on(AddressFamily::INET6, port) {
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => listen_on(AddressFamily::INET, port),
        other => other,
    };
    Ok(listener?)
}

fn listen_on(family: AddressFamily, port: u16) -> rustix::io::Result<TcpListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart must not wait for the last connections of the one before.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if family == AddressFamily::INET6 {
        // The system's own default can be changed (net.ipv6.bindv6only), and would leave IPv4 out
        // unheard.
        sockopt::set_ipv6_v6only(&socket, false)?;
        bind(&socket, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0))?;
    } else {
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    }
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// Whether somebody can connect, which blocks no longer than loopback does.
    fn is_reached(address: impl std::net::ToSocketAddrs) -> bool {
        TcpStream::connect(address).is_ok()
    }

    #[test]
    fn one_socket_takes_every_address() {
        let port = bind_dual_stack(0).map(|listener| (listener.local_addr().unwrap().port(), listener));
        let (port, _listener) = port.unwrap();
        assert!(is_reached((Ipv4Addr::LOCALHOST, port)));
        let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        assert_eq!(is_reached((Ipv6Addr::LOCALHOST, port)), has_ipv6);
        let taken = bind_dual_stack(port).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn ipv4_alone_is_what_a_machine_without_ipv6_has() {
        let listener = listen_on(AddressFamily::INET, 0).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip() == Ipv4Addr::UNSPECIFIED && is_reached((Ipv4Addr::LOCALHOST, address.port())));
    }
}
