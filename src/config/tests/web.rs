//! Web configuration files: those that other exporters take are taken, and what would weaken access
//! control is refused.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::ClientAuth;
use crate::config::Pem;
use crate::config::RateLimit;
use crate::config::WebConfig;

const HASH: &str = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay";

fn read(text: &str) -> Result<WebConfig, String> {
    WebConfig::parse(text, "web.yml", Path::new("/etc")).map_err(|errors| errors.to_string())
}

#[test]
fn every_key_is_read() {
    let text = format!(
        "tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [scraper.test, 192.0.2.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_RSA_WITH_AES_128_CBC_SHA]
  prefer_server_cipher_suites: no
  curve_preferences: [CurveP256, CurveP521]
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: max-age=1
basic_auth_users:
  alice: {HASH}
  'bob': \"{HASH}\"
rate_limit:
  burst: 3
  interval: 1m30s
"
    );
    let config = read(&text).unwrap();
    let tls = config.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, Pem::File(PathBuf::from("/etc/server.crt")));
    assert_eq!(tls.key, Pem::File(PathBuf::from("/keys/server.key")));
    assert_eq!(tls.client_auth, ClientAuth::RequireAndVerify);
    assert_eq!(tls.client_names, ["scraper.test", "192.0.2.1"]);
    assert_eq!((tls.tls12, tls.tls13, tls.prefer_server_order), (true, true, false));
    assert_eq!(tls.cipher_suites, ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]);
    assert_eq!(tls.curves, ["CurveP256"]);
    assert!(!config.http2);
    assert_eq!(config.headers["x-frame-options"], "deny");
    assert_eq!(config.users["alice"], HASH);
    assert_eq!(config.rate_limit, Some(RateLimit { burst: 3, interval: Duration::from_secs(90) }));
    assert_eq!(config.notes.len(), 2, "{:?}", config.notes);
    assert_eq!(config.files().len(), 3);
}

#[test]
fn what_says_nothing_asks_for_nothing() {
    let headers = "http_server_config: {headers: {Content-Security-Policy: , X-Frame-Options: ''}}";
    for text in ["", "# nothing\n", headers, "tls_server_config:\n", "basic_auth_users: {}\nrate_limit: {}\n"]
    {
        let config = read(text).unwrap();
        assert_eq!(config, WebConfig { http2: true, ..WebConfig::default() }, "{text:?}");
    }
    let plain =
        read("tls_server_config: {cert: \"A\", key: \"B\", client_auth_type: ''}").unwrap().tls.unwrap();
    assert_eq!((plain.certificate, plain.client_auth), (Pem::Text("A".into()), ClientAuth::None));
    assert_eq!((plain.tls12, plain.tls13, plain.prefer_server_order), (true, true, true));
    let newest = read("tls_server_config: {cert: A, key: B, min_version: TLS13}").unwrap().tls.unwrap();
    assert_eq!((newest.tls12, newest.tls13), (false, true));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let tls = |more: &str| format!("tls_server_config: {{cert_file: a, key_file: b, {more}}}");
    for (text, message) in [
        (
            "tls_server_conf: {}".to_owned(),
            "1:1: tls_server_conf: unknown key; did you mean `tls_server_config`?",
        ),
        ("tls_server_config: {cert_file: a}".to_owned(), "tls_server_config.key_file: missing key"),
        (tls("key_fil: x"), "tls_server_config.key_fil: unknown key; did you mean `key_file`?"),
        (tls("cert: x"), "cert_file: `cert` is set as well; remove one of the two"),
        (tls("client_ca_file: c"), "client_ca_file: is set, but no client is asked for a certificate"),
        (tls("client_allowed_sans: [c]"), "client_allowed_sans: is set, but no client is asked"),
        (tls("client_auth_type: RequireAndVerifyClientCert"), "client_auth_type: needs `client_ca_file`"),
        (tls("client_auth_type: Require"), "client_auth_type: must be one of"),
        (tls("min_version: TLS14"), "min_version: must be one of"),
        (tls("max_version: TLS11"), "max_version: TLS 1.0 and 1.1 are not supported"),
        (tls("min_version: TLS13, max_version: TLS12"), "max_version: is lower than `min_version`"),
        (tls("cipher_suites: [NONE]"), "cipher_suites[0]: `NONE` is not a cipher suite"),
        (tls("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]"), "cipher_suites: none of these is supported"),
        (tls("curve_preferences: [CurveP521]"), "curve_preferences: none of these is supported"),
        (tls("curve_preferences: [P9]"), "curve_preferences[0]: `P9` is not a curve"),
        ("http_server_config: {headers: {Server: x}}".to_owned(), "headers.Server: unknown header"),
        (
            "http_server_config: {headers: {X-Frame-Options: x}}".to_owned(),
            "must be one of `deny` and `sameorigin`",
        ),
        ("http_server_config: {http2: 2}".to_owned(), "http2: must be one of"),
        ("basic_auth_users: {a: secret}".to_owned(), "basic_auth_users.a: is not a bcrypt hash"),
        (format!("basic_auth_users: {{a: {}}}", HASH.replace("$12$", "$31$")), "is not a bcrypt hash"),
        (format!("basic_auth_users: {{'a:b': {HASH}}}"), "must not be empty or contain `:`"),
        ("rate_limit: {interval: 5}".to_owned(), "rate_limit.interval: `5` has no unit"),
    ] {
        let errors = read(&text).expect_err(&text);
        assert!(errors.contains(message) && errors.starts_with("web.yml:1:"), "{text}: {errors}");
        assert!(!errors.contains("secret"), "{errors}");
    }
}
