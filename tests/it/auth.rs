//! Access to the web server: TLS, certificates, passwords, limits, sockets, slow clients.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use base64::Engine as _;
use libtest_mimic::Trial;
use rustls::version::TLS12;
use rustls::version::TLS13;

use crate::support::Agent;
use crate::support::Authority;
use crate::support::HttpResponse;
use crate::support::Output;
use crate::support::Prometheus;
use crate::support::TestDatabase;
use crate::support::TlsClient;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("tls_is_spoken_as_the_file_says", tls_is_spoken_as_the_file_says),
        test("a_client_certificate_must_be_signed_and_named", a_client_certificate_must_be_signed_and_named),
        test("certificates_and_users_are_read_again", certificates_and_users_are_read_again),
        test("only_users_with_their_password_come_in", only_users_with_their_password_come_in),
        test("guessing_is_slowed_down", guessing_is_slowed_down),
        test("requests_are_limited_as_configured", requests_are_limited_as_configured),
        test("mistakes_in_web_files_are_usage_errors", mistakes_in_web_files_are_usage_errors),
        test("several_places_are_listened_on", several_places_are_listened_on),
        test_with_tool(
            "a_port_alone_is_every_address",
            tool("ip").and_then(|_| unshare()),
            a_port_alone_is_every_address,
        ),
        test("sockets_are_taken_from_systemd", sockets_are_taken_from_systemd),
        test("slow_clients_are_evicted", slow_clients_are_evicted),
        test("slow_and_wrong_handshakes_hold_up_nobody", slow_and_wrong_handshakes_hold_up_nobody),
        test("acting_in_plain_text_is_warned_of", acting_in_plain_text_is_warned_of),
        test_with_tool(
            "prometheus_scrapes_with_tls_and_password",
            tool("prometheus"),
            prometheus_scrapes_with_tls_and_password,
        ),
        test_with_tool("http2_is_spoken_over_tls", tool("curl"), http2_is_spoken_over_tls),
    ]
}

/// A database with a web configuration file beside it.
struct TestServer {
    fixture: TestDatabase,
}

impl TestServer {
    fn new(web: &str) -> Self {
        let fixture = TestDatabase::new("books").rows(3).make();
        let test_server = Self { fixture };
        test_server.write("web.yml", web);
        test_server
    }

    fn directory(&self) -> &Path {
        self.fixture.directory()
    }

    fn write(&self, name: &str, text: &str) {
        // Renamed into place: a reader sees the old file or the new one.
        let (file, draft) = (self.directory().join(name), self.directory().join("draft"));
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, file).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = litekeeper();
        command.arg("serve").arg(self.fixture.path());
        command.arg("--web.config.file").arg(self.directory().join("web.yml"));
        command
    }

    fn start(&self) -> Agent {
        Agent::start(self.command())
    }
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

fn sign_in(agent: &Agent, path: &str, name: &str, password: &str) -> HttpResponse {
    agent.request("GET", path, &[("Authorization", &basic(name, password))])
}

fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key";

fn tls_is_spoken_as_the_file_says() {
    let authority = Authority::new();
    let test_server = TestServer::new(&format!(
        "{TLS}, min_version: TLS13}}\nhttp_server_config: {{headers: {{Strict-Transport-Security: max-age=9}}}}"
    ));
    authority.write_server(test_server.directory(), "server");
    let agent = test_server.start();
    let new = TlsClient::new(&authority, None, &[&TLS13]);
    let answer = new.request(agent.address(), "GET /metrics HTTP/1.1").unwrap();
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, Some("max-age=9")));
    let old = TlsClient::new(&authority, None, &[&TLS12]);
    assert!(old.request(agent.address(), "GET /metrics HTTP/1.1").is_err(), "min_version keeps TLS 1.2 out");
    let stranger = TlsClient::new(&Authority::new(), None, &[&TLS13]);
    assert!(stranger.request(agent.address(), "GET /metrics HTTP/1.1").is_err());
    // Plain text is refused with a word, however much of it there is, and harms nobody.
    for more in ["\r\n", &format!("X-Long: {}", "x".repeat(10_000))] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{more}");
        let answer = agent.send(request.as_bytes());
        assert_eq!(answer.status, 400);
        assert!(answer.text().starts_with("litekeeper speaks TLS here; use https"), "{}", answer.text());
    }
    let scrape = new.request(agent.address(), "GET /metrics HTTP/1.1").unwrap().text();
    let counted = "litekeeper_http_requests_total{handler=\"invalid_request\",code=\"400\"} 2";
    assert!(scrape.contains(counted), "{scrape}");
    let place = format!("--web.listen-address={}", agent.address());
    let asked = Output::of(&["healthcheck", &place]);
    assert_eq!(asked.code, Some(1));
    assert!(asked.stderr.contains("speaks TLS; pass its web configuration file"), "{}", asked.stderr);

    let test_server = TestServer::new(&format!(
        "{TLS}, max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256], curve_preferences: [CurveP384]}}"
    ));
    authority.write_server(test_server.directory(), "server");
    let agent = test_server.start();
    assert!(old.request(agent.address(), "GET /metrics HTTP/1.1").is_ok());
    assert!(new.request(agent.address(), "GET /metrics HTTP/1.1").is_err(), "max_version keeps TLS 1.3 out");
}

