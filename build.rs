//! Facts about the build for `--version` and `litekeeper_build_info`.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = first_line(&rustc, &["--version"]).unwrap_or_default();
    // "rustc 1.95.0 (59807616e 2026-04-14)" is too much for a label.
    let rustc = rustc.split(' ').nth(1).unwrap_or("unknown");
    // A source archive has no repository; packagers give the revision themselves.
    let revision = std::env::var("LITEKEEPER_REVISION")
        .ok()
        .or_else(|| first_line("git", &["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=LITEKEEPER_RUSTC={rustc}");
    println!("cargo::rustc-env=LITEKEEPER_REVISION={revision}");
    println!("cargo::rerun-if-env-changed=LITEKEEPER_REVISION");
    for path in [".git/HEAD", ".git/refs/heads"] {
        if std::path::Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().map(str::to_owned)).flatten()
}
