//! Where a configuration comes from: a file, a text, or the arguments of `litekeeper serve`.
//!
//! The one file that is read here is the configuration. A database file must never be opened and
//! closed like this: closing it drops the POSIX locks that SQLite holds on it in this process.

use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::agent::Config;
use crate::config::agent::StateLocation;
use crate::config::databases::DatabaseSettings;
use crate::config::decode::Decoder;
use crate::config::environment::Environment;
use crate::config::error::ConfigError;
use crate::config::error::ConfigErrors;
use crate::config::error::DirectoryReference;
use crate::config::location::DEFAULT_INCLUDE;
use crate::config::location::SourceLocation;
use crate::config::paths::companion_of;
use crate::config::paths::companion_problem;
use crate::config::paths::has_wildcard;
use crate::config::paths::pattern_problem;
use crate::config::paths::resolve_pattern;
use crate::config::sources::Source;
use crate::config::tasks::Tasks;
use crate::config::tree;
use crate::config::tree::MAX_FILE_BYTES;
use crate::config::tree::Tree;
use crate::config::web_config::WebConfig;
use crate::config::web_config::read_web;

/// What stands in an error in place of a file's name when an argument is at fault.
const COMMAND_LINE: &str = "command line";

impl Config {
    /// Reads a configuration file, with the environment of the process. Relative paths in it are
    /// below its directory.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or that it cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with_directories(path).map(|(config, _)| config)
    }

    /// The same, with the directories that must be there when a task runs, in the order of the
    /// file.
    ///
    /// # Errors
    /// As those of [`Config::load`].
    pub fn load_with_directories(path: &Path) -> Result<(Self, Vec<DirectoryReference>), ConfigErrors> {
        let file = path.display().to_string();
        let text = read_file(path).map_err(|problem| ConfigErrors::whole(&file, problem))?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let base = absolute.parent().unwrap_or(Path::new(""));
        parse(&text, &file, base, &|name| std::env::var(name).ok())
    }

    /// Reads the text of a configuration file called `file`: errors are about that name, and
    /// relative paths are below its directory, which is not made absolute.
    ///
    /// # Errors
    /// Everything that is wrong with the text, in its order.
    pub fn parse(
        text: &str,
        file: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let base = Path::new(file).parent().unwrap_or(Path::new(""));
        parse(text, file, base, environment).map(|(config, _)| config)
    }

    /// The configuration of `litekeeper serve TARGET…`, without a file. A target is a directory or
    /// file that exists, else a pattern if it has a wildcard, else a file that may come later.
    /// Patterns in `row_counts` name the tables that are counted in all of them (`all` for every
    /// table).
    ///
    /// A shell's wildcard also names the `-wal` and `-shm` files: they are passed over beside their
    /// main file, and so is a target that is named twice.
    ///
    /// # Errors
    /// No target, a malformed pattern, or a companion file without its main file.
    pub fn for_targets(targets: &[PathBuf], row_counts: &[String]) -> Result<Self, ConfigErrors> {
        let all = row_counts.iter().any(|pattern| pattern == "all");
        let row_counts = if all { vec!["*".to_owned()] } else { row_counts.to_vec() };
        // Without a configuration nothing is written, so the only task is the one that reads.
        let tasks = Tasks::health_check_only();
        let settings = Arc::new(DatabaseSettings { row_counts, tasks, ..DatabaseSettings::default() });
        let mut sources: Vec<Source> = Vec::new();
        let mut errors = Vec::new();
        for argument in targets {
            let path = std::path::absolute(argument).unwrap_or_else(|_| argument.clone());
            if let Some((main, _)) = companion_of(&path)
                && targets.iter().any(|other| names(other, &main))
            {
                continue;
            }
            match location(argument, path) {
                Ok(location) if sources.iter().any(|source| source.location == location) => {}
                Ok(location) => sources.push(Source { location, settings: Arc::clone(&settings) }),
                Err(message) => {
                    let (file, key) = (COMMAND_LINE.to_owned(), argument.display().to_string());
                    errors.push(ConfigError { file, position: None, key, message });
                }
            }
        }
        if !errors.is_empty() {
            return Err(ConfigErrors::new(errors));
        }
        if sources.is_empty() {
            let message = "names no database; give a file, a directory, a pattern or a configuration file";
            return Err(ConfigErrors::whole(COMMAND_LINE, message.to_owned()));
        }
        let mut config = Self::with_sources(sources);
        config.maintenance.state = StateLocation::Memory;
        Ok(config)
    }
}