fn a_client_certificate_must_be_signed_and_named() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let scraper =
        authority.sign(&["scraper.test", "ops@litekeeper.test", "spiffe://test/scraper", "192.0.2.1"]);
    let nameless = authority.sign(&[]);
    let forged = strangers.sign(&["scraper.test"]);
    let request = |kind: &str, more: &str, own| {
        let test_server = TestServer::new(&format!("{TLS}, client_auth_type: {kind}{more}}}"));
        authority.write_server(test_server.directory(), "server");
        test_server.write("ca.crt", &authority.pem());
        let agent = test_server.start();
        let result = [&TLS12, &TLS13].map(|version| {
            let client = TlsClient::new(&authority, own, &[version]);
            client.request(agent.address(), "GET /-/healthy HTTP/1.1").is_ok()
        });
        assert_eq!(result[0], result[1], "{kind} {more}: the versions agree");
        result[0]
    };
    const CA: &str = ", client_ca_file: ca.crt";
    for (kind, more, by_nobody, by_stranger, by_scraper) in [
        ("NoClientCert", "", true, true, true),
        ("RequestClientCert", "", true, true, true),
        ("RequireAnyClientCert", "", false, true, true),
        ("VerifyClientCertIfGiven", CA, true, false, true),
        ("RequireAndVerifyClientCert", CA, false, false, true),
    ] {
        assert_eq!(request(kind, more, None), by_nobody, "{kind}, none");
        assert_eq!(request(kind, more, Some(&forged)), by_stranger, "{kind}, forged");
        assert_eq!(request(kind, more, Some(&scraper)), by_scraper, "{kind}, signed");
    }
    for name in ["scraper.test", "ops@litekeeper.test", "spiffe://test/scraper", "192.0.2.1"] {
        let more = format!("{CA}, client_allowed_sans: ['{name}', other]");
        assert!(request("RequireAndVerifyClientCert", &more, Some(&scraper)), "{name}");
    }
    for allowed in ["test", "scraper", "SCRAPER.TEST", "192.0.2.10"] {
        let more = format!("{CA}, client_allowed_sans: ['{allowed}']");
        assert!(!request("RequireAndVerifyClientCert", &more, Some(&scraper)), "{allowed}");
    }
    let more = format!("{CA}, client_allowed_sans: [scraper.test]");
    assert!(!request("RequireAndVerifyClientCert", &more, Some(&nameless)));
}

fn certificates_and_users_are_read_again() {
    let authority = Authority::new();
    let web = |password: &str| format!("{TLS}}}\nbasic_auth_users: {{anna: '{}'}}", hash(password));
    let test_server = TestServer::new(&web("first"));
    authority.write_server(test_server.directory(), "server");
    let agent = test_server.start();
    let client = TlsClient::new(&authority, None, &[&TLS13]);
    let ask = |password: &str| {
        let head = format!("GET /-/healthy HTTP/1.1\r\nAuthorization: {}", basic("anna", password));
        client.exchange(agent.address(), &head).unwrap()
    };
    let (answer, first) = ask("first");
    assert_eq!(answer.status, 200);
    test_server.write("web.yml", &web("second"));
    eventually("the new password counts", || {
        agent.log().iter().any(|line| line.contains("web configuration reloaded")).then_some(())
    });
    assert_eq!(ask("second").0.status, 200);
    assert_eq!(ask("first").0.status, 401, "the old one, though remembered, is right no longer");
    authority.write_server(test_server.directory(), "server");
    eventually("the new certificate is shown", || (ask("second").1 != first).then_some(()));
    let scrape = || {
        let head = format!("GET /metrics HTTP/1.1\r\nAuthorization: {}", basic("anna", "second"));
        client.request(agent.address(), &head).unwrap().text()
    };
    assert!(scrape().contains("litekeeper_web_config_last_reload_successful 1.0"));
    // Neither an invalid file nor an empty one removes protection.
    for (text, words) in [
        ("tls_server_config: {", "is not valid YAML"),
        ("", "without `tls_server_config` the server would no longer use TLS"),
        (&format!("{TLS}}}"), "without `basic_auth_users` the server would no longer require a password"),
    ] {
        test_server.write("web.yml", text);
        eventually(words, || agent.log().iter().any(|line| line.contains(words)).then_some(()));
        let nobody = client.request(agent.address(), "GET /-/healthy HTTP/1.1").unwrap();
        assert_eq!((ask("second").0.status, nobody.status), (200, 401), "{text}");
        assert!(scrape().contains("litekeeper_web_config_last_reload_successful 0.0"), "{text}");
    }
}

