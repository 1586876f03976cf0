//! From places to types: fields are taken one by one, and what is wrong is noted and gone past.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use globset::Glob;

use super::duration;
use super::environment::Environment;
use super::environment::expand;
use super::errors::ConfigError;
use super::errors::Place;
use super::tree::Node;
use super::tree::Value;

/// What goes wrong on the way, and where variables come from.
pub(super) struct Decoder<'a> {
    pub errors: Vec<ConfigError>,
    pub environment: Environment<'a>,
}

impl Decoder<'_> {
    /// Notes an error.
    pub(super) fn fail(&mut self, place: Place, key: &str, message: impl Into<String>) {
        self.errors.push(ConfigError { place, key: key.to_owned(), message: message.into() });
    }

    /// A mapping's fields; nothing and an error for anything else.
    pub(super) fn fields(&mut self, node: Node, key: &str) -> Fields {
        let place = node.place;
        let mut fields = Fields { place, key: key.to_owned(), entries: Vec::new(), known: Vec::new() };
        match node.value {
            Value::Mapping(entries) => {
                for (place, name, value) in entries {
                    if fields.entries.iter().any(|(_, taken, _)| *taken == name) {
                        self.fail(
                            place,
                            &fields.path(&name),
                            "this key stands here twice; remove one of them",
                        );
                    } else {
                        fields.entries.push((place, name, value));
                    }
                }
            }
            Value::Null => {}
            other => {
                self.fail(place, key, format!("this is {}, a mapping of keys is wanted", other.describe()))
            }
        }
        fields
    }

    /// A list's items; nothing and an error for anything else.
    pub(super) fn items(&mut self, node: Node, key: &str) -> Vec<(String, Node)> {
        match node.value {
            Value::Sequence(items) => {
                items.into_iter().enumerate().map(|(index, item)| (format!("{key}[{index}]"), item)).collect()
            }
            other => {
                self.fail(node.place, key, format!("this is {}, a list is wanted: [a, b]", other.describe()));
                Vec::new()
            }
        }
    }

    /// A single value with its variables replaced.
    pub(super) fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        match &node.value {
            Value::Scalar(text) => match expand(text, self.environment) {
                Ok(text) => Some(text),
                Err(message) => {
                    self.fail(node.place, key, message);
                    None
                }
            },
            other => {
                self.fail(node.place, key, format!("this is {}, a single value is wanted", other.describe()));
                None
            }
        }
    }

    /// A list of patterns that compile.
    pub(super) fn patterns(&mut self, node: Node, key: &str) -> Vec<String> {
        let items = self.items(node, key);
        items.iter().filter_map(|(key, item)| self.pattern(item, key)).collect()
    }

    /// A pattern that compiles.
    pub(super) fn pattern(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = self.text(node, key)?;
        if let Err(error) = Glob::new(&text) {
            self.fail(node.place, key, format!("{error}; wildcards are *, ?, [abc], {{a,b}} and **"));
        }
        Some(text)
    }

    /// A duration of at least `least`.
    pub(super) fn duration(&mut self, node: &Node, key: &str, least: Duration) -> Option<Duration> {
        let text = self.text(node, key)?;
        match duration::parse(&text) {
            Some(duration) if duration >= least => Some(duration),
            Some(_) => {
                self.fail(
                    node.place,
                    key,
                    format!("{text} is too short; {} is the least", duration::write(least)),
                );
                None
            }
            None => {
                self.fail(
                    node.place,
                    key,
                    format!("{text:?} is no duration; write it like 250ms, 15s, 1h30m or 2d"),
                );
                None
            }
        }
    }

    /// A whole number from 1 to `most`.
    pub(super) fn count(&mut self, node: &Node, key: &str, most: usize) -> Option<usize> {
        let wanted = format!("a whole number from 1 to {most} is wanted");
        let number: usize = self.parsed(node, key, &wanted)?;
        if (1..=most).contains(&number) {
            return Some(number);
        }
        self.fail(node.place, key, format!("{number} is out of range; {wanted}"));
        None
    }

    /// `on` or `off`.
    pub(super) fn switch(&mut self, node: &Node, key: &str) -> Option<bool> {
        self.choice(node, key, &[("on", true), ("off", false), ("true", true), ("false", false)])
    }

    /// One of a set of words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fail(node.place, key, format!("{text:?} is not one of {}", words.join(", ")));
        }
        found
    }

    /// Anything that parses from text.
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        node: &Node,
        key: &str,
        wanted: &str,
    ) -> Option<T> {
        let text = self.text(node, key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(node.place, key, format!("{text:?}: {error}; {wanted}"));
                None
            }
        }
    }
}

/// The fields of one mapping, taken by name.
pub(super) struct Fields {
    pub place: Place,
    pub key: String,
    entries: Vec<(Place, String, Node)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// The path of a field.
    pub(super) fn path(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    /// Takes a field; a name that is asked for is known from then on.
    pub(super) fn take(&mut self, name: &'static str) -> Option<(String, Node)> {
        self.known.push(name);
        let at = self.entries.iter().position(|(_, taken, _)| taken == name)?;
        let (_, _, node) = self.entries.remove(at);
        Some((self.path(name), node))
    }

    /// Takes a field that must be there.
    pub(super) fn need(&mut self, decoder: &mut Decoder<'_>, name: &'static str) -> Option<(String, Node)> {
        let found = self.take(name);
        if found.is_none() {
            decoder.fail(self.place, &self.key, format!("`{name}` is missing"));
        }
        found
    }

    /// Takes all that is left, for mappings with free names.
    pub(super) fn rest(&mut self) -> Vec<(Place, String, Node)> {
        std::mem::take(&mut self.entries)
    }

    /// Says of every field that nobody took that it is unknown.
    pub(super) fn finish(self, decoder: &mut Decoder<'_>) {
        /// Words that are less alike than this are not taken for a slip.
        const ALIKE: f64 = 0.75;
        for (place, name, _) in &self.entries {
            let alike = |known: &&&str| strsim::jaro_winkler(name, known);
            let nearest = self.known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
            let message = match nearest {
                Some(nearest) if alike(&nearest) >= ALIKE => {
                    format!("unknown key; did you mean `{nearest}`?")
                }
                _ => format!("unknown key; known here are {}", self.known.join(", ")),
            };
            decoder.fail(*place, &self.path(name), message);
        }
    }
}
