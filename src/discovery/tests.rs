use std::fs;
use std::os::unix::ffi::OsStringExt;

use std::path::Path;
use std::sync::Arc;

use crate::config::DatabaseSettings;
use crate::config::Source;
use crate::config::SourceLocation;

use super::assemble::DiscoveryResult;
use super::assemble::FoundFiles;
use super::assemble::assemble;
use super::found::FoundFile;
use super::scan::ScanError;
use super::scan::scan;
use super::*;

fn settings() -> Arc<DatabaseSettings> {
    Arc::default()
}

fn found(targets: Vec<SourceLocation>) -> (Vec<FoundFiles>, Vec<ScanError>) {
    let mut errors = Vec::new();
    let found = targets
        .into_iter()
        .map(|location| {
            let (files, failed) = scan(&Source { location, settings: settings() });
            errors.extend(failed);
            FoundFiles { settings: settings(), files }
        })
        .collect();
    (found, errors)
}

fn names(targets: Vec<SourceLocation>) -> Vec<String> {
    let (found, errors) = found(targets);
    assert_eq!(errors, []);
    assemble(&found, 100, 500, &GivenNames::default())
        .databases
        .iter()
        .map(|database| database.name.to_string())
        .collect()
}

fn file(path: &Path) -> SourceLocation {
    SourceLocation::File { path: path.to_path_buf(), name: None }
}

fn glob(root: &Path, pattern: &str) -> SourceLocation {
    SourceLocation::Glob { pattern: format!("{}/{pattern}", root.display()), exclude: vec![] }
}

fn directory(path: &Path, recursive: bool) -> SourceLocation {
    let include = crate::config::DEFAULT_INCLUDE.map(str::to_owned).to_vec();
    SourceLocation::Directory {
        path: path.to_path_buf(),
        include,
        exclude: vec!["skip*".to_owned()],
        recursive,
    }
}

/// A tree with what confuses a scan: companion files, other files, directories with a database's
/// name.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for directory in ["a", "b/deep", "b/named.db", ".hidden"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    for file in [
        "top.db",
        "top.db-wal",
        "top.db-shm",
        "old.db-journal",
        "notes.txt",
        "skipped.db",
        "._top.db",
        "LOUD.DB",
        "a/app.db",
        "a/app.sqlite",
        "a/x.sqlite3",
        "b/app.db",
        "b/deep/app.db",
        ".hidden/app.db",
    ] {
        fs::write(root.path().join(file), file).unwrap();
    }
    root
}

#[test]
fn sources_find_their_files_and_name_them_from_their_root() {
    let root = tree();
    let at = |path: &str| root.path().join(path);
    for (targets, expected) in [
        // A hidden file is left out, an extension in capitals is not.
        (vec![directory(root.path(), false)], vec!["LOUD", "top"]),
        (
            vec![directory(root.path(), true)],
            // Two files with one stem in one directory are distinguished by more of their path.
            vec!["WHOLE/a/app.db", "WHOLE/a/app.sqlite", "LOUD", "a/x", "b/app", "b/deep/app", "top"],
        ),
        (vec![glob(root.path(), "*.db")], vec!["skipped", "top"]),
        (vec![glob(root.path(), "*")], vec!["LOUD", "notes", "skipped", "top"]),
        (vec![glob(root.path(), "*/app.db")], vec!["a/app", "b/app"]),
        (vec![glob(root.path(), "**/app.db")], vec!["a/app", "b/app", "b/deep/app"]),
        (vec![glob(root.path(), "{a,b}/ap[p].db")], vec!["a/app", "b/app"]),
        (vec![glob(root.path(), "none/*.db")], vec![]),
        (vec![file(&at("top.db"))], vec!["top"]),
        (vec![file(&at("missing.db"))], vec!["missing"]),
        (vec![file(&at("a/app.db")), file(&at("b/app.db"))], vec!["a/app", "b/app"]),
        (vec![file(&at("b/deep/app.db")), glob(root.path(), "b/*.db")], vec!["b/app", "deep/app"]),
        (
            vec![
                SourceLocation::File { path: at("a/app.db"), name: Some("app".into()) },
                file(&at("b/app.db")),
            ],
            vec!["app", "b/app"],
        ),
    ] {
        let label = format!("{targets:?}");
        let canonical = fs::canonicalize(root.path()).unwrap();
        let expected: Vec<String> =
            expected.iter().map(|name| name.replace("WHOLE", &canonical.display().to_string())).collect();
        assert_eq!(names(targets), expected, "{label}");
    }
}

