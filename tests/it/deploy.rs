//! What litekeeper is deployed with: the question of a health check, and the files of a stack, of services and packages, each
//! checked by the tool of its kind.
//!
//! That the stack comes up, and that the package installs, takes an engine and a root directory: packaging/try does it.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::Agent;
use crate::support::Authority;
use crate::support::Output;
use crate::support::ReservedPort;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_health_check_asks_the_agent", a_health_check_asks_the_agent),
        test("a_health_check_passes_authentication", a_health_check_passes_authentication),
        test("a_health_check_says_what_is_wrong", a_health_check_says_what_is_wrong),
        test("the_stack_is_pinned_hardened_and_local", the_stack_is_pinned_hardened_and_local),
        test("every_file_of_the_stack_is_there", every_file_of_the_stack_is_there),
        test("the_image_is_built_from_what_is_sent", the_image_is_built_from_what_is_sent),
        test("shipped_configurations_are_valid", shipped_configurations_are_valid),
        test_with_tool("the_compose_file_has_its_form", packaged("check-jsonschema"), compose_has_its_form),
        test_with_tool("one_variable_mounts_ones_own", compose(), one_variable_mounts_ones_own),
        test_with_tool("hadolint_has_nothing_to_say", packaged("hadolint"), hadolint_has_nothing_to_say),
        test_with_tool("prometheus_takes_its_configurations", tool("promtool"), prometheus_takes_them),
        test_with_tool("the_unit_is_valid_and_hardened", tool("systemd-analyze"), the_unit_is_valid),
        test_with_tool("the_user_of_the_unit_is_made", tool("systemd-sysusers"), the_user_is_made),
        test_with_tool("kubernetes_takes_the_examples", packaged("python"), kubernetes_takes_the_examples),
        test_with_tool("the_debian_package_is_complete", tool("cargo-deb"), the_debian_package_is_complete),
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

fn a_health_check_passes_authentication() {
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
        (format!("tls_server_config: {{{tls}}}\n{users}"), "answers, requires a user"),
        (format!("tls_server_config: {{{tls}, {asking}}}\n"), "answers, requires a client certificate"),
        (
            format!("tls_server_config: {{{tls}, {asking}, max_version: TLS12}}\n"),
            "answers, requires a client certificate",
        ),
        (users.clone(), "answers, requires a user"),
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

/// Neither plain HTTP nor another certificate is accepted in place of the server that the file describes.
fn refuses_another_server(directory: &Path, address: &str) {
    let other = directory.join("other.yml");
    std::fs::write(&other, "tls_server_config: {cert_file: other.crt, key_file: other.key}\n").unwrap();
    let output = health(&["--web.listen-address", address, "--web.config.file", other.to_str().unwrap()]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stderr.contains("a certificate other than"), "{}", output.stderr);
    let output = health(&["--web.listen-address", address]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stderr.contains("web configuration file"), "{}", output.stderr);
}

fn a_health_check_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    // One that accepts and does not answer, and one where nobody listens.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().map(|address| (silent, address.to_string())).unwrap();
    let port = ReservedPort::new();
    let free = port.address.to_string();
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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A tool of the Python environment that `tests/run` makes for these tests, or of the machine's.
pub fn packaged(name: &str) -> Option<String> {
    let environment = std::env::var_os("LITEKEEPER_TEST_PACKAGING").map(PathBuf::from);
    let found = environment.map(|bin| bin.join(name)).filter(|program| program.is_file());
    // Any Python is on the path; one with the packages that are needed is not.
    found.map(|program| program.display().to_string()).or_else(|| tool(name).filter(|_| name != "python"))
}

/// The Docker client, if it has Compose; no engine is needed to read a file.
fn compose() -> Option<String> {
    let docker = tool("docker")?;
    let asked = Command::new(&docker).args(["compose", "version"]).output().ok()?;
    asked.status.success().then_some(docker)
}

/// Runs a tool in the root directory and gives what it says; it must succeed.
fn said_by(program: &str, arguments: &[impl AsRef<OsStr>]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    let output = Output::from(command);
    let all = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, Some(0), "{program}: {all}");
    all
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn the_stack_is_pinned_hardened_and_local() {
    let stack = yaml(&read("docker-compose.yml"));
    let services = stack["services"].as_object().unwrap();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    for name in ["litekeeper", "prometheus", "alertmanager", "grafana", "jaeger"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for (name, service) in services {
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').unwrap();
        let numbers = tag.trim_start_matches('v').split('.').filter(|part| part.parse::<u32>().is_ok());
        assert_eq!(numbers.count(), 3, "{name}: an image is pinned by its whole version, not {tag}");
        assert_eq!(service["read_only"], true, "{name}: the root file system is read only");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        let user = service["user"].as_str().unwrap().trim_start_matches("${LITEKEEPER_USER:-");
        assert!(user.split(':').next().is_some_and(|id| id.parse::<u32>().unwrap() > 0), "{name}: {user}");
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} can be reached from other machines");
        }
        let asked = texts(&service["healthcheck"]["test"]);
        assert!(
            asked.first() == Some(&"CMD") || name == "litekeeper",
            "{name}: how is it asked whether it lives?"
        );
    }
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains("\"/usr/bin/litekeeper\", \"healthcheck\""), "the image asks for itself");
}

