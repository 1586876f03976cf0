//! The tree of a web configuration file into a [`WebConfig`].
//!
//! A file that works with Prometheus and its exporters works here: every key of theirs is known, and what this server does
//! in another way (old protocols, old ciphers) is noted. Nothing may be passed over in silence that weakens a door.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::decode::listing;
use crate::config::decode::quoted;
use crate::config::paths::resolve_path;
use crate::config::tree::Node;
use crate::config::tree::Tree;
use crate::config::web::ClientAuth;
use crate::config::web::Pem;
use crate::config::web::RateLimit;
use crate::config::web::TlsConfig;
use crate::config::web::WebConfig;

const TLS_KEYS: [&str; 13] = [
    "cert",
    "key",
    "client_ca",
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "cipher_suites",
    "curve_preferences",
    "min_version",
    "max_version",
    "prefer_server_cipher_suites",
];

/// Suites of TLS 1.2 that are spoken here, by the registered names, which Go's are too but for two older spellings.
const SUITES: [(&str, &str); 8] = [
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Suites of TLS 1.3: all are always spoken, there as here.
const SUITES_13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Suites that other exporters know and that are not safe enough to be spoken here.
const OLD_SUITES: [&str; 16] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

const CURVES: [&str; 3] = ["X25519", "CurveP256", "CurveP384"];
const OTHER_CURVES: [&str; 2] = ["CurveP521", "X25519MLKEM768"];

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
    // An empty file is how others write "no TLS, nobody signs in".
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

fn read_tls(
    value: &Value<'_>,
    base: &Path,
    notes: &mut Vec<String>,
    decoder: &mut Decoder<'_>,
) -> Option<TlsConfig> {
    let fields = decoder.fields(value, &TLS_KEYS)?;
    let certificate = read_pem(&fields, "cert", "cert_file", base, decoder);
    let key = read_pem(&fields, "key", "key_file", base, decoder);
    for (pem, name) in [(&certificate, "cert_file"), (&key, "key_file")] {
        if pem.is_none() && !fields.intends(name) {
            decoder.require(&fields, name, &format!("{name}: server.pem"));
        }
    }
    let client_authority = read_pem(&fields, "client_ca", "client_ca_file", base, decoder);
    let client_auth = read_client_auth(&fields, decoder);
    let names = fields.given("client_allowed_sans").and_then(|value| decoder.texts(&value));
    let client_names = names.unwrap_or_default();
    check_clients(&fields, client_auth, client_authority.as_ref(), &client_names, decoder);
    let (tls12, tls13) = read_versions(&fields, notes, decoder);
    let prefer = fields.given("prefer_server_cipher_suites").and_then(|value| boolean(&value, decoder));
    Some(TlsConfig {
        certificate: certificate?,
        key: key?,
        client_auth,
        client_authority,
        client_names,
        tls12,
        tls13,
        cipher_suites: read_suites(&fields, notes, decoder),
        curves: read_curves(&fields, notes, decoder),
        prefer_server_order: prefer.unwrap_or(true),
    })
}

fn read_pem(
    fields: &Fields<'_>,
    inline: &str,
    file: &str,
    base: &Path,
    decoder: &mut Decoder<'_>,
) -> Option<Pem> {
    let text = fields.given(inline).and_then(|value| decoder.text(&value)).map(Pem::Text);
    let path = fields.given(file).and_then(|value| decoder.text(&value));
    if let (Some(_), Some(_), Some(value)) = (&text, &path, fields.find(file)) {
        decoder.refuse_value(&value, format!("`{inline}` stands there already; keep one of the two"));
    }
    path.map(|path| Pem::File(resolve_path(base, &path))).or(text)
}

fn read_client_auth(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> ClientAuth {
    let words = [
        ("NoClientCert", ClientAuth::None),
        ("RequestClientCert", ClientAuth::Request),
        ("RequireAnyClientCert", ClientAuth::RequireAny),
        ("RequireClientCert", ClientAuth::RequireAny),
        ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven),
        ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify),
    ];
    let value = fields.given("client_auth_type").filter(|value| !is_blank(value));
    value.and_then(|value| decoder.choice(&value, &words)).unwrap_or(ClientAuth::None)
}

fn is_blank(value: &Value<'_>) -> bool {
    matches!(&value.tree.node, Node::Scalar(text) if text.is_empty())
}

/// What is asked of clients must be something that keeps somebody out.
fn check_clients(
    fields: &Fields<'_>,
    auth: ClientAuth,
    authority: Option<&Pem>,
    names: &[String],
    decoder: &mut Decoder<'_>,
) {
    let position = |name| fields.position_of(name);
    let needs = "`client_auth_type: RequireAndVerifyClientCert` asks clients for certificates";
    if authority.is_some() && auth == ClientAuth::None {
        let message = format!("is set, but no client is asked for a certificate; {needs}");
        let name = if fields.find("client_ca_file").is_some() { "client_ca_file" } else { "client_ca" };
        decoder.refuse(position(name), &fields.child(name), message);
    }
    if !names.is_empty() && auth == ClientAuth::None {
        let message = format!("is set, but no client is asked for a certificate; {needs}");
        decoder.refuse(position("client_allowed_sans"), &fields.child("client_allowed_sans"), message);
    }
    if auth.verifies() && authority.is_none() && !fields.intends("client_ca_file") {
        let message = "needs `client_ca_file`: by whose signature certificates are to be verified";
        decoder.refuse(position("client_auth_type"), &fields.child("client_auth_type"), message);
    }
}