impl WebConfig {
    /// Reads a web configuration file. Relative paths in it are below its directory, as other
    /// exporters have it.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or that it cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let file = path.display().to_string();
        let text = read_file(path).map_err(|problem| ConfigErrors::whole(&file, problem))?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let base = absolute.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &file, base)
    }

    /// Reads the text of a web configuration file called `file`, with paths below `base`.
    ///
    /// # Errors
    /// Everything that is wrong with the text, in its order.
    pub fn parse(text: &str, file: &str, base: &Path) -> Result<Self, ConfigErrors> {
        // A hash is full of dollar signs, and the format knows no variables.
        let mut decoder = Decoder::verbatim(file);
        let config = read_web(&tree_of(text, file)?, base, &mut decoder);
        let errors = decoder.into_errors();
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors::new(errors)) }
    }
}

/// Whether an argument names the given absolute path.
fn names(argument: &Path, path: &Path) -> bool {
    std::path::absolute(argument).is_ok_and(|absolute| absolute == path)
}

fn location(argument: &Path, path: PathBuf) -> Result<SourceLocation, String> {
    if path.is_dir() {
        let include = DEFAULT_INCLUDE.map(str::to_owned).to_vec();
        return Ok(SourceLocation::Directory { path, include, exclude: Vec::new(), recursive: false });
    }
    // A file may be called `a[1].db`: what exists is what was meant.
    if !path.exists()
        && let Some(pattern) = argument.to_str().filter(|text| has_wildcard(text))
    {
        return match pattern_problem(pattern) {
            Some(problem) => Err(problem),
            None => Ok(SourceLocation::Glob { pattern: absolute_pattern(pattern), exclude: Vec::new() }),
        };
    }
    match companion_problem(&path) {
        Some(problem) => Err(problem),
        None => Ok(SourceLocation::File { path, name: None }),
    }
}

fn absolute_pattern(pattern: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    resolve_pattern(&here, pattern)
}

fn parse(
    text: &str,
    file: &str,
    base: &Path,
    environment: Environment<'_>,
) -> Result<(Config, Vec<DirectoryReference>), ConfigErrors> {
    let tree = tree_of(text, file)?;
    let mut decoder = Decoder::new(file, environment);
    let config = Config::read_file(&tree, base, &mut decoder);
    let directories = decoder.take_directories();
    let errors = decoder.into_errors();
    match config {
        Some(config) if errors.is_empty() => Ok((config, directories)),
        Some(_) | None => Err(ConfigErrors::new(errors)),
    }
}

fn tree_of(text: &str, file: &str) -> Result<Tree, ConfigErrors> {
    if text.len() > MAX_FILE_BYTES {
        return Err(ConfigErrors::whole(file, too_large(text.len() as u64)));
    }
    tree::parse(text).map_err(|error| {
        let (file, key, message) =
            (file.to_owned(), String::new(), format!("is not valid YAML: {}", error.message));
        ConfigErrors::new(vec![ConfigError { file, position: error.position, key, message }])
    })
}

fn too_large(bytes: u64) -> String {
    format!("is too large: {bytes} bytes, of at most {MAX_FILE_BYTES}; is it a configuration?")
}

/// Reads a file. No other function of this module does.
fn read_file(path: &Path) -> Result<String, String> {
    let describe = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidData => "is not UTF-8 text; is it a configuration file?".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let metadata = std::fs::metadata(path).map_err(describe)?;
    if metadata.is_dir() {
        return Err("is a directory; name the configuration file in it".to_owned());
    }
    // Before the read, so that a wrong argument does not fill the memory.
    if metadata.len() > MAX_FILE_BYTES as u64 {
        return Err(too_large(metadata.len()));
    }
    // A SQLite file begins with this name; one that is named by mistake must be refused unread,
    // since closing it would drop the locks of a connection to it. Its name is the only thing to go
    // by.
    if path.extension().and_then(OsStr::to_str).is_some_and(is_database_extension) {
        return Err("has the name of a database; name a YAML file, or pass databases as targets".to_owned());
    }
    #[expect(clippy::disallowed_methods, reason = "a configuration, which no SQLite connection has open")]
    let text = std::fs::read_to_string(path);
    text.map_err(describe)
}

fn is_database_extension(extension: &str) -> bool {
    DEFAULT_INCLUDE.iter().any(|pattern| pattern.strip_prefix("*.") == Some(extension))
}
