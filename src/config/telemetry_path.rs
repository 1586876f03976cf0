//! The path of the metrics.
//!
//! A path that another route of the server has is refused here; a test of the module `http`
//! compares it with the routes.

use std::fmt;
use std::str::FromStr;

/// Paths of other routes.
const TAKEN: [&str; 5] = ["/", "/tasks", "/actions", "/style.css", "/icon.svg"];
/// Paths below which all routes are taken.
const TAKEN_BELOW: [&str; 4] = ["/db", "/runbooks", "/api", "/-"];

/// A path that begins with `/`, needs no encoding, and is not that of another route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryPath(String);

impl TelemetryPath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TelemetryPath {
    fn default() -> Self {
        Self("/metrics".to_owned())
    }
}

impl fmt::Display for TelemetryPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What is wrong with a telemetry path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryPathError {
    /// It does not begin with a slash.
    #[error("`{0}` must begin with `/`, as in `/metrics`")]
    NoSlash(String),
    /// The web server answers there already.
    #[error(
        "`{0}` is taken: {taken} and all below {below} are the web server's own",
        taken = quoted(&TAKEN).join(", "),
        below = quoted(&TAKEN_BELOW).join(", ")
    )]
    Taken(String),
    /// It has a segment that a client may write in another way.
    #[error(
        "`{0}` must be a plain path of letters, digits and `-._~`, as in `/metrics` or `/sqlite/metrics`"
    )]
    NotPlain(String),
}

impl FromStr for TelemetryPath {
    type Err = TelemetryPathError;

    fn from_str(text: &str) -> Result<Self, TelemetryPathError> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(TelemetryPathError::NoSlash(text.to_owned()));
        };
        let is_below =
            |root: &str| text.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if TAKEN.contains(&text) || TAKEN_BELOW.into_iter().any(is_below) {
            return Err(TelemetryPathError::Taken(text.to_owned()));
        }
        // What a client would write in another way, or leave out, would never be asked for.
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._~".contains(letter);
        let parts: Vec<&str> = rest.strip_suffix('/').unwrap_or(rest).split('/').collect();
        if parts.iter().any(|part| ["", ".", ".."].contains(part) || !part.chars().all(plain)) {
            return Err(TelemetryPathError::NotPlain(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

fn quoted(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| format!("`{path}`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_plain_and_free() {
        for text in
            ["/metrics", "/sqlite/metrics", "/m.e-t_r~1", "/metrics/", "/database", "/apis", "/tasks2"]
        {
            assert_eq!(text.parse().map(|path: TelemetryPath| path.to_string()).as_deref(), Ok(text));
        }
        for (text, words) in [
            ("", "must begin with `/`"),
            ("metrics", "must begin with `/`"),
            ("http://x/metrics", "must begin with `/`"),
            ("/", "is taken: `/`, `/tasks`"),
            ("/tasks", "is taken"),
            ("/api/v1/metrics", "is taken"),
            ("/db", "is taken"),
            ("/-/metrics", "all below `/db`, `/runbooks`, `/api`, `/-` are"),
            ("//metrics", "plain path"),
            ("/a//b", "plain path"),
            ("/../metrics", "plain path"),
            ("/metrics?a", "plain path"),
            ("/metr%69cs", "plain path"),
            ("/métrics", "plain path"),
            ("/a b", "plain path"),
        ] {
            let problem = text.parse::<TelemetryPath>().unwrap_err().to_string();
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }
}
