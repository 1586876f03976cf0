//! The key `web`: where the web server is reached and who may use it.

use std::path::PathBuf;

use crate::config::external_url::ExternalUrl;
use crate::config::external_url::RoutePrefix;
use crate::config::kinds::Optional;
use crate::config::section::Section;
use crate::config::section::section;
use crate::config::telemetry_path::TelemetryPath;
use crate::config::values::FilePath;
use crate::config::values::Parsed;
use crate::config::values::Texts;

section! {
    /// The settings of the web server.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct WebSettings {
        /// A web configuration file: TLS and users.
        pub config_file: Option<PathBuf> = None => Optional(FilePath),
        /// Where the metrics are served, below the prefix of the routes.
        pub telemetry_path: TelemetryPath = TelemetryPath::default() => Parsed::new(),
        /// Where browsers reach the server.
        pub external_url: Option<ExternalUrl> = None => Optional(Parsed::new()),
        /// The prefix of all routes; `None` for the path of the external URL.
        pub route_prefix: Option<RoutePrefix> = None => Optional(Parsed::new()),
        /// Users of the web configuration file who may run, pause and resume tasks. When it is
        /// empty, no user may.
        pub operators: Vec<String> = Vec::new() => Texts,
    }
}

impl Default for WebSettings {
    fn default() -> Self {
        Self::defaults()
    }
}

impl WebSettings {
    /// The prefix of all routes.
    #[must_use]
    pub fn prefix(&self) -> &RoutePrefix {
        let of_url = || self.external_url.as_ref().map(ExternalUrl::path);
        self.route_prefix.as_ref().or_else(of_url).unwrap_or(RoutePrefix::ROOT)
    }

    /// Whether a running server can apply the other settings: only its operators can change.
    #[must_use]
    pub fn differs_only_in_operators(&self, other: &Self) -> bool {
        *self == Self { operators: self.operators.clone(), ..other.clone() }
    }
}
