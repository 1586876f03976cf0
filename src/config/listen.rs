//! Where the web server listens: addresses with a port, and unix sockets.
//!
//! This file parses and prints addresses; the web server binds them.

use std::fmt;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The prefix of the path of a unix socket.
const UNIX: &str = "unix:";

/// The longest path of a unix socket (`sun_path`, with its end).
const MAX_UNIX_BYTES: usize = 107;

/// One place to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address with a port.
    Tcp(SocketAddr),
    /// A port of every address, of IPv6 and IPv4.
    Everywhere(u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Everywhere(_) => false,
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Everywhere(port) => write!(formatter, ":{port}"),
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if let Some(path) = text.strip_prefix(UNIX) {
            // systemd and curl write the same socket with two more slashes.
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(ListenError::RelativePath(text.to_owned()));
            }
            if path.len() > MAX_UNIX_BYTES {
                return Err(ListenError::TooLong(text.to_owned()));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        // As every exporter has it.
        if let Some(Ok(port)) = text.strip_prefix(':').map(str::parse) {
            return Ok(Self::Everywhere(port));
        }
        // The one name whose address needs no resolver.
        if let Some(Ok(port)) = text.strip_prefix("localhost:").map(str::parse) {
            return Ok(Self::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)));
        }
        text.parse().map(Self::Tcp).map_err(|_| ListenError::NotAnAddress(text.to_owned()))
    }
}

/// What is wrong with a listen address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// The path of a socket is not absolute.
    #[error("`{0}` needs an absolute path, as in `unix:/run/litekeeper/web.sock`")]
    RelativePath(String),
    /// The path of a socket is longer than the kernel takes.
    #[error("`{0}` is too long: the path of a socket may have at most {MAX_UNIX_BYTES} bytes")]
    TooLong(String),
    /// It is neither an address with a port nor a socket.
    #[error(
        "`{0}` is not an address with a port; write it as in `127.0.0.1:10321` or `[::1]:10321`, `:10321` for all interfaces, or \
         `unix:/run/litekeeper/web.sock`"
    )]
    NotAnAddress(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for (text, local) in [
            ("127.0.0.1:10321", true),
            ("[::1]:9", true),
            ("[::ffff:127.0.0.1]:9", true),
            ("0.0.0.0:10321", false),
            ("[::]:80", false),
            (":9100", false),
            ("unix:/run/a b.sock", true),
        ] {
            let place: Listen = text.parse().unwrap();
            assert_eq!((place.to_string().as_str(), place.is_local()), (text, local));
        }
        assert_eq!("unix:///run/a".parse(), Ok(Listen::Unix("/run/a".into())));
        assert_eq!("localhost:9".parse(), "127.0.0.1:9".parse::<Listen>());
        assert!(format!("unix:/{}", "a".repeat(106)).parse::<Listen>().is_ok());
        assert!(
            format!("unix:/{}", "a".repeat(107))
                .parse::<Listen>()
                .unwrap_err()
                .to_string()
                .contains("107 bytes")
        );
        for text in [
            "",
            "unix:",
            "unix:a.sock",
            ":",
            ":99999",
            ":-1",
            "localhost:",
            "example.org:9",
            "here",
            "1.2.3.4",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
