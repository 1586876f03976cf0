//! The shape of the file: the top level, profiles and databases.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::sidecar::is_sidecar;

use super::Config;
use super::DEFAULT_INCLUDE;
use super::Source;
use super::Target;
use super::decode::Decoder;
use super::decode::Fields;
use super::environment::Environment;
use super::errors::ConfigErrors;
use super::errors::Place;
use super::settings::Overrides;
use super::settings::read_overrides;
use super::tree;
use super::tree::Node;

/// The largest configuration file; one with 20,000 databases has 2 MiB.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// The most that `max_databases` may be: beyond it the memory of one agent is no longer what it should cost.
const MOST_DATABASES: usize = 200_000;
/// The most that `series_limit` may be.
const MOST_SERIES: usize = 100_000;
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

impl Config {
    /// Loads a file, with the variables of this process' environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let file = path.display().to_string();
        let text = read_file(path).map_err(|message| {
            let error = super::errors::ConfigError { place: Place::START, key: String::new(), message };
            ConfigErrors::new(&file, vec![error])
        })?;
        let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Self::parse(&text, &file, &base, &|name| std::env::var(name).ok())
    }

    /// Parses a text; `file` is its name in messages, and relative paths are below `base`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(
        text: &str,
        file: &str,
        base: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let root = tree::parse(text).map_err(|error| ConfigErrors::new(file, vec![error]))?;
        let mut reader = FileReader::new(base, environment);
        let config = reader.config(root);
        if reader.decoder.errors.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors::new(file, reader.decoder.errors))
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(format!(
            "has {} bytes, more than a configuration may ({MAX_FILE_BYTES})",
            metadata.len()
        ));
    }
    #[expect(clippy::disallowed_methods, reason = "the configuration, never a database")]
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

struct FileReader<'a> {
    decoder: Decoder<'a>,
    base: &'a Path,
    profiles: HashMap<String, Overrides>,
    names: HashMap<String, Place>,
}

impl<'a> FileReader<'a> {
    fn new(base: &'a Path, environment: Environment<'a>) -> Self {
        let decoder = Decoder { errors: Vec::new(), environment };
        Self { decoder, base, profiles: HashMap::new(), names: HashMap::new() }
    }

    fn config(&mut self, root: Node) -> Config {
        let mut config = Config::default();
        let place = root.place;
        let mut fields = self.decoder.fields(root, "");
        if let Some((key, node)) = fields.take("listen") {
            const WANTED: &str = "an address and a port are wanted, like 127.0.0.1:10321 or 0.0.0.0:10321";
            if let Some(listen) = self.decoder.parsed::<SocketAddr>(&node, &key, WANTED) {
                config.listen = listen;
            }
        }
        for (name, interval) in [
            ("sample_interval", &mut config.sample_interval),
            ("discovery_interval", &mut config.discovery_interval),
        ] {
            if let Some((key, node)) = fields.take(name)
                && let Some(duration) = self.decoder.duration(&node, &key, SHORTEST_INTERVAL)
            {
                *interval = duration;
            }
        }
        for (name, limit, most) in [
            ("max_databases", &mut config.max_databases, MOST_DATABASES),
            ("series_limit", &mut config.series_limit, MOST_SERIES),
        ] {
            if let Some((key, node)) = fields.take(name)
                && let Some(number) = self.decoder.count(&node, &key, most)
            {
                *limit = number;
            }
        }
        self.read_profiles(&mut fields);
        match fields.take("databases") {
            Some((key, node)) => config.sources = self.databases(node, &key),
            None => self.decoder.fail(
                place,
                "databases",
                "nothing to watch; name files: `databases: [{path: app.db}]`",
            ),
        }
        fields.finish(&mut self.decoder);
        self.check_families(&config);
        config
    }

    fn read_profiles(&mut self, fields: &mut Fields) {
        let Some((key, node)) = fields.take("profiles") else { return };
        let mut profiles = self.decoder.fields(node, &key);
        for (_, name, node) in profiles.rest() {
            let key = format!("{key}.{name}");
            let mut fields = self.decoder.fields(node, &key);
            let overrides = read_overrides(&mut self.decoder, &mut fields);
            fields.finish(&mut self.decoder);
            self.profiles.insert(name, overrides);
        }
    }

    fn databases(&mut self, node: Node, key: &str) -> Vec<Source> {
        let place = node.place;
        let items = self.decoder.items(node, key);
        if items.is_empty() {
            self.decoder.fail(place, key, "nothing to watch; name files: [{path: app.db}]");
        }
        items.into_iter().filter_map(|(key, item)| self.source(item, &key)).collect()
    }

