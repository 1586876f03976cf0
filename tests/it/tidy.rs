//! Checks the module structure of ARCHITECTURE.md against the source text. Each failure states the reason for the rule.

use std::path::Path;
use std::path::PathBuf;

use libtest_mimic::Trial;

use crate::support::test;

mod circles;

pub fn trials() -> Vec<Trial> {
    vec![
        test("modules_use_only_the_modules_they_may", modules_use_only_the_modules_they_may),
        test("no_circle_between_the_files_of_a_module", no_circle_between_the_files_of_a_module),
        test("each_crate_is_used_in_its_modules", each_crate_is_used_in_its_modules),
        test("files_keep_the_style_rules", files_keep_the_style_rules),
        test("each_dependency_is_named_for_its_reason", each_dependency_is_named_for_its_reason),
    ]
}

/// A source file: its path below `src`, its top-level module, its text without unit tests. Each of crates/* counts as the module of its name.
#[derive(Debug, Clone)]
struct Source {
    path: String,
    module: String,
    text: String,
}

/// The crates that count as modules, and where their source is.
const CRATES: [(&str, &str); 2] = [("scrub", "crates/scrub/src"), ("sqlite", "crates/sqlite/src")];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    for (_, source) in CRATES {
        collect(&root().join(source), &mut files);
    }
    files.sort();
    let is_test = |path: &PathBuf| path.ends_with("tests.rs") || path.iter().any(|part| part == "tests");
    files.iter().filter(|path| !is_test(path)).map(|path| read(path)).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(path: &Path) -> Source {
    let in_crate = CRATES.iter().find_map(|(module, source)| {
        Some((Path::new(module).join(path.strip_prefix(root().join(source)).ok()?), (*module).to_owned()))
    });
    let (below, module) = match in_crate {
        Some(found) => found,
        None => {
            let below = path.strip_prefix(root().join("src")).unwrap().to_owned();
            let module = below.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
            (below, module)
        }
    };
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    Source { path: below.display().to_string(), module, text }
}

/// The modules that each module may use, as in the table of ARCHITECTURE.md.
const MODULE_DEPENDENCIES: [(&str, &str); 35] = [
    ("actions", "worker_pool limits database state_store tasks metrics runner task telemetry"),
    (
        "app",
        "actions worker_pool config discovery auth state_store os http metrics runner collectors collection sqlite trends",
    ),
    ("worker_pool", ""),
    (
        "cli",
        "app worker_pool limits config database demo discovery doctor auth tls state_store os http sealed tasks locks metrics health_report runbooks runner collectors database_files scrub span sqlite task telemetry humanize",
    ),
    ("config", "schedule database_files task"),
    ("database", "config database_files"),
    ("demo", "config sqlite"),
    ("discovery", "worker_pool config database os metrics database_files"),
    (
        "doctor",
        "limits config database state_store os tasks locks collectors database_files sqlite task humanize",
    ),
    ("auth", "worker_pool config os tls"),
    ("tls", "config"),
    ("state_store", "database os tasks sqlite task"),
    ("os", "database_files"),
    (
        "http",
        "actions worker_pool limits config database doctor auth tls http_client state_store os tasks locks metrics runbooks collectors span sqlite task telemetry trends humanize",
    ),
    (
        "tasks",
        "limits config database os health_report sealed collectors database_files scrub span sqlite task humanize",
    ),
    ("http_client", "tls"),
    (
        "internals",
        "collection collectors config database database_files health_report http locks metrics os runbooks sealed state_store sqlite task tasks tls",
    ),
    ("locks", "os sqlite"),
    ("main", ""),
    ("metrics", "config database state_store os sealed tasks locks collectors sqlite task"),
    ("scheduler", "database schedule task"),
    ("record", "state_store tasks metrics telemetry"),
    ("health_report", "limits os collectors database_files span sqlite humanize"),
    ("runbooks", ""),
    (
        "runner",
        "worker_pool limits config database state_store os sealed tasks metrics scheduler record schedule sqlite task telemetry",
    ),
    ("collectors", "limits config database os locks database_files sqlite"),
    ("collection", "worker_pool database os locks metrics collectors span sqlite"),
    ("schedule", ""),
    ("sealed", "limits config database os health_report collectors database_files sqlite humanize"),
    ("database_files", ""),
    ("span", "sqlite"),
    ("task", ""),
    ("telemetry", "config tls http_client os tasks metrics span"),
    ("trends", "worker_pool state_store collectors"),
    ("humanize", ""),
];

