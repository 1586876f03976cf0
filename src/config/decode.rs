//! Reads typed values out of a tree and collects errors.
//!
//! A method returns the value, or `None` after it has noted an error with its place. Reading goes
//! on with the next key, so that all errors are reported at once. This file knows types, never a
//! key of the configuration.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::config::environment::Environment;
use crate::config::environment::expand;
use crate::config::error::ConfigError;
use crate::config::error::DirectoryReference;
use crate::config::error::Position;
use crate::config::messages::closest;
use crate::config::messages::listing;
use crate::config::messages::quoted;
use crate::config::renamed::new_name;
use crate::config::tree::Node;
use crate::config::tree::Tree;
use crate::config::units::format_duration;
use crate::config::units::parse_bytes;
use crate::config::units::parse_duration;

/// Collects errors while a tree is read.
pub(super) struct Decoder<'d> {
    file: &'d str,
    /// `None` for a format without variables, where a `$` stands for itself.
    environment: Option<Environment<'d>>,
    errors: Vec<ConfigError>,
    /// Directories that must exist when they are used, whichever user and machine reads the file.
    directories: Vec<DirectoryReference>,
}

/// A value and the key under which it stands.
#[derive(Debug, Clone)]
pub(super) struct Value<'t> {
    /// The node.
    pub tree: &'t Tree,
    /// The whole key, such as `databases[0].path`.
    pub key: String,
}

/// A mapping whose keys are the configuration's.
pub(super) struct Fields<'t> {
    /// Where the mapping begins.
    pub position: Position,
    /// The mapping's own key.
    pub key: String,
    values: BTreeMap<&'t str, (Position, &'t Tree)>,
    /// Keys that an unknown one was probably meant to be.
    meant: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// A mapping without any key, for a value that stands for its defaults.
    pub fn empty(value: &Value<'t>) -> Self {
        let (position, key) = (value.tree.position, value.key.clone());
        Self { position, key, values: BTreeMap::new(), meant: Vec::new() }
    }

    /// The value of a key, if it is there.
    pub fn find(&self, name: &str) -> Option<Value<'t>> {
        self.values.get(name).map(|(_, tree)| Value { tree, key: child(&self.key, name) })
    }

    /// The value of a key that may be left out. A key with `null` or without a value counts as left
    /// out.
    pub fn given(&self, name: &str) -> Option<Value<'t>> {
        self.find(name).filter(|value| !matches!(value.tree.node, Node::Null))
    }

    /// Where a key stands, if it does.
    pub fn key_position(&self, name: &str) -> Option<Position> {
        self.values.get(name).map(|(position, _)| *position)
    }

    /// Where a field's value stands; without the field, where the mapping does.
    pub fn position_of(&self, name: &str) -> Position {
        self.values.get(name).map_or(self.position, |(_, tree)| tree.position)
    }

    /// Whether a key is there, or an unknown one that was probably meant to be it. A typo is one
    /// error, not one for the unknown key and one for the missing.
    pub fn intends(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.meant.contains(&name)
    }

    /// The whole key of a field.
    pub fn child(&self, name: &str) -> String {
        child(&self.key, name)
    }
}