#[test]
fn two_names_for_one_file_are_one_database() {
    let root = tree();
    let at = |path: &str| root.path().join(path);
    std::os::unix::fs::symlink(at("top.db"), at("link.db")).unwrap();
    fs::hard_link(at("b/app.db"), at("b/hard.db")).unwrap();
    assert_eq!(names(vec![glob(root.path(), "*.db")]), ["skipped", "top"].map(str::to_owned));
    let (both, _) = found(vec![glob(root.path(), "b/*.db")]);
    let result = assemble(&both, 100, 500, &GivenNames::default());
    assert_eq!(result.databases.len(), 1);
    assert_eq!(result.hard_links.len(), 1);
    // The name beside which SQLite keeps its files is the one in use.
    fs::write(at("b/hard.db-wal"), "").unwrap();
    assert_eq!(assemble(&both, 100, 500, &GivenNames::default()).databases[0].name.as_str(), "hard");
    // A symlink by itself is named as it is written, and watched where it leads.
    let (link, _) = found(vec![file(&at("link.db"))]);
    let database = Arc::clone(&assemble(&link, 100, 500, &GivenNames::default()).databases[0]);
    assert_eq!(database.name.as_str(), "link");
    assert_eq!(database.path, fs::canonicalize(at("top.db")).unwrap());
}

#[test]
fn invalid_utf8_gives_distinct_valid_names() {
    let root = tempfile::tempdir().unwrap();
    for byte in [0xFE, 0xFF] {
        let name = std::ffi::OsString::from_vec(vec![b'a', byte, b'.', b'd', b'b']);
        fs::write(root.path().join(name), "x").unwrap();
    }
    let names = names(vec![directory(root.path(), false)]);
    assert_eq!(names.len(), 2);
    assert_ne!(names[0], names[1]);
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_found() {
    let root = tree();
    let (found_here, errors) =
        found(vec![directory(&root.path().join("nowhere"), false), directory(root.path(), false)]);
    assert_eq!(found_here[1].files.len(), 2);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("nowhere: No such file"), "{}", errors[0]);
}

#[test]
fn files_beyond_the_limit_are_counted() {
    let root = tree();
    let (all, _) = found(vec![directory(root.path(), true)]);
    let result = assemble(&all, 2, 500, &GivenNames::default());
    assert_eq!((result.databases.len(), result.left_out), (2, 5));
}

#[test]
fn a_file_keeps_its_name_when_others_come() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    fs::write(at("app.db"), "x").unwrap();
    let watched = || found(vec![directory(root.path(), false)]).0;
    let names = |result: &DiscoveryResult| -> Vec<String> {
        result.databases.iter().map(|database| database.name.to_string()).collect()
    };
    let first = assemble(&watched(), 100, 500, &GivenNames::default());
    assert_eq!(names(&first), ["app"]);
    fs::write(at("app.sqlite"), "x").unwrap();
    let second = assemble(&watched(), 100, 500, &first.given_names);
    let newcomer = format!("{}/app", root.path().file_name().unwrap().display());
    assert!(names(&second).contains(&newcomer) && names(&second).contains(&"app".to_owned()));
    // Also after a restart, and when the first one is gone.
    fs::remove_file(at("app.db")).unwrap();
    assert_eq!(names(&assemble(&watched(), 100, 500, &second.given_names)), [newcomer.as_str()]);
    // A name that the configuration gives goes before.
    fs::write(at("app.db"), "x").unwrap();
    fs::write(at("other.db"), "x").unwrap();
    let named = SourceLocation::File { path: at("other.db"), name: Some("app".to_owned()) };
    let (found_now, _) = found(vec![named, directory(root.path(), false)]);
    let third = assemble(&found_now, 100, 500, &first.given_names);
    let other = third.databases.iter().find(|database| database.path.ends_with("other.db")).unwrap();
    assert_eq!(other.name.as_str(), "app");
    // A source with another root names its files anew.
    let named_from_above =
        vec![FoundFile { relative: Path::new("srv/app.db").to_path_buf(), ..found_now[1].files[0].clone() }];
    let fourth = assemble(
        &[FoundFiles { settings: settings(), files: named_from_above }],
        100,
        500,
        &first.given_names,
    );
    assert_eq!(names(&fourth).len(), 1);
    assert_ne!(names(&fourth), ["app"]);
}