fn modules_use_only_the_modules_they_may() {
    // The crates cannot use a module of the main crate: Cargo enforces that.
    let is_free = |module: &str| ["lib", "humanize", "scrub", "sqlite"].contains(&module);
    for source in sources().iter().filter(|source| !is_free(&source.module)) {
        let allowed = MODULE_DEPENDENCIES.iter().find(|(module, _)| *module == source.module);
        let text = source
            .text
            .replace("litekeeper_sqlite::", "crate::sqlite::")
            .replace("litekeeper_scrub::", "crate::scrub::");
        let (_, allowed) = allowed
            .unwrap_or_else(|| panic!("{}: add the new module to ARCHITECTURE.md and here", source.path));
        for (line, used) in text.lines().enumerate().flat_map(|(line, text)| {
            text.split("crate::").skip(1).map(move |rest| {
                (line, rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
            })
        }) {
            assert!(
                used == source.module
                    || used.starts_with(char::is_uppercase)
                    || allowed.split(' ').any(|module| module == used),
                "src/{}:{}: the module `{}` may not use `{used}`: nothing points back against the flow of ARCHITECTURE.md, \
                 so that a scrape cannot reach a database and policy cannot creep into mechanism",
                source.path,
                line + 1,
                source.module
            );
        }
    }
}

fn no_circle_between_the_files_of_a_module() {
    circles::self_test();
    let circles = circles::circles(&sources());
    assert!(
        circles.is_empty(),
        "files that use each other in a circle cannot be understood or tested one by one; move what they share to a file of \
         its own: {circles:#?}"
    );
}

/// Crates that only some modules may use, and the reason.
const CRATE_BOUNDARIES: [(&str, &str, &str); 16] = [
    ("rusqlite::", "sqlite state_store demo", "every use of SQLite has limits and cannot write"),
    ("libsqlite3_sys", "", "rusqlite's ffi is the way, in sqlite/raw/"),
    ("prometheus_client::", "metrics", "names are an interface, kept in one place"),
    ("hyper::", "http http_client", "limits on what others send are in few places"),
    ("axum::", "http", "every route is in one table"),
    ("utoipa::", "http doctor locks", "the API is described by its types"),
    ("clap::", "cli", "the library does not know the command line"),
    ("rustix::", "os scrub sqlite/raw", "system calls that may hang are in one place"),
    ("rustls::", "tls", "what a handshake must prove is in one place"),
    ("rustls_native_certs::", "tls", "the choice of trusted authorities is in one place"),
    ("opentelemetry", "telemetry", "what takes traces can be left out, and nothing waits for it"),
    ("prost::", "telemetry", "only traces are protobuf"),
    (" ring::", "auth scrub sealed", "secrets are compared and hashes are made in few places"),
    ("bcrypt::", "auth", "passwords are checked in one place"),
    ("x509_parser::", "tls", "certificates are parsed in one place"),
    ("spawn_blocking", "worker_pool", "a thread that hangs must be given up and replaced"),
];

fn each_crate_is_used_in_its_modules() {
    for source in sources() {
        for (name, modules, why) in CRATE_BOUNDARIES {
            let code = source.text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let used = code.into_iter().any(|line| line.contains(name));
            let allowed = modules
                .split(' ')
                .any(|module| module == source.module || source.path.starts_with(&format!("{module}/")));
            assert!(!used || allowed, "src/{}: `{name}` belongs to {modules:?}: {why}", source.path);
        }
        let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
            .iter()
            .any(|form| source.text.contains(form));
        assert!(
            !source.text.contains("unsafe impl<"),
            "src/{}: `Send` or `Sync` for every type proves nothing of any: name the type",
            source.path
        );
        let audited = source.path.starts_with("sqlite/raw/");
        assert!(
            audited || !is_unsafe,
            "src/{}: `unsafe` belongs in sqlite/raw/, the one audited place",
            source.path
        );
    }
}

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

fn files_keep_the_style_rules() {
    for Source { path, text, .. } in sources() {
        assert!(
            text.starts_with("//!"),
            "src/{path}: a file begins with what it holds and what it must never do"
        );
        let count = text.lines().count();
        assert!(
            count <= MAX_FILE_LINES,
            "src/{path} has {count} lines; {MAX_FILE_LINES} are the most, so that a file has one subject"
        );
        for word in
            [".unwrap()", "todo!(", "unimplemented!(", "dbg!(", "TODO", "FIXME", "fn get_", "use crate::{"]
        {
            assert!(
                !text.contains(word),
                "src/{path}: `{word}` is against the style rules, see ARCHITECTURE.md"
            );
        }
        for (name, lines) in functions(&text) {
            assert!(
                lines <= MAX_FUNCTION_LINES,
                "src/{path}: {name} has {lines} lines; {MAX_FUNCTION_LINES} are the most"
            );
        }
        for call in
            ["File::open(", "fs::read(", "fs::read_to_string(", "OpenOptions::new(", "Connection::open("]
        {
            for (at, _) in text.match_indices(call) {
                let before: Vec<&str> = text[..at].lines().rev().take(4).collect();
                assert!(
                    before.iter().any(|line| line.contains("clippy::disallowed_methods")),
                    "src/{path}: `{call}` without a reason: opening a database file past SQLite drops its locks"
                );
            }
        }
    }
}

/// Names and lengths of the functions of a formatted file.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let is_function =
            ["fn ", "pub fn ", "pub(super) fn ", "async fn ", "pub async fn ", "pub(super) async fn "]
                .iter()
                .any(|head| trimmed.starts_with(head));
        // A trait's declaration has no body to measure.
        if !is_function || line.ends_with(';') {
            continue;
        }
        let indent = line.len() - trimmed.len();
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| *line == end);
        let name = trimmed.split('(').next().unwrap().to_owned();
        found.extend(length.map(|length| (name, length + 1)));
    }
    found
}

fn each_dependency_is_named_for_its_reason() {
    let manifests = ["Cargo.toml", "crates/scrub/Cargo.toml", "crates/sqlite/Cargo.toml"]
        .map(|manifest| std::fs::read_to_string(root().join(manifest)).unwrap());
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named =
        architecture.split("## Dependencies").nth(1).expect("ARCHITECTURE.md has a section Dependencies");
    for (manifest, section) in manifests
        .iter()
        .flat_map(|manifest| ["[dependencies]", "[dev-dependencies]"].map(|section| (manifest, section)))
    {
        let lines =
            manifest.split(section).nth(1).unwrap().lines().skip(1).take_while(|line| !line.starts_with('['));
        for name in lines.filter_map(|line| line.split(" = ").next()).filter(|name| !name.is_empty()) {
            assert!(
                named.contains(&format!("`{name}`")),
                "ARCHITECTURE.md does not say why `{name}` is there"
            );
        }
    }
}