fn child(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

impl<'d> Decoder<'d> {
    /// A decoder without findings, for errors in `file`.
    pub fn new(file: &'d str, environment: Environment<'d>) -> Self {
        Self { file, environment: Some(environment), errors: Vec::new(), directories: Vec::new() }
    }

    /// A decoder for a format that knows no variables.
    pub fn verbatim(file: &'d str) -> Self {
        Self { file, environment: None, errors: Vec::new(), directories: Vec::new() }
    }

    /// Whether anything was noted yet.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// How many errors were noted so far.
    pub fn error_count(&self) -> usize {
        self.errors.len()
    }

    /// Reads what is read elsewhere too, where its errors are noted.
    pub fn without_notes<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.errors.len();
        let value = read(self);
        self.errors.truncate(before);
        value
    }

    /// Everything that was noted.
    pub fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }

    /// Notes a directory that a value names.
    pub fn directory(&mut self, value: &Value<'_>, path: &Path) {
        let place = ConfigError {
            file: self.file.to_owned(),
            position: Some(value.tree.position),
            key: value.key.clone(),
            message: String::new(),
        };
        self.directories.push(DirectoryReference { path: path.to_owned(), place });
    }

    /// The directories that were noted.
    pub fn take_directories(&mut self) -> Vec<DirectoryReference> {
        std::mem::take(&mut self.directories)
    }

    /// Notes an error.
    pub fn refuse(&mut self, position: Position, key: &str, message: impl Into<String>) {
        let (file, key, message) = (self.file.to_owned(), key.to_owned(), message.into());
        self.errors.push(ConfigError { file, position: Some(position), key, message });
    }

    /// Notes an error at a value.
    pub fn refuse_value(&mut self, value: &Value<'_>, message: impl Into<String>) {
        self.refuse(value.tree.position, &value.key, message);
    }

    /// A mapping with the given keys. Unknown and duplicate keys are noted.
    pub fn fields<'t>(&mut self, value: &Value<'t>, known: &[&'static str]) -> Option<Fields<'t>> {
        let entries = self.entries(value)?;
        let (position, key) = (value.tree.position, value.key.clone());
        let mut fields = Fields { position, key, values: BTreeMap::new(), meant: Vec::new() };
        for (name, position, tree) in entries {
            if known.contains(&name) {
                fields.values.insert(name, (position, tree));
                continue;
            }
            let renamed = new_name(name, known);
            let guess = renamed.or_else(|| closest(name, known.iter().copied()));
            fields.meant.extend(guess);
            let message = match guess {
                Some(new) if renamed.is_some() => format!("unknown key; it is now called `{new}`"),
                Some(guess) => format!("unknown key; did you mean `{guess}`?"),
                None => format!("unknown key; the keys here are {}", listing(known)),
            };
            self.refuse(position, &child(&value.key, name), message);
        }
        Some(fields)
    }

    /// A mapping with keys of the user's choice: each key, its position and its value. Duplicates
    /// are noted, and the first one counts.
    pub fn entries<'t>(&mut self, value: &Value<'t>) -> Option<Vec<(&'t str, Position, &'t Tree)>> {
        let Node::Mapping(entries) = &value.tree.node else {
            self.refuse_kind(value, "a mapping of keys to values");
            return None;
        };
        let mut lines: BTreeMap<&str, u64> = BTreeMap::new();
        let mut found = Vec::with_capacity(entries.len());
        for (key, tree) in entries {
            let Node::Scalar(name) = &key.node else {
                let message = format!("a key must be text, not {}", kind(&key.node));
                self.refuse(key.position, &value.key, message);
                continue;
            };
            if let Some(line) = lines.get(name.as_str()) {
                let message = format!("duplicate key; it is already on line {line}");
                self.refuse(key.position, &child(&value.key, name), message);
                continue;
            }
            lines.insert(name, key.position.line);
            found.push((name.as_str(), key.position, tree));
        }
        Some(found)
    }

    /// A key that must be there.
    pub fn require<'t>(&mut self, fields: &Fields<'t>, name: &str, example: &str) -> Option<Value<'t>> {
        let value = fields.find(name);
        if !fields.intends(name) {
            self.refuse(fields.position, &fields.child(name), format!("missing key; write `{example}`"));
        }
        value
    }

    /// A list.
    pub fn items<'t>(&mut self, value: &Value<'t>) -> Option<Vec<Value<'t>>> {
        let Node::Sequence(items) = &value.tree.node else {
            self.refuse_kind(value, "a list");
            return None;
        };
        let item = |(index, tree)| Value { tree, key: format!("{}[{index}]", value.key) };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// A scalar with its environment variables expanded.
    pub fn scalar<'t>(&mut self, value: &Value<'t>) -> Option<Cow<'t, str>> {
        let Node::Scalar(text) = &value.tree.node else {
            self.refuse_kind(value, "a single value");
            return None;
        };
        let Some(environment) = self.environment else { return Some(Cow::Borrowed(text)) };
        match expand(text, environment) {
            Ok(text) => Some(text),
            Err(problems) => {
                for problem in problems {
                    self.refuse_value(value, problem);
                }
                None
            }
        }
    }

    /// A text that is not blank.
    pub fn text(&mut self, value: &Value<'_>) -> Option<String> {
        let text = self.scalar(value)?;
        if text.trim().is_empty() {
            self.refuse_value(value, "must not be empty");
            return None;
        }
        Some(text.into_owned())
    }

    /// A list of texts that are not blank.
    pub fn texts(&mut self, value: &Value<'_>) -> Option<Vec<String>> {
        let items = self.items(value)?;
        let count = items.len();
        let texts: Vec<String> = items.iter().filter_map(|item| self.text(item)).collect();
        (texts.len() == count).then_some(texts)
    }

    /// A duration within bounds.
    pub fn duration(&mut self, value: &Value<'_>, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.scalar(value)?;
        let duration = match parse_duration(&text) {
            Ok(duration) => duration,
            Err(problem) => {
                self.refuse_value(value, problem.to_string());
                return None;
            }
        };
        if bounds.contains(&duration) {
            return Some(duration);
        }
        let (least, most) = (format_duration(*bounds.start()), format_duration(*bounds.end()));
        self.refuse_value(value, format!("must be from {least} to {most}, not {}", quoted(&text)));
        None
    }

    /// A whole number within bounds.
    pub fn number<N: FromStr + PartialOrd + Display>(
        &mut self,
        value: &Value<'_>,
        bounds: RangeInclusive<N>,
    ) -> Option<N> {
        let text = self.scalar(value)?;
        match text.parse() {
            Ok(number) if bounds.contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let (least, most) = (bounds.start(), bounds.end());
                let message = format!("must be a whole number from {least} to {most}, not {}", quoted(&text));
                self.refuse_value(value, message);
                None
            }
        }
    }

    /// A number of bytes, plain or with a unit.
    pub fn bytes(&mut self, value: &Value<'_>) -> Option<u64> {
        let text = self.scalar(value)?;
        match parse_bytes(&text) {
            Ok(bytes) => Some(bytes),
            Err(problem) => {
                self.refuse_value(value, problem.to_string());
                None
            }
        }
    }

    /// A number that need not be whole, within bounds.
    pub fn fraction(&mut self, value: &Value<'_>, bounds: RangeInclusive<f64>) -> Option<f64> {
        let text = self.scalar(value)?;
        match text.parse() {
            Ok(number) if bounds.contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let (least, most) = (bounds.start(), bounds.end());
                let message = format!("must be a number from {least} to {most}, not {}", quoted(&text));
                self.refuse_value(value, message);
                None
            }
        }
    }

    /// A value that its own type parses.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, value: &Value<'_>) -> Option<T> {
        let text = self.scalar(value)?;
        text.parse().map_err(|problem: T::Err| self.refuse_value(value, problem.to_string())).ok()
    }

    /// A variable of the environment.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.environment.and_then(|environment| environment(name))
    }

    /// A switch: on, off, true or false.
    pub fn switch(&mut self, value: &Value<'_>) -> Option<bool> {
        self.choice(
            value,
            &[("on", true), ("off", false), ("true", true), ("false", false), ("yes", true), ("no", false)],
        )
    }

    /// One of the given words.
    pub fn choice<T: Copy>(&mut self, value: &Value<'_>, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.scalar(value)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let guess = closest(&text, known.iter().copied());
            let hint = guess.map(|guess| format!("; did you mean `{guess}`?")).unwrap_or_default();
            let message = format!("must be one of {}, not {}{hint}", listing(&known), quoted(&text));
            self.refuse_value(value, message);
        }
        found.map(|(_, meaning)| *meaning)
    }

    fn refuse_kind(&mut self, value: &Value<'_>, wanted: &str) {
        let message = match &value.tree.node {
            Node::Null => format!("has no value; it must be {wanted}"),
            Node::Scalar(text) => format!("must be {wanted}, not the text {}", quoted(text)),
            Node::Sequence(_) | Node::Mapping(_) => {
                format!("must be {wanted}, not {}", kind(&value.tree.node))
            }
        };
        self.refuse_value(value, message);
    }
}

fn kind(node: &Node) -> &'static str {
    match node {
        Node::Null => "nothing",
        Node::Scalar(_) => "text",
        Node::Sequence(_) => "a list",
        Node::Mapping(_) => "a mapping",
    }
}
