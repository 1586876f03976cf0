//! The tree of a file into a [`Config`]: the top level and the entries of `databases`.
//!
//! This file must never ask whether a path exists: `config check` finds the same errors on the
//! machine where the file is written and on the one where it is used.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::config::DEFAULT_INCLUDE;
use crate::config::DatabaseSettings;
use crate::config::Source;
use crate::config::SourceLocation;
use crate::config::custom::MetricDefinitions;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::decode::closest;
use crate::config::decode::listing;
use crate::config::decode::quoted;
use crate::config::paths::pattern_problem;
use crate::config::paths::resolve_exclude;
use crate::config::paths::resolve_path;
use crate::config::paths::resolve_pattern;
use crate::config::paths::sidecar_problem;
use crate::config::read_agent::read_agent;
use crate::config::read_agent::read_maintenance;
use crate::config::read_agent::read_web;
use crate::config::settings::Layer;
use crate::config::settings::SETTINGS_KEYS;
use crate::config::settings::read_layer;
use crate::config::tasks_read::ParseContext;
use crate::config::tracing_read::read_tracing;
use crate::config::tree::Node;
use crate::config::tree::Tree;

pub(super) const TOP_KEYS: [&str; 17] = [
    "listen",
    "web",
    "state",
    "timezone",
    "temp_directory",
    "pause_file",
    "max_jobs",
    "max_jobs_per_filesystem",
    "catch_up_delay",
    "history_retention",
    "sample_interval",
    "discovery_interval",
    "max_databases",
    "series_limit",
    "tracing",
    "profiles",
    "databases",
];

/// The keys that say where an entry's files are; an entry has one of them.
const LOCATION_KEYS: [&str; 3] = ["path", "glob", "directory"];

/// Further keys of an entry, each with the target keys that it goes with.
const LOCATION_OPTIONS: [(&str, &[&str]); 4] = [
    ("name", &["path"]),
    ("exclude", &["glob", "directory"]),
    ("include", &["directory"]),
    ("recursive", &["directory"]),
];

/// The longest name of a database, in bytes: it stands in every one of its series.
const MAX_NAME_BYTES: usize = 200;

/// What is known of the file while its entries are read.
struct Reader<'r> {
    base: &'r Path,
    timezone: chrono_tz::Tz,
    profiles: BTreeMap<String, Layer>,
    families: MetricDefinitions,
    /// Names that were given, with the key of the entry.
    names: BTreeMap<String, String>,
    /// Paths that were given, with the key of the entry.
    paths: BTreeMap<PathBuf, String>,
}

/// Reads a whole file. What is wrong is noted in the decoder; the result is of use only without.
pub(super) fn read(tree: &Tree, base: &Path, decoder: &mut Decoder<'_>) -> Option<Config> {
    let root = Value { tree, key: String::new() };
    if matches!(tree.node, Node::Null) {
        decoder.refuse_value(&root, "is empty; write at least `databases: [{path: /srv/app/app.db}]`");
        return None;
    }
    let fields = decoder.fields(&root, &TOP_KEYS)?;
    let mut config = Config::with_sources(Vec::new());
    read_agent(&fields, &mut config, decoder);
    config.web = read_web(&fields, base, decoder);
    read_maintenance(&fields, &mut config.maintenance, base, decoder);
    config.tracing = read_tracing(&fields, base, decoder);
    let (profiles, names, paths) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let timezone = config.maintenance.timezone;
    let mut reader =
        Reader { base, timezone, profiles, families: MetricDefinitions::default(), names, paths };
    if let Some(value) = fields.find("profiles") {
        reader.read_profiles(&value, decoder);
    }
    let entries = decoder.require(&fields, "databases", "databases: [{path: /srv/app/app.db}]")?;
    let items = decoder.items(&entries)?;
    if items.is_empty() {
        decoder.refuse_value(&entries, "must name at least one database, as in `- path: /srv/app/app.db`");
    }
    config.sources = items.iter().filter_map(|item| reader.read_entry(item, decoder)).collect();
    Some(config)
}

