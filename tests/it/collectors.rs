//! What a collector touches: its own file, its registration, and the generated reference.

use std::path::Path;
use std::path::PathBuf;

use libtest_mimic::Trial;
use litekeeper::internals::collectors::collectors;
use litekeeper::internals::collectors::families;
use litekeeper::internals::collectors::interval_collectors;
use litekeeper::internals::metrics::reference;

use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_collector_is_its_file_and_its_registration", a_collector_is_its_file_and_its_registration),
        test("collection_and_metrics_name_no_collector", collection_and_metrics_name_no_collector),
        test("every_family_is_in_the_reference", every_family_is_in_the_reference),
    ]
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Files below a directory of `src` that hold a word.
fn files_with(word: &str, directory: &str) -> Vec<String> {
    let mut files = Vec::new();
    files_below(&root().join(directory), &mut files);
    let is_part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let holds = |text: &str| {
        text.match_indices(word).any(|(at, _)| {
            !text[..at].ends_with(is_part_of_word) && !text[at + word.len()..].starts_with(is_part_of_word)
        })
    };
    let mut found: Vec<String> = files
        .iter()
        .filter(|path| holds(&std::fs::read_to_string(path).unwrap()))
        .map(|path| path.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

/// The type and the file of every registered collector, from the text of the registry.
fn registered() -> Vec<(String, String)> {
    let registry = std::fs::read_to_string(root().join("src/collectors/registry.rs")).unwrap();
    let types = registry.lines().filter_map(|line| {
        let (_, rest) = line.trim().strip_prefix("Registered::")?.split_once("(&")?;
        Some(rest.strip_suffix("),")?.to_owned())
    });
    let file_of = |name: &str| {
        let import = registry.lines().find(|line| line.ends_with(&format!("::{name};"))).unwrap();
        let module = import.strip_prefix("use super::").unwrap().split("::").next().unwrap();
        format!("src/collectors/{module}.rs")
    };
    types.map(|name| (name.clone(), file_of(&name))).collect()
}

fn a_collector_is_its_file_and_its_registration() {
    let registered = registered();
    assert_eq!(registered.len(), collectors().count(), "{registered:?}");
    for (name, file) in registered {
        let mut expected = vec![file, "src/collectors/registry.rs".to_owned()];
        expected.sort();
        assert_eq!(files_with(&name, "src"), expected, "a collector is known elsewhere: {name}");
    }
}

fn collection_and_metrics_name_no_collector() {
    for collector in interval_collectors() {
        let name = format!("\"{}\"", collector.name());
        for directory in ["src/collection", "src/metrics"] {
            assert_eq!(files_with(&name, directory), Vec::<String>::new(), "{name} is named in {directory}");
        }
    }
}

fn every_family_is_in_the_reference() {
    let reference = reference();
    for family in families() {
        let rows = reference.lines().filter(|line| line.starts_with(&format!("| `{}", family.name)));
        assert_eq!(rows.filter(|row| row.contains(family.help)).count(), 1, "{}", family.name);
    }
}
