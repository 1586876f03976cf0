//! Errors of a configuration with their places.
//!
//! An error is always printed on one line, whatever the values in it: editors and scripts read
//! `file:line:column: key: message`.

use std::fmt;
use std::path::PathBuf;

/// A place in the configuration file. Ordered as one reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as the user named it; `command line` for arguments.
    pub file: String,
    /// Where in the file; `None` when the file as a whole (or the command line) is at fault.
    pub position: Option<Position>,
    /// The key, such as `databases[2].custom_metrics[0].type`; empty for the file as a whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.position.map(|at| format!("{}:{}:", at.line, at.column)).unwrap_or_default();
        let key = if self.key.is_empty() { String::new() } else { format!(" {}:", self.key) };
        let line = format!("{}:{place}{key} {}", self.file, self.message);
        for character in line.chars() {
            // A quoted value or an odd key may hold a line break or a terminal escape.
            if character.is_control() {
                write!(formatter, "{}", character.escape_default())?;
            } else {
                write!(formatter, "{character}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A directory that the configuration names. Whether it exists is not checked here: the file may be
/// checked on another machine than it is used on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryReference {
    /// The directory.
    pub path: PathBuf,
    pub(super) place: ConfigError,
}

impl DirectoryReference {
    /// A message about the directory with the place of its key, formatted as an error.
    #[must_use]
    pub fn with_message(&self, message: String) -> String {
        ConfigError { message, ..self.place.clone() }.to_string()
    }
}

/// Everything that is wrong with the configuration, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// Sorts the findings by position. One finding that an alias repeats is kept once a key.
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        debug_assert!(!errors.is_empty(), "a refusal has a reason");
        errors.sort_by(|a, b| (a.position, &a.key).cmp(&(b.position, &b.key)));
        errors.dedup();
        Self { errors }
    }

    /// One finding about the file (or the command line) as a whole.
    pub(super) fn whole(file: &str, message: String) -> Self {
        Self::new(vec![ConfigError { file: file.to_owned(), position: None, key: String::new(), message }])
    }

    /// The findings, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