impl Reader<'_> {
    fn read_profiles(&mut self, value: &Value<'_>, decoder: &mut Decoder<'_>) {
        for (name, position, tree) in decoder.entries(value).unwrap_or_default() {
            let profile = Value { tree, key: format!("{}.{name}", value.key) };
            if name.trim().is_empty() {
                decoder.refuse(position, &profile.key, "a profile needs a name");
            }
            let layer = match decoder.fields(&profile, &SETTINGS_KEYS) {
                Some(fields) => read_layer(
                    &fields,
                    &mut self.families,
                    &ParseContext { base: self.base, timezone: self.timezone },
                    decoder,
                ),
                // The name is known all the same: what is wrong with it is said once.
                None => Layer::default(),
            };
            self.profiles.insert(name.to_owned(), layer);
        }
    }

    fn read_entry(&mut self, value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<Source> {
        let mut known: Vec<&str> = LOCATION_KEYS.to_vec();
        known.extend(LOCATION_OPTIONS.iter().map(|(name, _)| *name));
        known.push("profile");
        known.extend(SETTINGS_KEYS);
        let fields = decoder.fields(value, &known)?;
        let location = self.read_location(&fields, decoder);
        let settings = self.read_settings(&fields, decoder);
        Some(Source { location: location?, settings: Arc::new(settings) })
    }

    fn read_settings(&mut self, fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> DatabaseSettings {
        let mut settings = DatabaseSettings::default();
        let context = ParseContext { base: self.base, timezone: self.timezone };
        let own = read_layer(fields, &mut self.families, &context, decoder);
        if let Some(value) = fields.find("profile")
            && let Some(name) = decoder.text(&value)
        {
            match self.profiles.get(&name) {
                Some(profile) => {
                    refuse_repeated_metrics(profile, &own, &name, fields, decoder);
                    profile.clone().apply(&mut settings);
                }
                None => decoder.refuse_value(&value, unknown_profile(&name, &self.profiles)),
            }
            settings.profile = name;
        }
        own.apply(&mut settings);
        settings
    }

    fn read_location(&mut self, fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Option<SourceLocation> {
        let given: Vec<&str> =
            LOCATION_KEYS.into_iter().filter(|name| fields.key_position(name).is_some()).collect();
        let [kind] = given.as_slice() else {
            refuse_location(&given, fields, decoder);
            return None;
        };
        for (option, targets) in LOCATION_OPTIONS {
            if let Some(position) = fields.key_position(option)
                && !targets.contains(kind)
            {
                let message = format!("goes with {}, not with `{kind}`; remove it", listing(targets));
                decoder.refuse(position, &fields.child(option), message);
            }
        }
        let value = fields.find(kind)?;
        match *kind {
            "path" => self.read_file(&value, fields, decoder),
            "glob" => self.read_glob(&value, fields, decoder),
            _ => self.read_directory(&value, fields, decoder),
        }
    }

    fn read_file(
        &mut self,
        value: &Value<'_>,
        fields: &Fields<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<SourceLocation> {
        let name = fields.find("name").map(|name| self.read_name(&name, fields, decoder));
        let text = decoder.text(value)?;
        if text.contains('*') {
            decoder.refuse_value(value, format!("is one file; for a pattern write `glob: {text}`"));
            return None;
        }
        let path = resolve_path(self.base, &text);
        if let Some(problem) = sidecar_problem(&path) {
            decoder.refuse_value(value, problem);
        }
        if let Some(first) = self.paths.get(&path) {
            let message = format!("is watched already, by `{first}`; remove one of the two");
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
                format!("must be one line of at most {MAX_NAME_BYTES} bytes, as it is a label's value");
            decoder.refuse_value(value, message);
        }
        if let Some(first) = self.names.get(&name) {
            let message = format!("{} is the name of `{first}` already; names are unique", quoted(&name));
            decoder.refuse_value(value, message);
        }
        self.names.entry(name.clone()).or_insert_with(|| fields.key.clone());
        Some(name)
    }

    fn read_glob(
        &self,
        value: &Value<'_>,
        fields: &Fields<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<SourceLocation> {
        let exclude = self.read_exclude(fields, decoder);
        let text = decoder.text(value)?;
        if let Some(problem) = pattern_problem(&text) {
            decoder.refuse_value(value, format!("{} {problem}", quoted(&text)));
        }
        Some(SourceLocation::Glob { pattern: resolve_pattern(self.base, &text), exclude })
    }

    fn read_directory(
        &self,
        value: &Value<'_>,
        fields: &Fields<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<SourceLocation> {
        let exclude = self.read_exclude(fields, decoder);
        let include = match fields.find("include") {
            None => DEFAULT_INCLUDE.map(str::to_owned).to_vec(),
            Some(include) => read_include(&include, decoder),
        };
        let recursive = fields.find("recursive").and_then(|value| decoder.switch(&value)).unwrap_or(false);
        let path = resolve_path(self.base, &decoder.text(value)?);
        Some(SourceLocation::Directory { path, include, exclude, recursive })
    }

    fn read_exclude(&self, fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Vec<String> {
        let Some(value) = fields.find("exclude") else { return Vec::new() };
        let patterns = read_patterns(&value, decoder);
        patterns.iter().map(|pattern| resolve_exclude(self.base, pattern)).collect()
    }
}

/// Patterns of file names; one with a slash would never match a name.
fn read_include(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Vec<String> {
    let patterns = read_patterns(value, decoder);
    if patterns.iter().any(|pattern| pattern.contains('/')) {
        decoder
            .refuse_value(value, "takes file names, without `/`; for subdirectories write `recursive: on`");
    }
    if patterns.is_empty() {
        decoder.refuse_value(value, "must take at least one pattern, as in `include: [\"*.db\"]`");
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

/// An entry with no target, or with several.
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
        let message = "an entry has one of `path`, `glob` and `directory`; make it two entries";
        decoder.refuse(position.unwrap_or(fields.position), &fields.child(name), message);
    }
}

/// A metric in a profile and in an entry that uses it would be the same series twice.
fn refuse_repeated_metrics(
    profile: &Layer,
    own: &Layer,
    name: &str,
    fields: &Fields<'_>,
    decoder: &mut Decoder<'_>,
) {
    for metric in own.metric_names() {
        if profile.metric_names().any(|other| other == metric) {
            let message = format!("{} comes from the profile {} already", quoted(metric), quoted(name));
            decoder.refuse(fields.position_of("custom_metrics"), &fields.child("custom_metrics"), message);
        }
    }
}

fn unknown_profile(name: &str, profiles: &BTreeMap<String, Layer>) -> String {
    let known: Vec<&String> = profiles.keys().collect();
    let hint = match closest(name, profiles.keys().map(String::as_str)) {
        Some(guess) => format!("did you mean `{guess}`?"),
        None if known.is_empty() => "the file has no `profiles`".to_owned(),
        None => format!("the profiles are {}", listing(&known)),
    };
    format!("there is no profile {}; {hint}", quoted(name))
}
