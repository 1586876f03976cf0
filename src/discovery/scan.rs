//! Walking directories for the files of a source.

use std::ffi::CString;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use globset::GlobMatcher;

use crate::config::DEFAULT_INCLUDE;
use crate::config::Source;
use crate::config::SourceLocation;
use crate::config::compile_pattern;
use crate::config::compile_pattern_ignoring_case;
use crate::database_files::is_companion;
use crate::os::FileKind;
use crate::os::FileStat;
use crate::os::stat;

use super::found::FoundFile;

/// How deep a recursive directory or `**` goes below its root.
const MAX_DEPTH: usize = 16;
/// The most directory entries that one scan reads; a mistake like `/**` must end.
const MAX_ENTRIES: usize = 2_000_000;

/// What kept a scan from finding all files. What was found stands all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ScanError {
    /// A directory could not be read.
    #[error("{}: {message}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// The system's message.
        message: String,
    },
    /// The walk was ended.
    #[error("{}: stopped after {MAX_ENTRIES} directory entries; name a directory nearer to the databases", path.display())]
    TooMany {
        /// Where it began.
        path: PathBuf,
    },
    /// A pattern that does not compile; the configuration refuses these before.
    #[error("{pattern}: {message}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Finds the files of a source, sorted by path, and the errors of what it could not read.
#[must_use]
pub fn scan(source: &Source) -> (Vec<FoundFile>, Vec<ScanError>) {
    let mut scanner = Scanner::default();
    let result = match &source.location {
        SourceLocation::File { path, name } => {
            scanner.files.push(single_file(path, name.as_deref()));
            Ok(())
        }
        SourceLocation::Glob { pattern, exclude } => scanner.glob(pattern, exclude),
        SourceLocation::Directory { path, include, exclude, recursive } => {
            scanner.directory(path, include, exclude, *recursive)
        }
    };
    scanner.errors.extend(result.err());
    scanner.files.sort_by(|a, b| a.path.cmp(&b.path));
    scanner.errors.sort();
    scanner.errors.dedup();
    (scanner.files, scanner.errors)
}

fn single_file(path: &Path, name: Option<&str>) -> FoundFile {
    // A missing file is listed under the configured path, made absolute.
    let resolved = std::fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_path_buf());
    let identity = stat_path(&resolved).map(|stat| (stat.device, stat.inode));
    // The name follows the path that was written, not what a symlink leads to.
    let relative = path.file_name().map_or_else(|| resolved.clone(), PathBuf::from);
    FoundFile { path: resolved, identity, relative, name: name.map(str::to_owned) }
}

fn stat_path(path: &Path) -> Option<FileStat> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    stat(&path).ok().flatten()
}

#[derive(Default)]
struct Scanner {
    files: Vec<FoundFile>,
    errors: Vec<ScanError>,
    entries: usize,
}

/// One step of a pattern.
enum PathStep {
    Literal(PathBuf),
    Matching(GlobMatcher),
    AnyDepth,
}

/// Patterns for file names, and for whole paths where they hold a slash.
struct Filter {
    names: Vec<GlobMatcher>,
    paths: Vec<GlobMatcher>,
}

impl Filter {
    fn new(patterns: &[String]) -> Result<Self, ScanError> {
        let matchers = |with_slash: bool| -> Result<Vec<GlobMatcher>, ScanError> {
            let chosen = patterns.iter().filter(|pattern| pattern.contains('/') == with_slash);
            chosen.map(|pattern| compiled(pattern)).collect()
        };
        Ok(Self { names: matchers(false)?, paths: matchers(true)? })
    }

    /// The patterns of `include`; the default ones find `APP.DB` too.
    fn including(patterns: &[String]) -> Result<Self, ScanError> {
        let mut filter = Self::new(patterns)?;
        for pattern in patterns.iter().filter(|pattern| DEFAULT_INCLUDE.contains(&pattern.as_str())) {
            filter.names.push(compile_pattern_ignoring_case(pattern).map_err(|error| {
                ScanError::Pattern { pattern: pattern.clone(), message: error.to_string() }
            })?);
        }
        Ok(filter)
    }

    fn matches(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.names.iter().any(|pattern| pattern.is_match(name)))
            || self.paths.iter().any(|pattern| pattern.is_match(path))
    }
}

fn compiled(pattern: &str) -> Result<GlobMatcher, ScanError> {
    compile_pattern(pattern)
        .map_err(|error| ScanError::Pattern { pattern: pattern.to_owned(), message: error.to_string() })
}

impl Scanner {
    fn directory(
        &mut self,
        path: &Path,
        include: &[String],
        exclude: &[String],
        recursive: bool,
    ) -> Result<(), ScanError> {
        let names_hidden = include.iter().any(|pattern| pattern.starts_with('.') || pattern.contains("/."));
        let (include, exclude) = (Filter::including(include)?, Filter::new(exclude)?);
        let root = std::fs::canonicalize(path).map_err(|error| directory_error(path, &error))?;
        let depth = if recursive { MAX_DEPTH } else { 0 };
        self.below(&root, depth, &mut |scanner, file| {
            // As in a pattern, a leading dot must be written out: macOS leaves `._app.db` beside
            // `app.db`.
            let is_skipped = !names_hidden && file.file_name().is_some_and(hidden);
            if !is_skipped && include.matches(file) && !exclude.matches(file) {
                scanner.take(file, &root);
            }
        })
    }

