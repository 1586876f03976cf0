//! From configured paths, patterns and directories to the databases that are there.
//!
//! By `readdir` and `stat` alone: discovery must never open a file. Finding (which may hang) and
//! naming (pure) are apart; a scan that hangs keeps its source as it last was.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::config::Settings;
use crate::config::Source;
use crate::config::Target;
use crate::database::Database;
use crate::database::DatabaseName;
use crate::host::stat;
use crate::sidecar::DatabaseFiles;

mod follow;
mod scan;

pub use follow::Discovery;
pub use follow::Targets;
pub use scan::ScanError;
pub use scan::scan;

/// A file that a source led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file, symlinks resolved; as configured while it is missing.
    pub path: PathBuf,
    /// Device and inode: two names for one file are one database.
    pub identity: Option<(u64, u64)>,
    /// The path from the source's root, from which the name is made.
    pub relative: PathBuf,
    /// The name that the configuration gives.
    pub name: Option<String>,
}

/// What was found for one source.
#[derive(Debug, Clone)]
pub struct FoundIn {
    /// How its databases are watched.
    pub settings: Arc<Settings>,
    /// Its files, in a stable order.
    pub files: Vec<Found>,
}

/// The databases to watch, and what is odd about them.
#[derive(Debug, Default)]
pub struct Assembly {
    /// By name.
    pub databases: Vec<Arc<Database>>,
    /// Files beyond `max_databases`.
    pub left_out: usize,
    /// Hard links: names under which a file is reachable besides the one that is watched. SQLite's
    /// sidecars follow the name, so writers through two of them corrupt the database
    /// (<https://www.sqlite.org/howtocorrupt.html>, 2.5).
    pub hard_links: Vec<(PathBuf, PathBuf)>,
}

/// One unit of scanning: what hangs together when a file system does.
#[derive(Debug)]
pub struct Unit {
    /// The sources, with their place in the configuration.
    pub sources: Vec<(usize, Source)>,
}

/// Cuts a configuration into units: each glob and directory by itself, single files by their directory.
#[must_use]
pub fn units(config: &Config) -> Vec<Unit> {
    let mut by_parent: BTreeMap<PathBuf, Vec<(usize, Source)>> = BTreeMap::new();
    let mut units = Vec::new();
    for (index, source) in config.sources.iter().cloned().enumerate() {
        match &source.target {
            Target::File { path, .. } => {
                let parent = path.parent().map(Path::to_path_buf).unwrap_or_default();
                by_parent.entry(parent).or_default().push((index, source));
            }
            Target::Glob { .. } | Target::Directory { .. } => {
                units.push(Unit { sources: vec![(index, source)] })
            }
        }
    }
    units.extend(by_parent.into_values().map(|sources| Unit { sources }));
    units
}

/// Scans once for the databases of a configuration, for a command that does its work and ends.
#[must_use]
pub fn look_once(config: &Config) -> (Vec<Arc<Database>>, Vec<ScanError>) {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for source in &config.sources {
        let (files, problems) = scan(source);
        errors.extend(problems);
        found.push(FoundIn { settings: Arc::clone(&source.settings), files });
    }
    let assembly = assemble(&found, config.max_databases, config.series_limit);
    (assembly.databases, errors)
}

/// Makes one database of each file, with names that are unique and depend on nothing but the files
/// found and the configuration.
#[must_use]
pub fn assemble(found: &[FoundIn], max_databases: usize, series_limit: usize) -> Assembly {
    let mut assembly = Assembly::default();
    let mut files = one_per_identity(found, &mut assembly.hard_links);
    assembly.left_out = files.len().saturating_sub(max_databases);
    files.truncate(max_databases);
    let names = unique_names(&files.iter().map(|(_, file)| *file).collect::<Vec<_>>());
    let mut databases: Vec<_> = files
        .into_iter()
        .zip(names)
        .map(|((settings, file), name)| {
            Arc::new(Database::new(
                DatabaseName::new(&name),
                file.path.clone(),
                Arc::clone(settings),
                series_limit,
            ))
        })
        .collect();
    databases.sort_by(|a, b| a.name.cmp(&b.name));
    assembly.databases = databases;
    assembly
}

