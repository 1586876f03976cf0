//! The key `tls_server_config` of a web configuration file.

use std::path::Path;
use std::path::PathBuf;

use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::messages::listing;
use crate::config::messages::quoted;
use crate::config::paths::resolve_path;
use crate::config::tree::Node;

/// A file, or its content in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// In a file.
    File(PathBuf),
    /// In the configuration.
    Text(String),
}

/// The key `tls_server_config`.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsConfig {
    /// The server's certificate and its chain.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
    /// Which certificates clients must have.
    pub client_auth: ClientAuth,
    /// The authorities that may sign certificates of clients.
    pub client_authority: Option<Pem>,
    /// A certificate of a client must have one of these names; any will do when empty.
    pub client_names: Vec<String>,
    /// Whether TLS 1.2 is offered.
    pub tls12: bool,
    /// Whether TLS 1.3 is offered.
    pub tls13: bool,
    /// Cipher suites of TLS 1.2, by their registered names; all that are safe when empty.
    pub cipher_suites: Vec<&'static str>,
    /// Key exchanges, by their names in Go; all when empty.
    pub curves: Vec<&'static str>,
    /// Whether the server's order of cipher suites counts.
    pub prefer_server_order: bool,
}

/// Which certificates clients must have, in the words of Go's `tls.ClientAuthType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is requested.
    None,
    /// A certificate, which need not come and is not checked.
    Request,
    /// Some certificate.
    RequireAny,
    /// A certificate is checked if it comes.
    VerifyIfGiven,
    /// A certificate that is checked.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether the certificate must be signed by a known authority.
    #[must_use]
    pub fn verifies(self) -> bool {
        match self {
            Self::VerifyIfGiven | Self::RequireAndVerify => true,
            Self::None | Self::Request | Self::RequireAny => false,
        }
    }

    /// Whether a client without a certificate is refused.
    #[must_use]
    pub fn requires(self) -> bool {
        match self {
            Self::RequireAny | Self::RequireAndVerify => true,
            Self::None | Self::Request | Self::VerifyIfGiven => false,
        }
    }
}

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

/// Suites of TLS 1.2 that are supported here, by the registered names, which Go's are too but for
/// two older spellings.
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

/// Suites of TLS 1.3: all are always offered, there as here.
const SUITES_13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Suites that other exporters know and that are not secure enough to be supported here.
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

/// Reads the key.
pub(super) fn read_tls(
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
        decoder.refuse_value(&value, format!("`{inline}` is set as well; remove one of the two"));
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

/// Refuses settings for certificates of clients that have no effect.
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
        let message = "needs `client_ca_file`, which certificates are verified with";
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
        notes.push("min_version: TLS 1.0 and 1.1 are not supported; TLS 1.2 is the minimum".to_owned());
    }
    if most < 12 || most < least {
        let message = if most < 12 {
            "TLS 1.0 and 1.1 are not supported, as they are broken; write `TLS12` or `TLS13`"
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
            notes.push(format!("cipher_suites: {name} is not secure enough to be supported"));
        } else {
            let known: Vec<&str> = SUITES[..6].iter().map(|(name, _)| *name).collect();
            let message = format!("{} is not a cipher suite; there are {}", quoted(&name), listing(&known));
            decoder.refuse_value(&item, message);
        }
    }
    if suites.is_empty() && !has_13 && !decoder.has_errors() {
        let known: Vec<&str> = SUITES[..6].iter().map(|(name, _)| *name).collect();
        decoder.refuse_value(&value, format!("none of these is supported; there are {}", listing(&known)));
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
            notes.push(format!("curve_preferences: {name} is not supported"));
        } else {
            decoder.refuse_value(
                &item,
                format!("{} is not a curve; there are {}", quoted(&name), listing(&CURVES)),
            );
        }
    }
    if curves.is_empty() && !decoder.has_errors() {
        decoder.refuse_value(&value, format!("none of these is supported; there are {}", listing(&CURVES)));
    }
    curves
}

/// YAML 1.1's booleans, as Go reads them.
pub(super) fn boolean(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<bool> {
    let words =
        [("true", true), ("false", false), ("on", true), ("off", false), ("yes", true), ("no", false)];
    decoder.choice(value, &words)
}