fn read_versions(fields: &Fields<'_>, notes: &mut Vec<String>, decoder: &mut Decoder<'_>) -> (bool, bool) {
    let words = [("TLS10", 10), ("TLS11", 11), ("TLS12", 12), ("TLS13", 13)];
    let mut version = |name| {
        let value = fields.given(name).filter(|value| !is_blank(value));
        value.and_then(|value| decoder.choice(&value, &words))
    };
    let (least, most) = (version("min_version").unwrap_or(12), version("max_version").unwrap_or(13));
    if least < 12 {
        notes.push("min_version: TLS 1.0 and 1.1 are not spoken; TLS 1.2 is the least".to_owned());
    }
    if most < 12 || most < least {
        let message = if most < 12 {
            "TLS 1.0 and 1.1 are not spoken, as they are broken; write `TLS12` or `TLS13`"
        } else {
            "is lower than `min_version`"
        };
        decoder.refuse(fields.position_of("max_version"), &fields.child("max_version"), message);
    }
    (least <= 12, most >= 13)
}

fn read_suites(fields: &Fields<'_>, notes: &mut Vec<String>, decoder: &mut Decoder<'_>) -> Vec<&'static str> {
    let Some(value) = fields.given("cipher_suites") else { return Vec::new() };
    let (mut suites, mut has_13) = (Vec::new(), false);
    for item in decoder.items(&value).unwrap_or_default() {
        let Some(name) = decoder.text(&item) else { continue };
        if let Some((_, suite)) = SUITES.iter().find(|(known, _)| *known == name) {
            if !suites.contains(suite) {
                suites.push(*suite);
            }
        } else if SUITES_13.contains(&name.as_str()) {
            has_13 = true;
        } else if OLD_SUITES.contains(&name.as_str()) {
            notes.push(format!("cipher_suites: {name} is not safe enough to be spoken"));
        } else {
            let known: Vec<&str> = SUITES[..6].iter().map(|(name, _)| *name).collect();
            let message = format!("{} is no cipher suite; there are {}", quoted(&name), listing(&known));
            decoder.refuse_value(&item, message);
        }
    }
    if suites.is_empty() && !has_13 && !decoder.has_errors() {
        let known: Vec<&str> = SUITES[..6].iter().map(|(name, _)| *name).collect();
        decoder.refuse_value(&value, format!("none of these is spoken; there are {}", listing(&known)));
    }
    suites
}

fn read_curves(fields: &Fields<'_>, notes: &mut Vec<String>, decoder: &mut Decoder<'_>) -> Vec<&'static str> {
    let Some(value) = fields.given("curve_preferences") else { return Vec::new() };
    let mut curves = Vec::new();
    for item in decoder.items(&value).unwrap_or_default() {
        let Some(name) = decoder.text(&item) else { continue };
        if let Some(curve) = CURVES.iter().find(|known| **known == name) {
            curves.push(*curve);
        } else if OTHER_CURVES.contains(&name.as_str()) {
            notes.push(format!("curve_preferences: {name} is not spoken"));
        } else {
            decoder.refuse_value(
                &item,
                format!("{} is no curve; there are {}", quoted(&name), listing(&CURVES)),
            );
        }
    }
    if curves.is_empty() && !decoder.has_errors() {
        decoder.refuse_value(&value, format!("none of these is spoken; there are {}", listing(&CURVES)));
    }
    curves
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
            decoder.refuse(position, &user.key, "a user's name is not empty and has no `:` in it");
        }
        let Some(hash) = decoder.scalar(&user) else { continue };
        if !is_bcrypt(&hash) {
            let message = "is no bcrypt hash; `htpasswd -nBC 10 \"\"` makes one, without the colon in front";
            decoder.refuse_value(&user, message);
        }
        users.insert(name.to_owned(), hash.into_owned());
    }
    users
}

/// `$2y$10$`, 22 letters of salt and 31 of hash.
fn is_bcrypt(hash: &str) -> bool {
    /// A sign-in of more than some seconds is a mistake in the cost, and a way to keep the processor busy.
    const MOST: u32 = 16;
    let rest = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().find_map(|kind| hash.strip_prefix(kind));
    let Some((cost, tail)) = rest.and_then(|rest| rest.split_once('$')) else { return false };
    cost.len() == 2
        && cost.parse().is_ok_and(|cost: u32| (4..=MOST).contains(&cost))
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

/// YAML 1.1's booleans, as Go reads them.
fn boolean(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<bool> {
    let words =
        [("true", true), ("false", false), ("on", true), ("off", false), ("yes", true), ("no", false)];
    decoder.choice(value, &words)
}