fn only_users_with_their_password_come_in() {
    let test_server = TestServer::new(&format!(
        "basic_auth_users: {{anna: '{}', bert: '{}'}}",
        hash("right"),
        hash("other")
    ));
    let agent = test_server.start();
    for path in ["/", "/metrics", "/-/healthy", "/style.css", "/nowhere"] {
        let answer = agent.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "), "{path}");
        assert!(!answer.text().contains("books"), "{path}");
    }
    for (name, password, status) in [
        ("anna", "right", 200),
        ("anna", "other", 401),
        ("bert", "other", 200),
        ("", "", 401),
        ("eve", "right", 401),
    ] {
        assert_eq!(sign_in(&agent, "/-/healthy", name, password).status, status, "{name}:{password}");
    }
    let scrape = sign_in(&agent, "/metrics", "anna", "right").text();
    assert!(
        scrape.contains("litekeeper_http_requests_total{handler=\"/metrics\",code=\"401\"} 1"),
        "{scrape}"
    );
    assert!(
        !agent.log().iter().any(|line| line.contains("right") || line.contains("other")),
        "no password in the log"
    );
}

fn guessing_is_slowed_down() {
    let test_server = TestServer::new(&format!("basic_auth_users: {{anna: '{}'}}", hash("right")));
    let agent = test_server.start();
    assert_eq!(sign_in(&agent, "/-/healthy", "anna", "right").status, 200);
    let began = std::time::Instant::now();
    let codes: Vec<u16> = (0..200)
        .map(|turn| sign_in(&agent, "/-/healthy", "anna", &format!("guess {turn}")).status)
        .take_while(|code| *code != 429)
        .collect();
    // Ten at once, and one more for every six seconds, which a slow machine may have taken.
    let most = 12 + usize::try_from(began.elapsed().as_secs() / 6).unwrap();
    assert!(codes.iter().all(|code| *code == 401), "{codes:?}");
    assert!((10..=most).contains(&codes.len()), "{} of {most}: {codes:?}", codes.len());
    // Who has signed in before, as a scraper, is let in all the same.
    assert_eq!(sign_in(&agent, "/-/healthy", "anna", "right").status, 200);
}

fn requests_are_limited_as_configured() {
    let test_server = TestServer::new("rate_limit: {burst: 3, interval: 1h}");
    let agent = test_server.start();
    let codes: Vec<u16> = (0..5).map(|_| agent.get("/-/healthy").status).collect();
    assert_eq!(codes, [200, 200, 200, 429, 429]);
}

fn mistakes_in_web_files_are_usage_errors() {
    for (web, words) in [
        ("tls_server_config: {cert_file: none.crt, key_file: none.key}", "cert_file"),
        ("tls_server_config: {cert_file: web.yml, key_file: web.yml}", "contains no certificate"),
        ("users: {}", "web.yml:1:1: users: unknown key"),
    ] {
        let test_server = TestServer::new(web);
        let output = test_server.command().stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{web}: {text}");
        assert!(text.contains(words), "{web}: {text}");
    }
    let (one, two) = (Authority::new(), Authority::new());
    let test_server = TestServer::new(&format!("{TLS}}}"));
    one.write_server(test_server.directory(), "server");
    two.write_server(test_server.directory(), "other");
    let file = |name| test_server.directory().join(name);
    std::fs::rename(file("other.key"), file("server.key")).unwrap();
    let output = test_server.command().stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("does the key belong to the certificate?"));
    let check = || Output::of(&["config".as_ref(), "check-web".as_ref(), file("web.yml").as_os_str()]);
    assert_eq!(check().code, Some(2));
    one.write_server(test_server.directory(), "server");
    let checked = check();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.ends_with("web.yml: valid, TLS, no authentication\n"), "{checked:?}");
    test_server.write("web.yml", &format!("basic_auth_users: {{anna: '{}'}}", hash("right")));
    assert!(check().stdout.ends_with("web.yml: valid, plain text, 1 user\n"), "{:?}", check());
    // Who acts has to sign in.
    test_server.write("lk.yml", "web: {operators: [anna]}\ndatabases: [{path: books.db}]");
    let output = Output::of(&["serve".as_ref(), "--config".as_ref(), file("lk.yml").as_os_str()]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("`anna` cannot sign in"), "{}", output.stderr);
}

