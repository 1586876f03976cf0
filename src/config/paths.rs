//! Paths and patterns: made absolute, and refused when they could never match a database.
//!
//! This file works on texts alone; the module `discovery` finds out what exists.

use std::path::Path;
use std::path::PathBuf;

use globset::GlobBuilder;
use globset::GlobMatcher;

use crate::database_files::COMPANIONS;

/// Compiles a pattern as the configuration means it: `*` and `?` stop at `/`, `**` does not.
///
/// # Errors
/// When the pattern is malformed.
pub fn compile_pattern(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build()?;
    Ok(glob.compile_matcher())
}

/// Like [`compile_pattern`], for names in upper or lower case.
///
/// # Errors
/// As for [`compile_pattern`].
pub fn compile_pattern_ignoring_case(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let mut builder = GlobBuilder::new(pattern);
    let glob = builder.literal_separator(true).backslash_escape(true).case_insensitive(true).build()?;
    Ok(glob.compile_matcher())
}

/// What is wrong with a pattern, if anything.
pub(super) fn pattern_problem(pattern: &str) -> Option<String> {
    compile_pattern(pattern).err().map(|error| format!("is not a valid pattern: {}", error.kind()))
}

/// Whether a text has a wildcard.
pub(super) fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// A path of the configuration, with relative ones below `base`. `.` and doubled slashes go, while
/// `..` stays, as a link may stand before it.
pub(super) fn resolve_path(base: &Path, path: &str) -> PathBuf {
    base.join(path).components().collect()
}

/// A pattern of the configuration, with relative ones below `base`, whose own characters match
/// themselves.
pub(super) fn resolve_pattern(base: &Path, pattern: &str) -> String {
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    if pattern.starts_with('/') || base.as_os_str().is_empty() {
        return pattern.to_owned();
    }
    let base = globset::escape(&base.to_string_lossy());
    format!("{}/{pattern}", base.trim_end_matches('/'))
}

/// A pattern of `exclude`: one with a slash is for whole paths and so begins at `base`, unless it
/// says itself that it may begin anywhere.
pub(super) fn resolve_exclude(base: &Path, pattern: &str) -> String {
    if pattern.contains('/') && !pattern.starts_with("**") {
        resolve_pattern(base, pattern)
    } else {
        pattern.to_owned()
    }
}

/// What is wrong with naming a path as a database, if it is a file that belongs to one.
pub(super) fn companion_problem(path: &Path) -> Option<String> {
    let (main, what) = companion_of(path)?;
    Some(format!("is {what} of a database, not a database; name the main file: `{}`", main.display()))
}

/// The main file of a companion file, and what the companion file is.
pub(super) fn companion_of(path: &Path) -> Option<(PathBuf, &'static str)> {
    let name = path.file_name()?.to_str()?;
    let (main, what) =
        COMPANIONS.iter().find_map(|(suffix, what)| name.strip_suffix(suffix).map(|main| (main, *what)))?;
    (!main.is_empty()).then(|| (path.with_file_name(main), what))
}
