//! A port that is this test's own, although nobody listens on it.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use rustix::net::AddressFamily;
use rustix::net::SocketType;

/// A port of 127.0.0.1, held by a socket that is bound and does not listen: connecting to it is refused. No other program
/// is given it by chance, and one that is configured to listen on it can, because both allow the address to be used again.
pub struct ReservedPort {
    _socket: OwnedFd,
    pub address: SocketAddr,
}

impl ReservedPort {
    pub fn new() -> Self {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).unwrap();
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
        Self { _socket: socket, address }
    }
}