fn several_places_are_listened_on() {
    let test_server = TestServer::new("");
    let socket = test_server.directory().join("web.sock");
    let serve = || {
        let mut command = test_server.command();
        command.arg(format!("--web.listen-address=unix:{}", socket.display()));
        command.arg("--web.listen-address=[::1]:0");
        command
    };
    let ask = || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        HttpResponse::parse(&answer).status
    };
    let agent = Agent::start(serve());
    eventually("all listen", || {
        (agent.log().iter().filter(|line| line.contains("\"listening\"")).count() == 3).then_some(())
    });
    assert_eq!((ask(), agent.get("/-/healthy").status), (200, 200));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660);
    // A socket that is in use is left alone; one that a killed agent left behind is replaced.
    let second = serve().stdin(Stdio::null()).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    assert!(String::from_utf8(second.stderr).unwrap().contains("another program is using it"));
    assert_eq!(ask(), 200);
    drop(agent);
    assert!(socket.exists(), "it was killed");
    let agent = Agent::start(serve());
    eventually("it listens again", || UnixStream::connect(&socket).ok());
    assert_eq!(ask(), 200);
    agent.signal(rustix::process::Signal::TERM);
    assert_eq!(agent.wait(), Some(0));
    assert!(!socket.exists(), "an agent that ends takes its socket along");
    let nowhere = test_server.directory().join("none/web.sock").display().to_string();
    let lost = Output::of(&["serve", "books.db", &format!("--web.listen-address=unix:{nowhere}")]);
    assert_eq!(lost.code, Some(3));
    assert!(lost.stderr.contains("its directory must exist"), "{}", lost.stderr);
    std::fs::write(&socket, "precious").unwrap();
    let third = serve().stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8(third.stderr).unwrap().contains("not a socket; move it away"));
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

/// The program that makes networks of our own, where it may.
fn unshare() -> Option<String> {
    let unshare = tool("unshare")?;
    let works = Command::new(&unshare).args(NETWORK).arg("true").stderr(Stdio::null()).status();
    works.is_ok_and(|status| status.success()).then_some(unshare)
}

const NETWORK: [&str; 3] = ["--user", "--map-root-user", "--net"];

/// Also where the system would have a socket of IPv6 take no IPv4.
fn a_port_alone_is_every_address(unshare: &str) {
    let test_server = TestServer::new("");
    let script = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/bindv6only || exit 1
        \"$0\" serve \"$1\" --web.listen-address=:9100 & agent=$!
        for address in 127.0.0.1:9100 [::1]:9100 :9100; do
            until \"$0\" healthcheck --web.listen-address=$address; do kill -0 $agent || exit 1; sleep 0.1; done
        done
        \"$0\" serve \"$1\" --web.listen-address=127.0.0.1:9100
        kill $agent";
    let output = Command::new("timeout")
        .args(["180", unshare])
        .args(NETWORK)
        .args(["sh", "-c", script, env!("CARGO_BIN_EXE_litekeeper")])
        .arg(test_server.fixture.path())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (reported, log) = (text(output.stdout), text(output.stderr));
    let expected = "127.0.0.1:9100: healthy\n[::1]:9100: healthy\n127.0.0.1:9100: healthy\n";
    assert_eq!((output.status.code(), reported.as_str()), (Some(0), expected), "{log}");
    assert!(log.contains("cannot listen on 127.0.0.1:9100: the port is in use"), "{log}");
}

