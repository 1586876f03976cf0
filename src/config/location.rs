//! Where the files of an entry of `databases` are: one file, a pattern or a directory.
//!
//! This file must never ask whether a path exists: `config check` finds the same errors on the
//! machine where the file is written and on the one where it is used.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use serde::ser::SerializeMap;

use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::environment::escape;
use crate::config::messages::listing;
use crate::config::messages::quoted;
use crate::config::paths::companion_problem;
use crate::config::paths::pattern_problem;
use crate::config::paths::resolve_exclude;
use crate::config::paths::resolve_path;
use crate::config::paths::resolve_pattern;
use crate::config::section::Entries;
use crate::config::values::escape_all;
use crate::config::values::on_or_off;

/// File names that a directory is searched for by default.
pub const DEFAULT_INCLUDE: [&str; 4] = ["*.db", "*.sqlite", "*.sqlite3", "*.db3"];

/// The keys for the place of an entry's files; an entry has one of them.
const LOCATION_KEYS: [&str; 3] = ["path", "glob", "directory"];

/// Further keys of an entry, each with the location keys that it goes with.
const OPTIONS: [(&str, &[&str]); 4] = [
    ("name", &["path"]),
    ("exclude", &["glob", "directory"]),
    ("include", &["directory"]),
    ("recursive", &["directory"]),
];

/// The longest name of a database, in bytes: it stands in every one of its series.
const MAX_NAME_BYTES: usize = 200;

/// Where the files of a source are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceLocation {
    /// One file, which is listed (as missing) even while it is not there.
    File {
        /// The file.
        path: PathBuf,
        /// The name for the label `db`; by default derived from the file's name.
        name: Option<String>,
    },
    /// Every file that matches a pattern (`*`, `?`, `[…]`, `{a,b}`, `**`).
    Glob {
        /// The pattern; its part up to the first wildcard is the root of the names.
        pattern: String,
        /// Patterns of file names or whole paths to leave out.
        exclude: Vec<String>,
    },
    /// The files of a directory.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Patterns of file names to take.
        include: Vec<String>,
        /// Patterns of file names or whole paths to leave out.
        exclude: Vec<String>,
        /// Whether its subdirectories are scanned too.
        recursive: bool,
    },
}

impl SourceLocation {
    /// The keys of the location and its options.
    pub(super) fn keys() -> Vec<&'static str> {
        LOCATION_KEYS.into_iter().chain(OPTIONS.map(|(name, _)| name)).collect()
    }

    /// Writes the keys with their values.
    pub(super) fn show<M: SerializeMap>(&self, entries: &mut Entries<M>) -> Result<(), M::Error> {
        match self {
            // A shell can pass a file with a `*` in its name. In a file, such a `path` is refused,
            // as it is nearly always meant as a pattern; a pattern that matches this file alone is
            // equivalent.
            Self::File { path, name: None } if path.to_string_lossy().contains('*') => {
                entries.add("glob", &escape(&globset::escape(&path.to_string_lossy())))?;
                entries.add("exclude", &Vec::<String>::new())
            }
            Self::File { path, name } => {
                if let Some(name) = name {
                    entries.add("name", &escape(name))?;
                }
                entries.add("path", &escape(&path.to_string_lossy()))
            }
            Self::Glob { pattern, exclude } => {
                entries.add("glob", &escape(pattern))?;
                entries.add("exclude", &escape_all(exclude))
            }
            Self::Directory { path, include, exclude, recursive } => {
                entries.add("directory", &escape(&path.to_string_lossy()))?;
                entries.add("include", &escape_all(include))?;
                entries.add("exclude", &escape_all(exclude))?;
                entries.add("recursive", on_or_off(*recursive))
            }
        }
    }
}

/// The locations of a file so far, to refuse repeated ones.
#[derive(Default)]
pub(super) struct Locations {
    /// Names that were given, with the key of the entry.
    names: BTreeMap<String, String>,
    /// Paths that were given, with the key of the entry.
    paths: BTreeMap<PathBuf, String>,
}

impl Locations {
    /// Reads where the files of an entry are; relative paths are below `base`.
    pub fn read(
        &mut self,
        fields: &Fields<'_>,
        base: &Path,
        decoder: &mut Decoder<'_>,
    ) -> Option<SourceLocation> {
        let given: Vec<&str> =
            LOCATION_KEYS.into_iter().filter(|name| fields.key_position(name).is_some()).collect();
        let [kind] = given.as_slice() else {
            refuse_location(&given, fields, decoder);
            return None;
        };
        for (option, targets) in OPTIONS {
            if let Some(position) = fields.key_position(option)
                && !targets.contains(kind)
            {
                let message =
                    format!("is valid only with {}, not with `{kind}`; remove it", listing(targets));
                decoder.refuse(position, &fields.child(option), message);
            }
        }
        let value = fields.find(kind)?;
        match *kind {
            "path" => self.read_file(&value, fields, base, decoder),
            "glob" => read_glob(&value, fields, base, decoder),
            _ => read_directory(&value, fields, base, decoder),
        }
    }

