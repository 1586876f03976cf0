//! Dependencies, and the scripts that install packages or make a release.
//!
//! `cargo deny check` says more, where it is installed; licences, duplicates and minimum versions are checked here on
//! every machine, from what cargo knows without the network.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("licences_are_those_that_deny_toml_allows", licences_are_those_that_deny_toml_allows),
        test("two_versions_of_a_crate_have_a_reason", two_versions_of_a_crate_have_a_reason),
        test("no_dependency_needs_a_newer_rust", no_dependency_needs_a_newer_rust),
        test(
            "packages_are_installed_where_ci_or_a_flag_says_so",
            packages_are_installed_where_ci_or_a_flag_says_so,
        ),
        test("no_package_is_installed_without_a_terminal", no_package_is_installed_without_a_terminal),
        test_with_tool(
            "packages_are_installed_after_a_yes",
            tool("bash").and(tool("script")),
            packages_are_installed_after_a_yes,
        ),
        test_with_tool(
            "a_release_is_checked_before_it_is_made",
            tool("git").and(tool("bash")),
            a_release_is_checked_before_it_is_made,
        ),
        test_with_tool("the_workflow_has_its_form", crate::deploy::packaged("check-jsonschema"), |checker| {
            let output = Command::new(checker)
                .args(["--builtin-schema", "vendor.github-workflows"])
                .args(std::fs::read_dir(root().join(".github/workflows")).unwrap().map(|f| f.unwrap().path()))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }),
    ]
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every package that is built for this machine, tests and build scripts included, as `cargo metadata` lists it.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH)])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn text<'v>(package: &'v Value, key: &str) -> &'v str {
    package[key].as_str().unwrap_or_default()
}

/// The lines of a list of deny.toml.
fn listed(name: &str) -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = manifest.split(&format!("\n{name} = [\n")).nth(1).expect("deny.toml has the list");
    list.lines().take_while(|line| *line != "]").map(|line| line.trim().to_owned()).collect()
}

fn licences_are_those_that_deny_toml_allows() {
    let allowed: Vec<String> =
        listed("allow").iter().map(|line| line.trim_matches(['"', ',']).to_owned()).collect();
    for package in packages() {
        let (name, licence) = (text(&package, "name"), text(&package, "license"));
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            expression.evaluate(|licence| allowed.contains(&licence.to_string())),
            "{name}: {licence:?} is not what deny.toml allows"
        );
    }
}

fn two_versions_of_a_crate_have_a_reason() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        versions
            .entry(text(&package, "name").to_owned())
            .or_default()
            .push(text(&package, "version").to_owned());
    }
    let skipped: Vec<(String, String)> = listed("skip")
        .iter()
        .map(|line| {
            let (name, version) = line.split('"').nth(1).unwrap().split_once('@').unwrap();
            (name.to_owned(), format!("{version}."))
        })
        .collect();
    let is_skipped = |name: &str, version: &str| {
        skipped.iter().any(|(crate_name, start)| crate_name == name && version.starts_with(start.as_str()))
    };
    for (name, versions) in &versions {
        let left: Vec<&String> = versions.iter().filter(|version| !is_skipped(name, version)).collect();
        assert!(
            left.len() <= 1,
            "{name} is there as {versions:?}: use one version, or give the reason in deny.toml"
        );
    }
    for (name, start) in &skipped {
        let there = versions.get(name).map(Vec::as_slice).unwrap_or_default();
        assert!(
            there.len() > 1 && there.iter().any(|version| is_skipped(name, version)),
            "deny.toml skips {name} {start}, which is no duplicate"
        );
    }
}

/// The newest version of Rust that is needed, as numbers.
fn rust_version(text: &str) -> Vec<u32> {
    text.split('.').map(|part| part.parse().unwrap()).collect()
}

fn no_dependency_needs_a_newer_rust() {
    let packages = packages();
    let own = packages.iter().find(|package| package["name"] == "litekeeper").unwrap();
    let own = text(own, "rust_version");
    for package in packages.iter().filter(|package| !package["rust_version"].is_null()) {
        let needed = text(package, "rust_version");
        assert!(
            rust_version(needed) <= rust_version(own),
            "{} needs Rust {needed}, litekeeper promises {own}",
            text(package, "name")
        );
    }
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        readme.contains(&format!("Rust {own} or later")),
        "README.md names another version than Cargo.toml"
    );
}

/// tests/apt.sh with a stand-in for apt-get that only says how it was called.
const INSTALLATION: &str = r#"
set -euo pipefail
say() { printf '%s\n' "$*"; }
have() { [ "$1" = apt-get ]; }
id() { echo 0; }
TERMINAL_IN=
if [ -t 0 ]; then exec 8<&0 && TERMINAL_IN=8; fi
. tests/apt.sh
apt() { echo "apt-get $*"; }
forbid_service_start() { :; }
installed() { return 1; }
install first second || echo "not installed: $why_no_apt"
install third || echo "not installed: $why_no_apt"
"#;