fn sockets_are_taken_from_systemd() {
    let test_server = TestServer::new("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // What systemd does: the socket as descriptor 3, and the number and the process in the environment.
    let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_litekeeper"), "serve"])
        .arg(test_server.fixture.path())
        .args(["--web.systemd-socket", "--log.level=error"])
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .spawn()
        .unwrap();
    // The queue of the socket is there from the start, so nothing has to be waited for.
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(HttpResponse::parse(&answer).status, 200);
    child.kill().unwrap();
    child.wait().unwrap();
    let output = Output::of(&[
        "serve".as_ref(),
        "--web.systemd-socket".as_ref(),
        test_server.fixture.path().as_os_str(),
    ]);
    assert_eq!(output.code, Some(3));
    assert!(output.stderr.contains("systemd passed no socket"), "{}", output.stderr);
}

fn slow_clients_are_evicted() {
    let test_server = TestServer::new("");
    let agent = test_server.start();
    // Three times as many as there are places, each in the middle of a request that it never ends.
    let slow: Vec<TcpStream> = (0..800)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address()).unwrap();
            // The server may have sent it away already.
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ");
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(agent.get("/metrics").status, 200);
    }
    drop(slow);
    // A body that never comes, or is far too long, is not waited for.
    for head in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(agent.address()).unwrap();
        write!(stream, "POST /metrics HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n").unwrap();
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, b"HTTP/1.1 405", "{head}");
        assert_eq!(agent.get("/metrics").status, 200);
    }
}

fn slow_and_wrong_handshakes_hold_up_nobody() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let test_server = TestServer::new(&format!(
        "{TLS}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt}}"
    ));
    authority.write_server(test_server.directory(), "server");
    test_server.write("ca.crt", &authority.pem());
    let agent = test_server.start();
    let (own, forged) = (authority.sign(&["scraper.test"]), strangers.sign(&["scraper.test"]));
    let scraper = TlsClient::new(&authority, Some(&own), &[&TLS13]);
    let intruder = TlsClient::new(&authority, Some(&forged), &[&TLS13]);
    // The beginning of a hello that never goes on, from more than there are places.
    let slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address()).unwrap();
            // The server may have sent it away already.
            let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00");
            stream
        })
        .collect();
    for _ in 0..10 {
        assert!(intruder.request(agent.address(), "GET /metrics HTTP/1.1").is_err());
        let answer = scraper.request(agent.address(), "GET /metrics HTTP/1.1").unwrap();
        assert!(answer.status == 200 && answer.text().contains("sqlite_up"));
    }
    drop(slow);
}

fn acting_in_plain_text_is_warned_of() {
    let test_server = TestServer::new(&format!("basic_auth_users: {{anna: '{}'}}", hash("right")));
    test_server.write(
        "lk.yml",
        "web: {config_file: web.yml, operators: [anna]}\nstate: state.db\ndatabases: [{path: books.db}]",
    );
    for (address, warned) in [("0.0.0.0:0", true), (":0", true), ("127.0.0.1:0", false)] {
        let mut command = litekeeper();
        command.args(["serve", "--config"]).arg(test_server.directory().join("lk.yml"));
        command.arg(format!("--web.listen-address={address}"));
        let agent = Agent::start(command);
        eventually("it is served", || {
            (sign_in(&agent, "/-/ready", "anna", "right").status == 200).then_some(())
        });
        let found = agent.log().iter().any(|line| line.contains("passwords cross the network in plain text"));
        assert_eq!(found, warned, "{address}");
    }
}

fn prometheus_scrapes_with_tls_and_password(program: &str) {
    let authority = Authority::new();
    let test_server = TestServer::new(&format!(
        "{TLS}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt}}\nbasic_auth_users: {{prom: '{}'}}",
        hash("scrape")
    ));
    authority.write_server(test_server.directory(), "server");
    authority.write_server(test_server.directory(), "client");
    test_server.write("ca.crt", &authority.pem());
    let agent = test_server.start();
    let place = test_server.directory().display();
    let job = format!(
        "  scheme: https\n  basic_auth: {{username: prom, password: scrape}}\n  tls_config: {{ca_file: {place}/ca.crt, \
         cert_file: {place}/client.crt, key_file: {place}/client.key}}\n"
    );
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::scraping_with(program, agent.address(), directory.path(), &job);
    prometheus.until("sqlite_up{db=\"books\"}", 1.0);
}

fn http2_is_spoken_over_tls(curl: &str) {
    let authority = Authority::new();
    for (more, version) in [("", "2"), ("\nhttp_server_config: {http2: false}", "1.1")] {
        let test_server = TestServer::new(&format!("{TLS}}}{more}"));
        authority.write_server(test_server.directory(), "server");
        test_server.write("ca.crt", &authority.pem());
        let agent = test_server.start();
        let output = Command::new(curl)
            .args(["--silent", "--show-error", "--http2", "--noproxy", "*", "--cacert"])
            .arg(test_server.directory().join("ca.crt"))
            .args([
                "--write-out",
                " %{http_version} %{http_code}",
                &format!("https://{}/-/healthy", agent.address()),
            ])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text, format!("litekeeper is healthy.\n {version} 200"), "{output:?}");
    }
}
