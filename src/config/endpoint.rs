//! The URL of an OTLP collector, and which headers a request may have.

use std::fmt;

/// Where OTLP over HTTP takes traces, below the URL of a collector.
const TRACES_PATH: &str = "/v1/traces";

/// The URL to which traces are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is `https`.
    pub tls: bool,
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

/// What is wrong with the URL of a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Another scheme, or none.
    #[error("must be a URL, as in `http://127.0.0.1:4318`")]
    NotAUrl,
    /// A user or a password.
    #[error("must not hold a name or password; give an `authorization` among the headers")]
    Credentials,
    /// Characters that need an encoding, or a fragment.
    #[error("has a path that cannot stand in a URL")]
    Path,
    /// No port after the colon.
    #[error("has no port from 1 to 65535 after its `:`")]
    Port,
    /// Brackets without an address.
    #[error("has no IPv6 address in its brackets")]
    Ipv6,
    /// No name and no address.
    #[error("names no host; write it as in `http://127.0.0.1:4318`")]
    Host,
}

impl Endpoint {
    /// The URL for traces below the base URL of a collector; one that ends in the path for traces
    /// stays.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn from_base_url(url: &str) -> Result<Self, EndpointError> {
        let mut endpoint = Self::from_url(url)?;
        if !endpoint.path.ends_with(TRACES_PATH) {
            let base = endpoint.path.trim_end_matches('/').len();
            endpoint.path.truncate(base);
            endpoint.path.push_str(TRACES_PATH);
        }
        Ok(endpoint)
    }

    /// A URL without any change.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_url(url: &str) -> Result<Self, EndpointError> {
        let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err(EndpointError::NotAUrl),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(EndpointError::Credentials);
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('#') {
            return Err(EndpointError::Path);
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (host, port.ok_or(EndpointError::Port)?)
            }
            Some(_) | None => (authority, if tls { 443 } else { 80 }),
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(EndpointError::Ipv6),
            None => host,
        };
        let is_name =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') || byte == b':';
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err(EndpointError::Host);
        }
        Ok(Self { tls, host: host.to_owned(), port, path })
    }

    /// Host and port, as the header `host` has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// What is wrong with a header, if anything is.
#[must_use]
pub fn header_problem(name: &str, value: &str) -> Option<String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Some(format!("`{name}` is not a header name"));
    }
    let visible = |byte: u8| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic();
    (!value.bytes().all(visible))
        .then(|| format!("the value of `{name}` has characters that no header may have"))
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn urls_are_read_and_shown() {
        for (url, expected) in [
            ("http://127.0.0.1:4318", Ok("http://127.0.0.1:4318/v1/traces")),
            ("https://otel.example/base/", Ok("https://otel.example:443/base/v1/traces")),
            ("http://c/v1/traces", Ok("http://c:80/v1/traces")),
            ("http://[::1]:1", Ok("http://[::1]:1/v1/traces")),
            ("http://[::1]", Ok("http://[::1]:80/v1/traces")),
            ("collector:4317", Err("must be a URL")),
            ("http://:4318", Err("names no host")),
            ("http://a b:1", Err("names no host")),
            ("http://a:0", Err("has no port")),
            ("http://a:99999", Err("has no port")),
            ("http://[no]:1", Err("has no IPv6")),
            ("http://u:p@a:1", Err("must not hold")),
            ("http://a/#x", Err("has a path")),
        ] {
            let endpoint = Endpoint::from_base_url(url);
            match expected {
                Ok(text) => assert_eq!(endpoint.unwrap().to_string(), text),
                Err(words) => assert!(endpoint.unwrap_err().to_string().starts_with(words), "{url}"),
            }
        }
        let exact = Endpoint::from_url("http://a:1?key=b").unwrap();
        assert_eq!(exact.to_string(), "http://a:1/?key=b");
    }
}