fn every_file_of_the_stack_is_there() {
    let stack = yaml(&read("docker-compose.yml"));
    let mounts =
        stack["services"].as_object().unwrap().values().flat_map(|service| texts(&service["volumes"]));
    for mount in mounts.filter(|mount| mount.starts_with("./")) {
        let (source, _) = mount.split_once(':').unwrap();
        assert!(
            root().join(source).exists(),
            "{source} is mounted, and an engine would make a directory of it"
        );
        assert!(mount.ends_with(":ro"), "{mount}: what belongs to the repository is not written");
    }
    // The version stands wherever an image is named.
    let version = env!("CARGO_PKG_VERSION");
    for file in [
        "docker-compose.yml",
        "Dockerfile",
        "packaging/kubernetes/sidecar.yaml",
        "packaging/kubernetes/daemonset.yaml",
    ] {
        let text = read(file);
        for at in
            text.split("litekeeper:").skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        {
            let tag = at.split_whitespace().next().unwrap();
            assert_eq!(tag, version, "{file}");
        }
    }
}

/// What .dockerignore lets through is a package that Cargo can read.
fn the_image_is_built_from_what_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let mut copy = Command::new("cp");
    copy.args(["-R", "--parents"]).current_dir(root());
    copy.args(read(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')));
    assert!(copy.arg(directory.path()).status().unwrap().success());
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(directory.path());
    let output = Output::from(cargo);
    assert_eq!(output.code, Some(0), "{}", output.stderr);

    let sent = read(".dockerignore");
    for (file, included) in included_from_outside() {
        let is_sent =
            sent.lines().filter_map(|line| line.strip_prefix('!')).any(|path| included.starts_with(path));
        assert!(is_sent, "{file} includes {included}, which .dockerignore does not send to the builder");
    }

    let dockerfile = read("Dockerfile");
    let first = dockerfile.lines().next().unwrap();
    assert!(!first.starts_with("# syntax="), "it would pull an image before the build");
    let image = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_IMAGE=rust:")).unwrap();
    let numbers =
        |text: &str| text.split(['.', '-']).map_while(|part| part.parse().ok()).collect::<Vec<u32>>();
    let wanted = read("Cargo.toml").split("rust-version = \"").nth(1).unwrap().split('"').next().map(numbers);
    assert!(numbers(image) >= wanted.unwrap(), "{image} is older than Cargo.toml asks for");
}

/// Files outside of `src` that are a part of the program, each with the source that includes it.
fn included_from_outside() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root().join("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                directories.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs")
                && !entry.ends_with("tests.rs")
            {
                let text = std::fs::read_to_string(&entry).unwrap();
                let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                for line in program.lines().filter(|line| line.contains("include_")) {
                    let Some(path) = line.split("\"../").nth(1).and_then(|rest| rest.split('"').next())
                    else {
                        continue;
                    };
                    // What begins with as many `..` as the file is deep leaves `src`.
                    let depth = entry.strip_prefix(root()).unwrap().components().count() - 2;
                    let ups = path.matches("../").count();
                    if ups == depth {
                        found.push((entry.display().to_string(), path.replace("../", "")));
                    }
                }
            }
        }
    }
    found
}

