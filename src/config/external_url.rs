//! Where a reverse proxy makes the web server reachable, as Prometheus and its exporters have it
//! (`--web.external-url` and `--web.route-prefix`).

use std::fmt;
use std::str::FromStr;

/// A path below which every route is: empty, or `/` and segments without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutePrefix(String);

impl RoutePrefix {
    /// No prefix.
    pub const ROOT: &Self = &Self(String::new());

    /// The prefix as text: empty where the routes are at the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The route that a path of a request names; `None` where the path is not below the prefix.
    #[must_use]
    pub fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.0.as_str()).filter(|route| route.starts_with('/'))
    }

    /// The index page relative to a path from which visitors are redirected to it: `/` and the
    /// prefix without its slash.
    #[must_use]
    pub fn index_seen_from(&self, path: &str) -> Option<String> {
        let below = self.0.strip_prefix('/')?;
        match path {
            "/" => Some(format!("{below}/")),
            path if path == self.0 => Some(format!("{}/", below.rsplit('/').next().unwrap_or(below))),
            _ => None,
        }
    }
}

impl fmt::Display for RoutePrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

/// What is wrong with a route prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutePrefixError {
    /// It has a segment that a client may write in another way.
    #[error("`{0}` must be a plain path of letters, digits and `-._~`, as in `/litekeeper`")]
    NotPlain(String),
    /// It does not begin with a slash.
    #[error("`{0}` must begin with `/`, as in `/litekeeper`")]
    NoSlash(String),
}

impl FromStr for RoutePrefix {
    type Err = RoutePrefixError;

    fn from_str(text: &str) -> Result<Self, RoutePrefixError> {
        let path = text.strip_suffix('/').unwrap_or(text);
        if path.is_empty() {
            return Ok(Self::default());
        }
        // A client may normalise any other spelling, and its requests would not match.
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._~".contains(letter);
        let is_plain = |segment: &str| !["", ".", ".."].contains(&segment) && segment.chars().all(plain);
        match path.strip_prefix('/') {
            Some(below) if below.split('/').all(is_plain) => Ok(Self(path.to_owned())),
            Some(_) => Err(RoutePrefixError::NotPlain(text.to_owned())),
            None => Err(RoutePrefixError::NoSlash(text.to_owned())),
        }
    }
}

/// The URL under which browsers reach the web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalUrl {
    scheme: &'static str,
    authority: String,
    path: RoutePrefix,
}

impl ExternalUrl {
    /// Host and port, as a browser's `Origin` header has them.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path, which is the prefix of the routes where none is configured.
    #[must_use]
    pub fn path(&self) -> &RoutePrefix {
        &self.path
    }
}

impl fmt::Display for ExternalUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}{}/", self.scheme, self.authority, self.path.as_str())
    }
}

const EXAMPLE: &str = "as in `https://monitoring.example.org/litekeeper/`";

/// What is wrong with an external URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExternalUrlError {
    /// Another scheme, or none.
    #[error("`{0}` must be an http or https URL, {EXAMPLE}")]
    Scheme(String),
    /// No host, or more than host and port.
    #[error("`{0}` must name a host without user or password, {EXAMPLE}")]
    Host(String),
    /// A query or a fragment.
    #[error("`{0}` must not have a query or a fragment, {EXAMPLE}")]
    Query(String),
    /// A path that cannot be the prefix of the routes.
    #[error(transparent)]
    Path(#[from] RoutePrefixError),
}

impl FromStr for ExternalUrl {
    type Err = ExternalUrlError;

    fn from_str(text: &str) -> Result<Self, ExternalUrlError> {
        let (scheme, rest) = ["http://", "https://"]
            .into_iter()
            .find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?)))
            .ok_or_else(|| ExternalUrlError::Scheme(text.to_owned()))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
        if authority.is_empty() || authority.starts_with(':') || !authority.chars().all(allowed) {
            return Err(ExternalUrlError::Host(text.to_owned()));
        }
        if path.contains(['?', '#']) {
            return Err(ExternalUrlError::Query(text.to_owned()));
        }
        Ok(Self { scheme, authority: authority.to_ascii_lowercase(), path: path.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_plain_paths() {
        for (text, shown) in
            [("", "/"), ("/", "/"), ("/a", "/a"), ("/a/", "/a"), ("/a/b.c~d-e_1/", "/a/b.c~d-e_1")]
        {
            assert_eq!(text.parse().map(|prefix: RoutePrefix| prefix.to_string()).as_deref(), Ok(shown));
        }
        for text in ["a", "//", "/a//b", "/..", "/a/./b", "/a b", "/ä", "/a?b", "/%61"] {
            assert!(text.parse::<RoutePrefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn routes_are_below_the_prefix() {
        let prefix = |text: &str| text.parse::<RoutePrefix>().unwrap();
        for (text, path, route, index) in [
            ("", "/", Some("/"), None),
            ("", "/db/a", Some("/db/a"), None),
            ("/lk", "/lk/", Some("/"), None),
            ("/lk", "/lk/db/a", Some("/db/a"), None),
            ("/lk", "/lk", None, Some("lk/")),
            ("/lk", "/", None, Some("lk/")),
            ("/a/lk", "/a/lk", None, Some("lk/")),
            ("/a/lk", "/", None, Some("a/lk/")),
            ("/lk", "/lkx/db", None, None),
            ("/lk", "/db/a", None, None),
        ] {
            let prefix = prefix(text);
            assert_eq!(
                (prefix.strip(path), prefix.index_seen_from(path).as_deref()),
                (route, index),
                "{text} {path}"
            );
        }
    }

    #[test]
    fn external_urls_have_a_host_and_a_plain_path() {
        for (text, shown, authority) in [
            ("http://localhost:10321", "http://localhost:10321/", "localhost:10321"),
            ("https://Example.org/lk/", "https://example.org/lk/", "example.org"),
            ("https://[::1]:443/a/b", "https://[::1]:443/a/b/", "[::1]:443"),
        ] {
            let url: ExternalUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.authority()), (shown, authority));
        }
        for (text, words) in [
            ("example.org", "http or https URL"),
            ("/lk", "http or https URL"),
            ("ftp://a", "http or https URL"),
            ("http://", "must name a host"),
            ("http://:80/", "must name a host"),
            ("http://u:p@a/", "without user or password"),
            ("http://a?b", "query or a fragment"),
            ("http://a/lk?b", "query or a fragment"),
            ("http://a/l k", "plain path"),
        ] {
            let problem = text.parse::<ExternalUrl>().unwrap_err().to_string();
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }
}
