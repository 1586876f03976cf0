//! What litekeeper is deployed with: the question of a health check, and the files of a stack, of services and packages,
//! each checked by the tool of its kind.

use std::net::TcpListener;
use std::path::Path;

use libtest_mimic::Trial;

use crate::support::Agent;
use crate::support::Authority;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_health_check_asks_the_agent", a_health_check_asks_the_agent),
        test("a_health_check_passes_the_doors", a_health_check_passes_the_doors),
        test("a_health_check_says_what_is_wrong", a_health_check_says_what_is_wrong),
    ]
}

/// A health check with these arguments, away from any configuration of this machine.
fn health(arguments: &[&str]) -> Output {
    let mut command = litekeeper();
    command.arg("healthcheck").args(arguments).env_remove("LITEKEEPER_CONFIG");
    Output::from(command)
}

fn a_health_check_asks_the_agent() {
    let database = TestDatabase::new("books").rows(3).make();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("web.sock");
    let unix = format!("unix:{}", socket.display());
    let mut command = litekeeper();
    command.arg("serve").arg(database.path()).arg(format!("--web.listen-address={unix}"));
    let agent = Agent::start(command);
    eventually("the socket is there", || socket.exists().then_some(()));

    let address = agent.address().to_string();
    let everywhere = format!("0.0.0.0:{}", agent.address().port());
    for (asked, named) in [(&address, &address), (&everywhere, &address), (&unix, &unix)] {
        let output = health(&["--web.listen-address", asked]);
        assert_eq!(
            (output.code, output.stdout),
            (Some(0), format!("{named}: healthy\n")),
            "{}",
            output.stderr
        );
    }
    // The address of the configuration that the server runs with.
    let file = directory.path().join("litekeeper.yml");
    std::fs::write(&file, format!("listen: {address}\ndatabases: [{{path: books.db}}]\n")).unwrap();
    let output = health(&["--config", file.to_str().unwrap()]);
    assert_eq!((output.code, output.stdout), (Some(0), format!("{address}: healthy\n")));
    let mut command = litekeeper();
    command.arg("healthcheck").env("LITEKEEPER_CONFIG", &file);
    assert_eq!(Output::from(command).code, Some(0));
}

fn a_health_check_passes_the_doors() {
    let authority = Authority::new();
    let database = TestDatabase::new("books").rows(3).make();
    let directory = tempfile::tempdir().unwrap();
    authority.write_server(directory.path(), "server");
    authority.write_server(directory.path(), "other");
    std::fs::write(directory.path().join("ca.crt"), authority.pem()).unwrap();
    let tls = "cert_file: server.crt, key_file: server.key";
    let asking = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt";
    let users = format!("basic_auth_users: {{anna: {}}}\n", bcrypt::hash("secret", 4).unwrap());
    for (web, said) in [
        (format!("tls_server_config: {{{tls}}}\n"), "healthy"),
        (format!("tls_server_config: {{{tls}, max_version: TLS12}}\n"), "healthy"),
        (format!("tls_server_config: {{{tls}}}\n{users}"), "answers, and asks for a user first"),
        (
            format!("tls_server_config: {{{tls}, {asking}}}\n"),
            "answers, and asks for a client certificate first",
        ),
        (
            format!("tls_server_config: {{{tls}, {asking}, max_version: TLS12}}\n"),
            "answers, and asks for a client certificate first",
        ),
        (users.clone(), "answers, and asks for a user first"),
    ] {
        let file = directory.path().join("web.yml");
        std::fs::write(&file, &web).unwrap();
        let mut command = litekeeper();
        command.arg("serve").arg(database.path()).arg(format!("--web.config.file={}", file.display()));
        let agent = Agent::start(command);
        let address = agent.address().to_string();
        let output = health(&["--web.listen-address", &address, "--web.config.file", file.to_str().unwrap()]);
        assert_eq!(
            (output.code, output.stdout),
            (Some(0), format!("{address}: {said}\n")),
            "{web}{}",
            output.stderr
        );
        if web.contains("cert_file") {
            refuses_another_server(directory.path(), &address);
        }
    }
}

/// Neither plain text nor another certificate is taken for the server that is meant.
fn refuses_another_server(directory: &Path, address: &str) {
    let other = directory.join("other.yml");
    std::fs::write(&other, "tls_server_config: {cert_file: other.crt, key_file: other.key}\n").unwrap();
    let output = health(&["--web.listen-address", address, "--web.config.file", other.to_str().unwrap()]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stderr.contains("another certificate"), "{}", output.stderr);
    let output = health(&["--web.listen-address", address]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stderr.contains("web configuration file"), "{}", output.stderr);
}

fn a_health_check_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    // Bound and not answering, and a port that was free a moment ago.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().map(|address| (silent, address.to_string())).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let broken = directory.path().join("litekeeper.yml");
    std::fs::write(&broken, "listn: 127.0.0.1:1\n").unwrap();
    let socket = format!("unix:{}", directory.path().join("web.sock").display());
    for (arguments, words) in [
        (vec!["--web.listen-address", &silent.1, "--timeout", "1"], "no answer within 1s"),
        (vec!["--web.listen-address", &free], "nobody listens"),
        (vec!["--web.listen-address", &socket], "nobody listens"),
        (vec!["--config", broken.to_str().unwrap()], "listn"),
        (vec!["--web.listen-address", &free, "--web.config.file", "/nowhere.yml"], "/nowhere.yml"),
    ] {
        let output = health(&arguments);
        assert_eq!(output.code, Some(1), "{arguments:?}: {}", output.stdout);
        assert!(output.stderr.contains(words), "{arguments:?}: {}", output.stderr);
    }
}
