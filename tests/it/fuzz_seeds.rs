//! Every seed and every finding of the fuzz targets, by the functions that the targets call.

use std::path::Path;

use libtest_mimic::Trial;

use crate::support::test;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

pub fn trials() -> Vec<Trial> {
    vec![
        test("fuzz_seeds_are_no_findings", fuzz_seeds_are_no_findings),
        test("each_fuzz_target_has_a_program_and_seeds", each_fuzz_target_has_a_program_and_seeds),
    ]
}

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn fuzz_seeds_are_no_findings() {
    for (name, target) in targets::TARGETS {
        for entry in std::fs::read_dir(directory().join("seeds").join(name)).unwrap() {
            let path = entry.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| target(&data));
            assert!(outcome.is_ok(), "{name}: {}", path.display());
        }
    }
}

fn each_fuzz_target_has_a_program_and_seeds() {
    let names = |path: &str| {
        let mut names: Vec<String> = std::fs::read_dir(directory().join(path))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let mut expected = targets::TARGETS.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(names("seeds"), expected);
    assert_eq!(names("fuzz_targets"), expected);
    let manifest = std::fs::read_to_string(directory().join("Cargo.toml")).unwrap();
    for name in expected {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml lacks {name}");
        let seeds = std::fs::read_dir(directory().join("seeds").join(name)).unwrap().count();
        assert!(seeds >= 3, "{name} has {seeds} seeds");
    }
}