    fn source(&mut self, node: Node, key: &str) -> Option<Source> {
        let mut fields = self.decoder.fields(node, key);
        let (path, glob, directory) = (fields.take("path"), fields.take("glob"), fields.take("directory"));
        let target = match (path, glob, directory) {
            (Some((key, node)), None, None) => self.file(&mut fields, &key, &node),
            (None, Some((key, node)), None) => self.glob(&mut fields, &key, &node),
            (None, None, Some((key, node))) => self.directory(&mut fields, &key, &node),
            (None, None, None) => {
                self.decoder.fail(fields.place, key, "one of `path`, `glob` and `directory` is missing");
                None
            }
            _ => {
                self.decoder.fail(
                    fields.place,
                    key,
                    "only one of `path`, `glob` and `directory` can be; make two entries",
                );
                None
            }
        };
        let profile = fields.take("profile").and_then(|(key, node)| {
            let name = self.decoder.text(&node, &key)?;
            if !self.profiles.contains_key(&name) {
                let mut known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
                known.sort_unstable();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                self.decoder.fail(
                    node.place,
                    &key,
                    format!("there is no profile {name:?}; defined are: {known}"),
                );
            }
            Some(name)
        });
        let own = read_overrides(&mut self.decoder, &mut fields);
        fields.finish(&mut self.decoder);
        let base = profile.as_ref().and_then(|name| self.profiles.get(name)).cloned().unwrap_or_default();
        let settings = base.under(own).settings(profile.unwrap_or_default());
        Some(Source { target: target?, settings: Arc::new(settings) })
    }

    fn file(&mut self, fields: &mut Fields, key: &str, node: &Node) -> Option<Target> {
        let name = fields.take("name").and_then(|(key, node)| {
            let name = self.decoder.text(&node, &key)?;
            if name.is_empty() {
                self.decoder.fail(node.place, &key, "a name is not empty; leave it out for the file's own");
            }
            if let Some(first) = self.names.insert(name.clone(), node.place) {
                let message = format!(
                    "{name:?} is the name of another database (line {}); names are unique",
                    first.line
                );
                self.decoder.fail(node.place, &key, message);
            }
            Some(name)
        });
        let path = self.path(node, key)?;
        if is_sidecar(&path) {
            let message = "this is a file that SQLite keeps beside a database; name the database, without -wal, -shm or -journal";
            self.decoder.fail(node.place, key, message);
        }
        Some(Target::File { path, name })
    }

    fn glob(&mut self, fields: &mut Fields, key: &str, node: &Node) -> Option<Target> {
        let exclude = self.patterns(fields, "exclude", &[]);
        let pattern = self.decoder.pattern(node, key)?;
        let pattern = self.base.join(pattern).to_string_lossy().into_owned();
        Some(Target::Glob { pattern, exclude })
    }

    fn directory(&mut self, fields: &mut Fields, key: &str, node: &Node) -> Option<Target> {
        let include = self.patterns(fields, "include", &DEFAULT_INCLUDE);
        let exclude = self.patterns(fields, "exclude", &[]);
        let recursive = fields.take("recursive").and_then(|(key, node)| self.decoder.switch(&node, &key));
        let path = self.path(node, key)?;
        Some(Target::Directory { path, include, exclude, recursive: recursive.unwrap_or(false) })
    }

    fn patterns(&mut self, fields: &mut Fields, name: &'static str, default: &[&str]) -> Vec<String> {
        match fields.take(name) {
            Some((key, node)) => self.decoder.patterns(node, &key),
            None => default.iter().map(ToString::to_string).collect(),
        }
    }

    fn path(&mut self, node: &Node, key: &str) -> Option<PathBuf> {
        let text = self.decoder.text(node, key)?;
        if text.is_empty() {
            self.decoder.fail(node.place, key, "a path is not empty");
            return None;
        }
        Some(self.base.join(text))
    }

    /// One name is one family in the exposition: with one type, HELP and set of labels.
    fn check_families(&mut self, config: &Config) {
        let mut families: BTreeMap<&str, &super::CustomMetric> = BTreeMap::new();
        for metric in config.sources.iter().flat_map(|source| &source.settings.custom_metrics) {
            let first = families.entry(&metric.name).or_insert(metric);
            if (first.kind, &first.help, &first.labels) != (metric.kind, &metric.help, &metric.labels) {
                let message = format!(
                    "the custom metric {:?} is defined twice with another type, help or labels; give one of them another name",
                    metric.name
                );
                self.decoder.fail(Place::START, "custom_metrics", message);
            }
        }
    }
}