fn installation(program: &str, arguments: &[&str], variables: &[(&str, &str)], answer: &str) -> String {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .env_remove("CI")
        .env_remove("LITEKEEPER_TEST_INSTALL")
        .env("INSTALLATION", INSTALLATION)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe stays open until the end, as a terminal does.
    let mut stdin = child.stdin.take().unwrap();
    // A script that does not ask may have ended already.
    let _ = stdin.write_all(answer.as_bytes());
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn packages_are_installed_where_ci_or_a_flag_says_so() {
    let run = |variables: &[(&str, &str)]| installation("bash", &["-c", INSTALLATION], variables, "");
    let fetches = "apt-get 300 install --no-install-recommends --download-only first second";
    for yes in [("CI", "true"), ("CI", "1"), ("LITEKEEPER_TEST_INSTALL", "yes")] {
        let said = run(&[yes]);
        assert!(said.contains(fetches) && said.contains("--download-only third"), "{yes:?}: {said}");
        assert!(!said.contains("[y/N]"), "{yes:?}: {said}");
    }
    let said = run(&[("CI", "true"), ("LITEKEEPER_TEST_INSTALL", "no")]);
    assert!(
        !said.contains("apt-get 300") && said.contains("not installed: LITEKEEPER_TEST_INSTALL=no"),
        "{said}"
    );
}

fn no_package_is_installed_without_a_terminal() {
    for variables in [&[][..], &[("CI", "")], &[("CI", "false")]] {
        let said = installation("bash", &["-c", INSTALLATION], variables, "y\ny\n");
        assert!(said.contains("not installed: no terminal to ask at"), "{variables:?}: {said}");
        assert!(!said.contains("apt-get 300"), "{variables:?}: {said}");
    }
}

fn packages_are_installed_after_a_yes(script: &str) {
    // `script` runs a command in a terminal of its own, and types what it is sent.
    let terminal = |answer: &str| {
        installation(script, &["-qec", "bash -c \"$INSTALLATION\"", "/dev/null"], &[], answer)
            .replace('\r', "")
    };
    for yes in ["y\n", "Yes\n"] {
        let said = terminal(yes);
        assert!(said.contains("not installed: first second\n"), "{said}");
        // One question is enough for both.
        assert_eq!(said.matches("[y/N]").count(), 1, "{said}");
        assert!(
            said.contains("--download-only first second") && said.contains("--download-only third"),
            "{said}"
        );
    }
    for no in ["\n", "n\n", "maybe\n"] {
        let said = terminal(no);
        assert_eq!(said.matches("[y/N]").count(), 1, "{said}");
        assert_eq!(said.matches("not installed: the answer was no").count(), 2, "{said}");
        assert!(!said.contains("apt-get 300"), "{said}");
    }
}

/// A repository with what packaging/release reads, and that script.
fn repository_to_release() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| std::fs::write(directory.path().join(path), text).unwrap();
    for path in ["packaging", "src"] {
        std::fs::create_dir(directory.path().join(path)).unwrap();
    }
    std::fs::copy(root().join("packaging/release"), directory.path().join("packaging/release")).unwrap();
    write("Cargo.toml", "[package]\nname = \"litekeeper\"\nversion = \"0.2.0\"\nedition = \"2024\"\n");
    write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"litekeeper\"\nversion = \"0.2.0\"\n");
    write("src/lib.rs", "");
    write(
        "CHANGELOG.md",
        "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-11-27\n\n- More.\n\n## [0.1.0] - 2026-11-01\n",
    );
    git(directory.path(), &["init", "--quiet"]);
    git(directory.path(), &["add", "--all"]);
    commit(directory.path());
    directory
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@localhost"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn commit(directory: &Path) {
    git(directory, &["commit", "--quiet", "--all", "--message", "Change"]);
}

/// Runs `packaging/release --dry-run` with more arguments: whether it succeeds, and all that it says.
fn release(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("bash")
        .args(["packaging/release", "--dry-run"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), text)
}

fn a_release_is_checked_before_it_is_made(_git: &str) {
    let directory = repository_to_release();
    let directory = directory.path();
    let (passed, text) = release(directory, &[]);
    assert!(passed && text.contains("dry run: nothing was done"), "{text}");
    for file in ["litekeeper-0.2.0.tar.gz", "litekeeper-0.2.0.cdx.json", "SHA256SUMS", "tag v0.2.0"] {
        assert!(text.contains(file), "{file}: {text}");
    }
    assert!(git(directory, &["tag"]).is_empty() && !directory.join("target/release-0.2.0").exists());

    let (passed, text) = release(directory, &["0.3.0"]);
    assert!(!passed && text.contains("Cargo.toml says 0.2.0, not 0.3.0"), "{text}");
    assert!(text.contains("CHANGELOG.md has no section [0.3.0]"), "all problems at once: {text}");
    std::fs::write(directory.join("new"), "").unwrap();
    let (passed, text) = release(directory, &[]);
    assert!(!passed && text.contains("changes that are not committed"), "{text}");
    std::fs::remove_file(directory.join("new")).unwrap();
    let changelog = std::fs::read_to_string(directory.join("CHANGELOG.md")).unwrap();
    for (changed, words) in [
        (changelog.replace("- More.\n", ""), "no section [0.2.0], or an empty one"),
        (changelog.replace("[0.2.0] - 2026-11-27", "[0.2.0]"), "YEAR-MONTH-DAY"),
    ] {
        std::fs::write(directory.join("CHANGELOG.md"), changed).unwrap();
        commit(directory);
        let (passed, text) = release(directory, &[]);
        assert!(!passed && text.contains(words), "{words}: {text}");
    }
    std::fs::write(directory.join("CHANGELOG.md"), changelog).unwrap();
    commit(directory);
    git(directory, &["tag", "v0.2.0"]);
    let (passed, text) = release(directory, &[]);
    assert!(!passed && text.contains("the tag v0.2.0 is there already"), "{text}");
}