fn shipped_configurations_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("litekeeper.yml");
    let mut configurations = vec![read("packaging/litekeeper.yml")];
    for manifest in ["packaging/kubernetes/sidecar.yaml", "packaging/kubernetes/daemonset.yaml"] {
        let text = read(manifest);
        let found = text
            .split("\n---\n")
            .map(yaml)
            .find_map(|resource| resource["data"]["litekeeper.yml"].as_str().map(str::to_owned));
        configurations.push(found.unwrap());
    }
    for configuration in configurations {
        std::fs::write(&file, &configuration).unwrap();
        let output = Output::of(&[OsStr::new("config"), OsStr::new("check"), file.as_os_str()]);
        assert_eq!(output.code, Some(0), "{}{configuration}", output.stderr);
    }
}

fn compose_has_its_form(checker: &str) {
    said_by(checker, &["--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]);
}

fn one_variable_mounts_ones_own(docker: &str) {
    let shown = |variables: &[(&str, &str)]| {
        let mut command = Command::new(docker);
        command.args(["compose", "--env-file=/dev/null", "config", "--format=json"]).current_dir(root());
        for name in ["LITEKEEPER_DATA", "LITEKEEPER_USER", "LITEKEEPER_PID"] {
            command.env_remove(name);
        }
        let output = Output::from({
            command.envs(variables.iter().copied());
            command
        });
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        serde_json::from_str::<Value>(&output.stdout).unwrap()["services"]["litekeeper"].clone()
    };
    let listen = ["--web.listen-address", "0.0.0.0:10321"];
    let demo = shown(&[]);
    assert_eq!(texts(&demo["command"]), ["demo", listen[0], listen[1]]);
    let own = shown(&[
        ("LITEKEEPER_DATA", "/srv/my books"),
        ("LITEKEEPER_USER", "7:8"),
        ("LITEKEEPER_PID", "host"),
    ]);
    assert_eq!(texts(&own["command"]), ["serve", "/srv/my books", listen[0], listen[1]]);
    assert_eq!((own["user"].as_str(), own["pid"].as_str()), (Some("7:8"), Some("host")));
    let mounted = own["volumes"].as_array().unwrap().iter().find(|volume| volume["type"] == "bind").unwrap();
    assert_eq!(mounted["source"], "/srv/my books");
    assert_eq!((&mounted["target"], &mounted["read_only"]), (&mounted["source"], &Value::Bool(true)));
}

fn hadolint_has_nothing_to_say(hadolint: &str) {
    assert_eq!(said_by(hadolint, &["Dockerfile"]), "");
}

/// With the alert rules where the containers have them.
fn prometheus_takes_them(promtool: &str) {
    for configuration in ["packaging/compose", "packaging/prometheus"] {
        let directory = tempfile::tempdir().unwrap();
        let copy = |from: &str, to: &str| {
            let (from, to) = (root().join(from), directory.path().join(to));
            assert!(Command::new("cp").arg("-R").args([from, to]).status().unwrap().success());
        };
        copy(configuration, "etc");
        copy("alerts/rules", "etc/rules");
        let file = directory.path().join("etc/prometheus.yml");
        let said = said_by(promtool, &[OsStr::new("check"), OsStr::new("config"), file.as_os_str()]);
        assert!(said.contains("rules found"), "{configuration}: {said}");
    }
}

/// systemd's score goes from 0 (nothing allowed) to 10.
const MOST_EXPOSURE: &str = "2.0";

fn the_unit_is_valid(analyze: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("litekeeper.service");
    let unit = read("packaging/systemd/litekeeper.service");
    std::fs::write(&file, unit.replace("/usr/bin/litekeeper", env!("CARGO_BIN_EXE_litekeeper"))).unwrap();
    std::fs::copy(
        root().join("packaging/systemd/examples/litekeeper.socket"),
        directory.path().join("litekeeper.socket"),
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let socket = directory.path().join("litekeeper.socket");
    // A mistake in a key is a warning to systemd, and the key then does nothing.
    assert_eq!(said_by(analyze, &["verify", "--man=no", path, socket.to_str().unwrap()]), "");
    let threshold = MOST_EXPOSURE.replace('.', "");
    said_by(analyze, &["security", "--offline=yes", &format!("--threshold={threshold}"), path]);
}

fn the_user_is_made(sysusers: &str) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    let file = std::fs::File::open(root().join("packaging/systemd/litekeeper.sysusers")).unwrap();
    let mut command = Command::new(sysusers);
    command.arg(format!("--root={}", directory.path().display())).arg("-").stdin(file);
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let users = std::fs::read_to_string(directory.path().join("etc/passwd")).unwrap();
    assert!(users.starts_with("litekeeper:") && users.contains("nologin"), "{users}");
    let unit = read("packaging/systemd/litekeeper.service");
    assert!(unit.contains("\nUser=litekeeper\n"), "the unit runs as that user");
}

fn kubernetes_takes_the_examples(python: &str) {
    let files = ["sidecar", "daemonset", "servicemonitor"];
    let paths = files.map(|name| format!("packaging/kubernetes/{name}.yaml"));
    let mut arguments = vec!["tests/kubernetes.py".to_owned()];
    arguments.extend(paths);
    let said = said_by(python, &arguments);
    for kind in ["StatefulSet books", "DaemonSet litekeeper", "ServiceMonitor litekeeper"] {
        assert!(said.contains(kind), "{said}");
    }
    // The rules as the operator takes them are made from those of Prometheus.
    let directory = tempfile::tempdir().unwrap();
    let rule = said_by(
        root().join("packaging/kubernetes/prometheusrule").to_str().unwrap(),
        &["--namespace", "monitoring", "--label", "release=prometheus"],
    );
    let file = directory.path().join("rule.yaml");
    std::fs::write(&file, &rule).unwrap();
    said_by(python, &[OsStr::new("tests/kubernetes.py"), file.as_os_str()]);
    let rule = yaml(&rule);
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let mut sources: Vec<PathBuf> =
        std::fs::read_dir(root().join("alerts/rules")).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.sort();
    let groups: Vec<Value> = sources
        .iter()
        .flat_map(|file| yaml(&std::fs::read_to_string(file).unwrap())["groups"].as_array().unwrap().clone())
        .collect();
    assert_eq!(rule["spec"]["groups"], Value::Array(groups));
}

/// Built from the program under test, which is what differs from a release.
fn the_debian_package_is_complete(cargo_deb: &str) {
    let directory = tempfile::tempdir().unwrap();
    let completions = root().join("target/packaging");
    std::fs::create_dir_all(&completions).unwrap();
    for (shell, name) in [("bash", "litekeeper.bash"), ("zsh", "_litekeeper"), ("fish", "litekeeper.fish")] {
        std::fs::write(completions.join(name), Output::of(&["completions", shell]).stdout).unwrap();
    }
    let file = directory.path().join("litekeeper.deb");
    let output = file.to_str().unwrap();
    said_by(cargo_deb, &["--no-build", "--profile=dev", "--no-strip", "--fast", "--output", output]);
    let listed = said_by("dpkg-deb", &["--contents", output]);
    for path in [
        "./usr/bin/litekeeper",
        "./usr/lib/systemd/system/litekeeper.service",
        "./usr/lib/sysusers.d/litekeeper.conf",
        "./etc/litekeeper/litekeeper.yml",
        "./etc/default/litekeeper",
        "./usr/share/bash-completion/completions/litekeeper",
        "./usr/share/doc/litekeeper/docs/DEPLOY.md",
        "./usr/share/doc/litekeeper/examples/prometheus/targets/accounting.yml",
        "./usr/share/doc/litekeeper/alerts/rules/databases.yml",
        "./usr/share/doc/litekeeper/alerts/runbooks/SqliteIntegrityCheckFailed.md",
        "./usr/share/doc/litekeeper/dashboards/fleet.json",
        "./usr/share/doc/litekeeper/dashboards/provisioning/datasources/litekeeper.yml",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(path)), "{path} is missing: {listed}");
    }
    let control = directory.path().join("control");
    said_by("dpkg-deb", &["--control", output, control.to_str().unwrap()]);
    let script = |name: &str| std::fs::read_to_string(control.join(name)).unwrap();
    assert!(script("conffiles").contains("/etc/litekeeper/litekeeper.yml"));
    assert!(
        script("postinst").contains("systemd-sysusers") && script("postinst").contains("litekeeper.service")
    );
    assert!(script("postrm").contains("rm -rf /var/lib/litekeeper\n"));
}