/// Leaves one entry for each file. A name from the configuration wins, then the name that SQLite's
/// sidecars stand beside, then the first.
fn one_per_identity<'a>(
    found: &'a [FoundIn],
    hard_links: &mut Vec<(PathBuf, PathBuf)>,
) -> Vec<(&'a Arc<Settings>, &'a Found)> {
    let mut files: Vec<(&Arc<Settings>, &Found)> = Vec::new();
    let mut by_identity: HashMap<(u64, u64), usize> = HashMap::new();
    let mut by_path: HashMap<&Path, usize> = HashMap::new();
    for entry in found {
        for file in &entry.files {
            let known = by_path
                .get(&*file.path)
                .or_else(|| file.identity.and_then(|identity| by_identity.get(&identity)))
                .copied();
            let Some(known) = known else {
                by_path.insert(&file.path, files.len());
                if let Some(identity) = file.identity {
                    by_identity.insert(identity, files.len());
                }
                files.push((&entry.settings, file));
                continue;
            };
            let kept = files[known].1;
            if kept.path == file.path {
                // The first source to name a file sets its settings, as the first match does in every such list.
                continue;
            }
            let better = file.name.is_some() && kept.name.is_none()
                || kept.name.is_none() && has_sidecar(&file.path) && !has_sidecar(&kept.path);
            if better {
                files[known] = (&entry.settings, file);
            }
            let (watched, other) = if better { (file, kept) } else { (kept, file) };
            hard_links.push((watched.path.clone(), other.path.clone()));
        }
    }
    files
}

fn has_sidecar(path: &Path) -> bool {
    let files = DatabaseFiles::of(path);
    [files.wal.clone(), files.journal()].iter().any(|sidecar| matches!(stat(sidecar), Ok(Some(_))))
}

/// The names of files: the path below the source's root without its extension, and as many parent
/// directories more as tell it from the others. A name from the configuration stands as it is.
fn unique_names(files: &[&Found]) -> Vec<String> {
    let mut levels = vec![0_usize; files.len()];
    loop {
        let names: Vec<String> =
            files.iter().zip(&levels).map(|(file, level)| name_at(file, *level)).collect();
        let mut users: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, name) in names.iter().enumerate() {
            users.entry(name).or_default().push(index);
        }
        let mut moved = false;
        for index in users.into_values().filter(|users| users.len() > 1).flatten() {
            if files[index].name.is_none() && levels[index] <= highest_level(files[index]) {
                levels[index] += 1;
                moved = true;
            }
        }
        if !moved {
            return number_the_same(names);
        }
    }
}

/// Names that only invalid UTF-8 tells apart look the same as text; they are numbered. Two series
/// with one name would make Prometheus refuse the whole scrape.
fn number_the_same(names: Vec<String>) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut numbered = |name: String| {
        let others = (2..).map(|number| format!("{name}#{number}"));
        let free = std::iter::once(name.clone()).chain(others).find(|name| !taken.contains(name));
        let free = free.expect("some number is not taken");
        taken.insert(free.clone());
        free
    };
    names.into_iter().map(&mut numbered).collect()
}

fn highest_level(file: &Found) -> usize {
    file.path.components().count().saturating_sub(file.relative.components().count())
}

/// The name with `level` more parent directories than the relative path has; beyond the root, the
/// whole path with its extension.
fn name_at(file: &Found, level: usize) -> String {
    if let Some(name) = &file.name {
        return name.clone();
    }
    if level > highest_level(file) {
        return file.path.to_string_lossy().into_owned();
    }
    let stem = file.relative.with_extension("");
    let parents: Vec<&OsStr> =
        file.path.parent().into_iter().flat_map(Path::iter).filter(|part| *part != "/").collect();
    let inner = file.relative.iter().count() - 1;
    let end = parents.len().saturating_sub(inner);
    let prefix: PathBuf = parents[end.saturating_sub(level)..end].iter().collect();
    prefix.join(stem).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