    fn glob(&mut self, pattern: &str, exclude: &[String]) -> Result<(), ScanError> {
        let exclude = Filter::new(exclude)?;
        let (root, steps) = steps(pattern)?;
        // Nothing there yet is no error of a pattern: its files may come.
        let Ok(root) = std::fs::canonicalize(&root) else { return Ok(()) };
        self.follow(&root, &steps, &mut |scanner, file| {
            if !exclude.matches(file) {
                scanner.take(file, &root);
            }
        })
    }

    /// Follows the steps of a pattern from `at`.
    fn follow(
        &mut self,
        at: &Path,
        steps: &[PathStep],
        take: &mut dyn FnMut(&mut Self, &Path),
    ) -> Result<(), ScanError> {
        match steps {
            [] => {
                take(self, at);
                Ok(())
            }
            [PathStep::Literal(name), rest @ ..] => {
                let next = at.join(name);
                // A pattern names many places; that one of them lacks the file is normal.
                if stat_path(&next).is_some() { self.follow(&next, rest, take) } else { Ok(()) }
            }
            [PathStep::Matching(matcher), rest @ ..] => {
                for entry in self.read(at)? {
                    let Some(name) = entry.file_name() else { continue };
                    // As in a shell, a leading dot must be written out.
                    if hidden(name) && !matcher.glob().glob().starts_with('.') {
                        continue;
                    }
                    if matcher.is_match(name) && (rest.is_empty() || entry.is_dir()) {
                        self.follow(&entry, rest, take)?;
                    }
                }
                Ok(())
            }
            [PathStep::AnyDepth, rest @ ..] => {
                self.follow_directory(at, rest, take)?;
                let mut directories = Vec::new();
                self.directories_below(at, MAX_DEPTH, &mut directories)?;
                for directory in directories {
                    self.follow_directory(&directory, rest, take)?;
                }
                Ok(())
            }
        }
    }

    /// `**` at the end of a pattern stands for every file, elsewhere for every directory.
    fn follow_directory(
        &mut self,
        at: &Path,
        rest: &[PathStep],
        take: &mut dyn FnMut(&mut Self, &Path),
    ) -> Result<(), ScanError> {
        if !rest.is_empty() {
            return self.follow(at, rest, take);
        }
        for entry in self.read(at)? {
            if !entry.file_name().is_some_and(hidden) {
                take(self, &entry);
            }
        }
        Ok(())
    }

    fn directories_below(
        &mut self,
        at: &Path,
        depth: usize,
        into: &mut Vec<PathBuf>,
    ) -> Result<(), ScanError> {
        for entry in self.read(at)? {
            // Symlinks to directories are not followed: they can lead in circles.
            let is_directory = entry.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            if is_directory && depth > 0 && !entry.file_name().is_some_and(hidden) {
                self.directories_below(&entry, depth - 1, into)?;
                into.push(entry);
            }
        }
        Ok(())
    }

    /// Offers every entry below a directory that is no directory itself.
    fn below(
        &mut self,
        at: &Path,
        depth: usize,
        offer: &mut dyn FnMut(&mut Self, &Path),
    ) -> Result<(), ScanError> {
        let mut directories = Vec::new();
        if depth > 0 {
            self.directories_below(at, depth - 1, &mut directories)?;
        }
        for entry in self.read(at)? {
            offer(self, &entry);
        }
        for directory in directories {
            for entry in self.read(&directory)? {
                offer(self, &entry);
            }
        }
        Ok(())
    }

    /// Reads a directory. One that cannot be read is noted and counts as empty; only the limit ends
    /// the walk.
    fn read(&mut self, directory: &Path) -> Result<Vec<PathBuf>, ScanError> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                self.errors.push(directory_error(directory, &error));
                return Ok(Vec::new());
            }
        };
        let mut paths = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => paths.push(entry.path()),
                Err(error) => self.errors.push(directory_error(directory, &error)),
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(ScanError::TooMany { path: directory.to_path_buf() });
            }
        }
        Ok(paths)
    }

    /// Takes a file that a pattern matched, unless it is a companion file or a directory.
    fn take(&mut self, path: &Path, root: &Path) {
        if is_companion(path) {
            return;
        }
        // A symlink's target may be gone, or the file itself since the directory was read.
        let Some(stat) = stat_path(path) else { return };
        if stat.kind == FileKind::Directory {
            return;
        }
        let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        let resolved = if is_link { std::fs::canonicalize(path).ok() } else { None };
        self.files.push(FoundFile {
            path: resolved.unwrap_or_else(|| path.to_path_buf()),
            identity: Some((stat.device, stat.inode)),
            relative: path.strip_prefix(root).unwrap_or(path).to_path_buf(),
            name: None,
        });
    }
}

fn hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

fn directory_error(path: &Path, error: &io::Error) -> ScanError {
    ScanError::Directory { path: path.to_path_buf(), message: error.to_string() }
}

/// Cuts a pattern into its root, the part up to the first wildcard, and the steps below it.
fn steps(pattern: &str) -> Result<(PathBuf, Vec<PathStep>), ScanError> {
    let mut root = PathBuf::new();
    let mut steps = Vec::new();
    for component in Path::new(pattern).components() {
        let text = component.as_os_str().to_str().unwrap_or_default();
        let wild = matches!(component, Component::Normal(_)) && text.contains(['*', '?', '[', '{']);
        match (wild, text) {
            (true, "**") => steps.push(PathStep::AnyDepth),
            (true, _) => steps.push(PathStep::Matching(compiled(text)?)),
            (false, _) if steps.is_empty() => root.push(component),
            (false, _) => steps.push(PathStep::Literal(PathBuf::from(component.as_os_str()))),
        }
    }
    if root.as_os_str().is_empty() {
        root.push(".");
    }
    Ok((root, steps))
}
