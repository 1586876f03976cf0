//! The web configuration file, in the format of Prometheus' exporter-toolkit
//! (<https://github.com/prometheus/exporter-toolkit/blob/v0.14.0/docs/web-configuration.md>): TLS,
//! users, headers and limits.
//!
//! A file that works with Prometheus and its exporters works here: every key of theirs is known,
//! and what this server does in another way (old protocols, old ciphers) is noted. Nothing that
//! weakens security may be ignored without a note. The module `tls` checks whether the certificates
//! can be loaded.

mod tls;

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::config::web_config::tls::ClientAuth;
pub use crate::config::web_config::tls::Pem;
pub use crate::config::web_config::tls::TlsConfig;

use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::messages::listing;
use crate::config::messages::quoted;
use crate::config::tree::Node;
use crate::config::tree::Tree;
use crate::config::web_config::tls::boolean;
use crate::config::web_config::tls::read_tls;

/// A web configuration file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WebConfig {
    /// TLS; `None` for plain text.
    pub tls: Option<TlsConfig>,
    /// Whether HTTP/2 is offered where there is TLS.
    pub http2: bool,
    /// Headers of every response, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Names and bcrypt hashes; without any, the server has no authentication.
    pub users: BTreeMap<String, String>,
    /// The most requests, of all clients together.
    pub rate_limit: Option<RateLimit>,
    /// What the server does in another way than the file asks, for the log.
    pub notes: Vec<String>,
}

/// The limit of requests: a burst, and one more per interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The most requests at once.
    pub burst: u32,
    /// The time after which one more is allowed.
    pub interval: Duration,
}

impl WebConfig {
    /// The files that it names.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(tls) = &self.tls else { return Vec::new() };
        let pems = [Some(&tls.certificate), Some(&tls.key), tls.client_authority.as_ref()];
        pems.into_iter()
            .flatten()
            .filter_map(|pem| match pem {
                Pem::File(path) => Some(path.clone()),
                Pem::Text(_) => None,
            })
            .collect()
    }
}

/// Headers that may be set, each with the values that it may have; any when none is named.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// Reads a whole file; relative paths are below `base`.
pub(super) fn read_web(tree: &Tree, base: &Path, decoder: &mut Decoder<'_>) -> WebConfig {
    let mut config = WebConfig { http2: true, ..WebConfig::default() };
    // Other exporters take an empty file for "no TLS, no authentication".
    if matches!(tree.node, Node::Null) {
        return config;
    }
    let root = Value { tree, key: String::new() };
    let known = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
    let Some(fields) = decoder.fields(&root, &known) else { return config };
    if let Some(value) = fields.given("tls_server_config") {
        config.tls = read_tls(&value, base, &mut config.notes, decoder);
    }
    if let Some(value) = fields.given("http_server_config") {
        read_http(&value, &mut config, decoder);
    }
    if let Some(value) = fields.given("basic_auth_users") {
        config.users = read_users(&value, decoder);
    }
    config.rate_limit = fields.given("rate_limit").and_then(|value| read_rate_limit(&value, decoder));
    config
}

fn read_http(value: &Value<'_>, config: &mut WebConfig, decoder: &mut Decoder<'_>) {
    let Some(fields) = decoder.fields(value, &["http2", "headers"]) else { return };
    if let Some(on) = fields.given("http2").and_then(|value| boolean(&value, decoder)) {
        config.http2 = on;
    }
    let Some(headers) = fields.given("headers") else { return };
    for (name, position, tree) in decoder.entries(&headers).unwrap_or_default() {
        let header = Value { tree, key: format!("{}.{name}", headers.key) };
        let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            let known: Vec<&str> = HEADERS.iter().map(|(name, _)| *name).collect();
            decoder.refuse(position, &header.key, format!("unknown header; there are {}", listing(&known)));
            continue;
        };
        if matches!(header.tree.node, Node::Null) {
            continue;
        }
        let Some(text) = decoder.scalar(&header) else { continue };
        if text.is_empty() {
            continue;
        }
        if !allowed.is_empty() && !allowed.contains(&text.as_ref()) {
            decoder
                .refuse_value(&header, format!("must be one of {}, not {}", listing(allowed), quoted(&text)));
        } else if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
            decoder.refuse_value(&header, "must be printable ASCII on one line");
        }
        config.headers.insert(name.to_ascii_lowercase(), text.into_owned());
    }
}

fn read_users(value: &Value<'_>, decoder: &mut Decoder<'_>) -> BTreeMap<String, String> {
    let mut users = BTreeMap::new();
    for (name, position, tree) in decoder.entries(value).unwrap_or_default() {
        // A hash in a message would end up in logs, so keys are named and values never.
        let user = Value { tree, key: format!("{}.{name}", value.key) };
        if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
            decoder.refuse(position, &user.key, "a user's name must not be empty or contain `:`");
        }
        let Some(hash) = decoder.scalar(&user) else { continue };
        if !is_bcrypt(&hash) {
            let message =
                "is not a bcrypt hash; `htpasswd -nBC 10 \"\"` prints one (omit the colon in front)";
            decoder.refuse_value(&user, message);
        }
        users.insert(name.to_owned(), hash.into_owned());
    }
    users
}

/// `$2y$10$`, 22 letters of salt and 31 of hash.
fn is_bcrypt(hash: &str) -> bool {
    /// A login of more than some seconds is a mistake in the cost, and a way to keep the processor
    /// busy.
    const MAX_COST: u32 = 16;
    let rest = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().find_map(|kind| hash.strip_prefix(kind));
    let Some((cost, tail)) = rest.and_then(|rest| rest.split_once('$')) else { return false };
    cost.len() == 2
        && cost.parse().is_ok_and(|cost: u32| (4..=MAX_COST).contains(&cost))
        && tail.len() == 53
        && tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/')
}

fn read_rate_limit(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<RateLimit> {
    let fields = decoder.fields(value, &["burst", "interval"])?;
    let bounds = Duration::ZERO..=Duration::from_secs(86_400);
    let interval =
        fields.given("interval").and_then(|value| decoder.duration(&value, bounds)).unwrap_or_default();
    let burst = fields.given("burst").and_then(|value| decoder.number(&value, 0..=1_000_000));
    // Without an interval there is no limit, as with others.
    (!interval.is_zero())
        .then(|| RateLimit { burst: u32::try_from(burst.unwrap_or(1)).unwrap_or(u32::MAX).max(1), interval })
}