    fn read_file(
        &mut self,
        value: &Value<'_>,
        fields: &Fields<'_>,
        base: &Path,
        decoder: &mut Decoder<'_>,
    ) -> Option<SourceLocation> {
        let name = fields.find("name").map(|name| self.read_name(&name, fields, decoder));
        let text = decoder.text(value)?;
        if text.contains('*') {
            decoder.refuse_value(value, format!("is one file; for a pattern write `glob: {text}`"));
            return None;
        }
        let path = resolve_path(base, &text);
        if let Some(problem) = companion_problem(&path) {
            decoder.refuse_value(value, problem);
        }
        if let Some(first) = self.paths.get(&path) {
            let message = format!("is already monitored by `{first}`; remove one of the two");
            decoder.refuse_value(value, message);
        }
        self.paths.entry(path.clone()).or_insert_with(|| fields.key.clone());
        Some(SourceLocation::File { path, name: name.flatten() })
    }

    fn read_name(
        &mut self,
        value: &Value<'_>,
        fields: &Fields<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<String> {
        let name = decoder.text(value)?;
        if name.len() > MAX_NAME_BYTES || name.contains(char::is_control) {
            let message =
                format!("must be one line of at most {MAX_NAME_BYTES} bytes, because it is a label value");
            decoder.refuse_value(value, message);
        }
        if let Some(first) = self.names.get(&name) {
            let message = format!("{} is already the name of `{first}`; names must be unique", quoted(&name));
            decoder.refuse_value(value, message);
        }
        self.names.entry(name.clone()).or_insert_with(|| fields.key.clone());
        Some(name)
    }
}

fn read_glob(
    value: &Value<'_>,
    fields: &Fields<'_>,
    base: &Path,
    decoder: &mut Decoder<'_>,
) -> Option<SourceLocation> {
    let exclude = read_exclude(fields, base, decoder);
    let text = decoder.text(value)?;
    if let Some(problem) = pattern_problem(&text) {
        decoder.refuse_value(value, format!("{} {problem}", quoted(&text)));
    }
    Some(SourceLocation::Glob { pattern: resolve_pattern(base, &text), exclude })
}

fn read_directory(
    value: &Value<'_>,
    fields: &Fields<'_>,
    base: &Path,
    decoder: &mut Decoder<'_>,
) -> Option<SourceLocation> {
    let exclude = read_exclude(fields, base, decoder);
    let include = match fields.find("include") {
        None => DEFAULT_INCLUDE.map(str::to_owned).to_vec(),
        Some(include) => read_include(&include, decoder),
    };
    let recursive = fields.find("recursive").and_then(|value| decoder.switch(&value)).unwrap_or(false);
    let path = resolve_path(base, &decoder.text(value)?);
    Some(SourceLocation::Directory { path, include, exclude, recursive })
}

fn read_exclude(fields: &Fields<'_>, base: &Path, decoder: &mut Decoder<'_>) -> Vec<String> {
    let Some(value) = fields.find("exclude") else { return Vec::new() };
    let patterns = read_patterns(&value, decoder);
    patterns.iter().map(|pattern| resolve_exclude(base, pattern)).collect()
}

/// Reads patterns of file names; one with a slash would never match a name.
fn read_include(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Vec<String> {
    let patterns = read_patterns(value, decoder);
    if patterns.iter().any(|pattern| pattern.contains('/')) {
        decoder.refuse_value(
            value,
            "must contain file names without `/`; for subdirectories write `recursive: on`",
        );
    }
    if patterns.is_empty() {
        decoder.refuse_value(value, "must contain at least one pattern, as in `include: [\"*.db\"]`");
    }
    patterns
}

fn read_patterns(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Vec<String> {
    let mut patterns = Vec::new();
    for item in decoder.items(value).unwrap_or_default() {
        let Some(pattern) = decoder.text(&item) else { continue };
        if let Some(problem) = pattern_problem(&pattern) {
            decoder.refuse_value(&item, format!("{} {problem}", quoted(&pattern)));
        }
        patterns.push(pattern);
    }
    patterns
}

/// Refuses an entry with no location, or with several.
fn refuse_location(given: &[&str], fields: &Fields<'_>, decoder: &mut Decoder<'_>) {
    if given.is_empty() {
        if !LOCATION_KEYS.iter().any(|name| fields.intends(name)) {
            let message = "names no files; write one of `path`, `glob` and `directory`";
            decoder.refuse(fields.position, &fields.key, message);
        }
        return;
    }
    let mut keys: BTreeSet<_> = given.iter().map(|name| (fields.key_position(name), *name)).collect();
    keys.pop_first();
    for (position, name) in keys {
        let message =
            "an entry may have only one of `path`, `glob` and `directory`; split it into two entries";
        decoder.refuse(position.unwrap_or(fields.position), &fields.child(name), message);
    }
}
