//! Configurations from the command line, and from a file on disk.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::config::Config;
use crate::config::DEFAULT_INCLUDE;
use crate::config::SourceLocation;
use crate::config::tree::MAX_FILE_BYTES;

fn file(path: PathBuf) -> SourceLocation {
    SourceLocation::File { path, name: None }
}

#[test]
fn a_target_is_what_exists_else_a_pattern_else_a_file_to_come() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("sub[1]")).unwrap();
    fs::write(at("odd*.db"), "").unwrap();
    let names = ["sub[1]", "odd*.db", "x/*.db", "later.db", "later.db", "later.db-wal", "later.db-shm"];
    let targets: Vec<PathBuf> = names.into_iter().map(at).collect();
    let config = Config::for_targets(&targets, &["logs".to_owned()]).unwrap();
    let found: Vec<SourceLocation> = config.sources.iter().map(|source| source.location.clone()).collect();
    let include = DEFAULT_INCLUDE.map(str::to_owned).to_vec();
    assert_eq!(
        found,
        [
            SourceLocation::Directory { path: at("sub[1]"), include, exclude: Vec::new(), recursive: false },
            file(at("odd*.db")),
            SourceLocation::Glob { pattern: at("x/*.db").to_str().unwrap().to_owned(), exclude: Vec::new() },
            file(at("later.db")),
        ]
    );
    assert!(config.sources.iter().all(|source| source.settings.row_counts == ["logs"]));
    assert_eq!(config.listen, ["127.0.0.1:10321".parse().unwrap()]);
    let all = Config::for_targets(&[at("a.db")], &["all".to_owned()]).unwrap();
    assert_eq!(all.sources[0].settings.row_counts, ["*"]);
    // A path with `*` would be refused as a pattern that was meant; as a pattern it can be loaded
    // again.
    let shown = Config::parse(&config.to_yaml(), "/etc/lk.yml", &|_| None).unwrap();
    let pattern = globset::escape(at("odd*.db").to_str().unwrap());
    assert_eq!(shown.sources[1].location, SourceLocation::Glob { pattern, exclude: Vec::new() });
    for index in [0, 2, 3] {
        assert_eq!(shown.sources[index], config.sources[index]);
    }
}

#[test]
fn relative_targets_are_made_absolute() {
    let here = std::env::current_dir().unwrap();
    let targets = ["./no-such.db", "no-such/*.db"].map(PathBuf::from);
    let config = Config::for_targets(&targets, &[]).unwrap();
    assert_eq!(config.sources[0].location, file(here.join("no-such.db")));
    let pattern = format!("{}/no-such/*.db", globset::escape(here.to_str().unwrap()));
    assert_eq!(config.sources[1].location, SourceLocation::Glob { pattern, exclude: Vec::new() });
}

#[test]
fn wrong_targets_are_refused_together() {
    let targets = ["/no/a.db", "/no/[a", "/no/b.db-wal"].map(PathBuf::from);
    let errors = Config::for_targets(&targets, &[]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "command line: /no/[a: is not a valid pattern: unclosed character class; missing ']'\n\
         command line: /no/b.db-wal: is the write-ahead log of a database, not a database; name the main file: \
         `/no/b.db`"
    );
    let errors = Config::for_targets(&[], &[]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "command line: names no database; give a file, a directory, a pattern or a configuration file"
    );
}

#[test]
fn a_file_is_loaded_with_paths_below_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lk.yml");
    fs::write(&path, "\u{feff}databases: [{path: a.db}, {directory: ../x}]\r\nmax_databases: 321\r\n")
        .unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.max_databases, 321, "the mark at the beginning shifts no spelling");
    assert_eq!(config.sources[0].location, file(directory.path().join("a.db")));
    let SourceLocation::Directory { path, .. } = &config.sources[1].location else { panic!("a directory") };
    assert_eq!(*path, directory.path().join("../x"));
}

#[test]
fn what_cannot_be_a_configuration_is_refused_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let check = |path: &Path, expected: &str| {
        let error = Config::load(path).unwrap_err().to_string();
        assert_eq!(error, format!("{}: {expected}", path.display()));
    };
    check(&directory.path().join("none.yml"), "cannot be read: No such file or directory (os error 2)");
    check(directory.path(), "is a directory; name the configuration file in it");
    check(&write("latin.yml", b"a: \xe4\n"), "is not UTF-8 text; is it a configuration file?");
    check(
        &write("app.db", b"SQLite format 3\0"),
        "has the name of a database; name a YAML file, or pass databases as targets",
    );
    let large = write("large.yml", &vec![b'#'; MAX_FILE_BYTES + 1]);
    check(&large, "is too large: 1048577 bytes, of at most 1048576; is it a configuration?");
    let wrong = write("wrong.yml", b"a: [\n");
    let error = Config::load(&wrong).unwrap_err();
    let place = error.iter().next().unwrap().position.unwrap();
    assert!(error.to_string().starts_with(&format!(
        "{}:{}:{}: is not valid YAML",
        wrong.display(),
        place.line,
        place.column
    )));
}
