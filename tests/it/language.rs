//! The language of code and documents: no retired word, and prose that wraps at 100 columns.

use std::path::Path;
use std::path::PathBuf;

use libtest_mimic::Trial;

use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("no_retired_word_is_used", no_retired_word_is_used),
        test("words_are_split_as_readers_see_them", words_are_split_as_readers_see_them),
        test("documents_wrap_at_100_columns", documents_wrap_at_100_columns),
    ]
}

/// Words of an earlier private vocabulary, and what to write instead. Plurals and verb forms are listed.
const RETIRED: [(&[&str], &str); 22] = [
    (&["ailment", "ailments"], "finding"),
    (&["budget", "budgets"], "limit, timeout"),
    (&["crew", "crews"], "worker pool"),
    (&["deed", "deeds"], "action"),
    (&["desk", "desks"], "queue"),
    (&["door", "doors"], "TLS, authentication, interface"),
    (&["errand", "errands"], "collector run"),
    (&["guest", "guests"], "connection, client"),
    (&["house", "houses"], "project, code base"),
    (&["impatient", "patience"], "timeout"),
    (&["manners"], "limits"),
    (&["mend", "mends", "mended", "mending"], "fix, repair, remediation"),
    (&["neighbour", "neighbours", "neighbor", "neighbors"], "other process, other database"),
    (&["patient", "patients"], "target, database"),
    (&["premises"], "context"),
    (&["room", "rooms"], "module; free space"),
    (&["shelf", "shelves"], "backup set"),
    (&["strain", "strains"], "impact"),
    (&["told"], "reported, logged"),
    (&["whoever"], "the process that, anyone who"),
    (&["whom"], "(reword)"),
    (&["workshop", "workshops"], "executor"),
];

/// Where a retired word is right: a line that contains the text, in files below the path.
const EXCEPTIONS: [(&str, &str, &str); 15] = [
    ("src/", "no-room-for-vacuum", "the id of a finding, which users filter by"),
    ("src/", "NoRoomForVacuum", "the variant of this id"),
    ("docs/DOCTOR.md", "no-room-for-vacuum", "the same id"),
    ("tests/it/doctor.rs", "no-room-for-vacuum", "the same id"),
    ("tests/grafana/LICENSE", "whom", "the licence of others"),
    ("tests/zoo/python_recipes.py", "room", "Matrix's term"),
    ("tests/zoo/python_recipes.py", "rooms", "the same"),
    ("src/config/", "serde_saphyr::budget!", "a name of that crate"),
    ("src/config/renamed.rs", "budget", "old names of keys, for a hint"),
    ("src/config/tests/keys.rs", "budget", "the same"),
    ("CHANGELOG.md", "budget`", "old names of keys"),
    ("CONTRIBUTING.md", "/// The budget.", "an example of what not to write"),
    ("CONTRIBUTING.md", "Whoever waits is told off", "an example of what not to write"),
    ("CONTRIBUTING.md", "done to whom", "an example of what not to write"),
    ("CONTRIBUTING.md", "patient: &Db", "an example of what not to write"),
];

/// The files and directories that are scanned.
const SCANNED: [&str; 14] = [
    "src",
    "crates",
    "docs",
    "alerts",
    "dashboards",
    "packaging",
    "benches",
    "tests",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docker-compose.yml",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// This file lists the words, so it is not scanned.
const NOT_SCANNED: &str = "tests/it/language.rs";

/// The text files below the scanned paths, with their path below the root.
fn texts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for name in SCANNED {
        collect(&root().join(name), &mut files);
    }
    files.retain(|path| !path.ends_with(NOT_SCANNED));
    files.sort();
    let text_of = |path: &PathBuf| {
        let below = path.strip_prefix(root()).unwrap().display().to_string();
        String::from_utf8(std::fs::read(path).unwrap()).ok().map(|text| (below, text))
    };
    let texts: Vec<(String, String)> = files.iter().filter_map(text_of).collect();
    assert!(texts.len() > 300, "{} files are too few: the scan misses some", texts.len());
    texts
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            collect(&entry.path(), files);
        }
    } else if path.is_file() {
        files.push(path.to_owned());
    }
}

/// The words of a line in lower case: identifiers are split at `_` and where a capital begins a word.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    for letter in line.chars() {
        if !letter.is_alphabetic() || (letter.is_uppercase() && !previous.is_uppercase()) {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
        previous = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn words_are_split_as_readers_see_them() {
    assert_eq!(
        words("let has_room = Desk::WorkshopOrder(1); // told!"),
        ["let", "has", "room", "desk", "workshop", "order", "told"]
    );
    assert_eq!(words("HTTP bathroom MAX_PATIENCE"), ["http", "bathroom", "max", "patience"]);
}

fn no_retired_word_is_used() {
    let mut found = Vec::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let words = words(line);
            let is_exception = |word: &str| {
                EXCEPTIONS.iter().any(|(below, part, _)| {
                    path.starts_with(below) && words_of(part).any(|w| w == word) && line.contains(part)
                })
            };
            for (retired, instead) in RETIRED {
                let used = retired.iter().find(|word| words.iter().any(|used| used == *word));
                if let Some(word) = used.filter(|word| !is_exception(word)) {
                    found.push(format!("{path}:{}: `{word}`: write {instead}", number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} retired words:\n{}", found.len(), found.join("\n"));
}

fn words_of(text: &str) -> impl Iterator<Item = String> {
    words(text).into_iter()
}

const MAX_COLUMNS: usize = 100;

/// Tables, code and lines that are one long link cannot wrap.
fn documents_wrap_at_100_columns() {
    let mut found = Vec::new();
    // docs/METRICS.md is generated.
    let is_document = |path: &str| path.ends_with(".md") && path != "docs/METRICS.md";
    for (path, text) in texts().into_iter().filter(|(path, _)| is_document(path)) {
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
                continue;
            }
            let is_table = line.trim_start().starts_with('|');
            let can_wrap = line.trim_start().trim_start_matches("- ").contains(' ');
            if !is_code && !is_table && can_wrap && line.chars().count() > MAX_COLUMNS {
                found.push(format!("{path}:{}: {} columns", number + 1, line.chars().count()));
            }
        }
    }
    assert!(found.is_empty(), "lines wider than {MAX_COLUMNS} columns:\n{}", found.join("\n"));
}
