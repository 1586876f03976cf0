//! From the files that scans found to databases with unique names. Naming is pure; only the checks
//! for hard links and mounts ask the file system.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::config::DatabaseSettings;
use crate::config::Source;
use crate::config::SourceLocation;
use crate::database::Database;
use crate::database::DatabaseName;
use crate::database_files::DatabaseFiles;
use crate::os::is_mounted_alone;
use crate::os::stat;

use super::found::FoundFile;
use super::names::GivenNames;
use super::names::unique_names;
use super::scan::ScanError;
use super::scan::scan;

/// What was found for one source.
#[derive(Debug, Clone)]
pub struct FoundFiles {
    /// How its databases are watched.
    pub settings: Arc<DatabaseSettings>,
    /// Its files, in a stable order.
    pub files: Vec<FoundFile>,
}

/// The databases to watch, and what is odd about them.
#[derive(Debug, Default)]
pub struct DiscoveryResult {
    /// By name.
    pub databases: Vec<Arc<Database>>,
    /// Files beyond `max_databases`.
    pub left_out: usize,
    /// Hard links: names under which a file is reachable besides the one that is watched. SQLite's
    /// companion files follow the name, so writers through two of them corrupt the database
    /// (<https://www.sqlite.org/howtocorrupt.html>, 2.5).
    pub hard_links: Vec<(PathBuf, PathBuf)>,
    /// Files that are a mount by themselves, so that their `-wal` and `-journal` are not visible
    /// here.
    pub mounted_alone: Vec<PathBuf>,
    /// The names that files got without the configuration giving one, to be kept.
    pub given_names: GivenNames,
}

/// One unit of scanning: what hangs together when a file system does.
#[derive(Debug)]
pub struct ScanTarget {
    /// The sources, with their place in the configuration.
    pub sources: Vec<(usize, Source)>,
}

/// Cuts a configuration into units: each glob and directory by itself, single files by their
/// directory.
#[must_use]
pub fn scan_targets(config: &Config) -> Vec<ScanTarget> {
    let mut by_parent: BTreeMap<PathBuf, Vec<(usize, Source)>> = BTreeMap::new();
    let mut scan_targets = Vec::new();
    for (index, source) in config.sources.iter().cloned().enumerate() {
        match &source.location {
            SourceLocation::File { path, .. } => {
                let parent = path.parent().map(Path::to_path_buf).unwrap_or_default();
                by_parent.entry(parent).or_default().push((index, source));
            }
            SourceLocation::Glob { .. } | SourceLocation::Directory { .. } => {
                scan_targets.push(ScanTarget { sources: vec![(index, source)] })
            }
        }
    }
    scan_targets.extend(by_parent.into_values().map(|sources| ScanTarget { sources }));
    scan_targets
}

/// Scans once for the databases of a configuration, for a command that does its work and ends.
/// `given_names` are those of the agent's state file, so that a command and the agent name a
/// database alike.
#[must_use]
pub fn discover_once(config: &Config, given_names: &GivenNames) -> (Vec<Arc<Database>>, Vec<ScanError>) {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for source in &config.sources {
        let (files, problems) = scan(source);
        errors.extend(problems);
        found.push(FoundFiles { settings: Arc::clone(&source.settings), files });
    }
    let result = assemble(&found, config.max_databases, config.series_limit, given_names);
    (result.databases, errors)
}

/// Makes one database of each file, with unique names. A file keeps the name in `given_names`; the
/// names of the others depend on nothing but the files found and the configuration.
#[must_use]
pub fn assemble(
    found: &[FoundFiles],
    max_databases: usize,
    series_limit: usize,
    given_names: &GivenNames,
) -> DiscoveryResult {
    let mut result = DiscoveryResult::default();
    let mut files = one_per_identity(found, &mut result.hard_links);
    result.left_out = files.len().saturating_sub(max_databases);
    files.truncate(max_databases);
    let only_files: Vec<&FoundFile> = files.iter().map(|(_, file)| *file).collect();
    let names = unique_names(&only_files, given_names);
    result.given_names = GivenNames::of(&only_files, &names);
    result.mounted_alone =
        only_files.iter().filter(|file| has_own_mount(&file.path)).map(|file| file.path.clone()).collect();
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
    result.databases = databases;
    result
}

/// Leaves one entry for each file. A name from the configuration wins, then the name that SQLite's
/// companion files stand beside, then the first.
fn one_per_identity<'a>(
    found: &'a [FoundFiles],
    hard_links: &mut Vec<(PathBuf, PathBuf)>,
) -> Vec<(&'a Arc<DatabaseSettings>, &'a FoundFile)> {
    let mut files: Vec<(&Arc<DatabaseSettings>, &FoundFile)> = Vec::new();
    let mut by_identity: HashMap<(u64, u64), usize> = HashMap::new();
    let mut by_path: HashMap<&Path, usize> = HashMap::new();
    for entry in found {
        for file in &entry.files {
            let existing = by_path
                .get(&*file.path)
                .or_else(|| file.identity.and_then(|identity| by_identity.get(&identity)))
                .copied();
            let Some(existing) = existing else {
                by_path.insert(&file.path, files.len());
                if let Some(identity) = file.identity {
                    by_identity.insert(identity, files.len());
                }
                files.push((&entry.settings, file));
                continue;
            };
            let kept = files[existing].1;
            if kept.path == file.path {
                // The first source to name a file sets its settings, as the first match does in
                // every such list.
                continue;
            }
            let better = file.name.is_some() && kept.name.is_none()
                || kept.name.is_none() && has_companion(&file.path) && !has_companion(&kept.path);
            if better {
                files[existing] = (&entry.settings, file);
            }
            if is_same_directory_entry(&file.path, &kept.path) {
                continue;
            }
            let (watched, other) = if better { (file, kept) } else { (kept, file) };
            hard_links.push((watched.path.clone(), other.path.clone()));
        }
    }
    files
}

/// Whether two paths are one entry of one directory, which is then mounted at two places: the files
/// that SQLite keeps beside the database are the same under both.
fn is_same_directory_entry(a: &Path, b: &Path) -> bool {
    let identity_of_parent = |path: &Path| {
        let parent = CString::new(path.parent()?.as_os_str().as_bytes()).ok()?;
        stat(&parent).ok().flatten().map(|stat| stat.identity())
    };
    a.file_name() == b.file_name()
        && identity_of_parent(a).is_some_and(|identity| identity_of_parent(b) == Some(identity))
}

fn has_own_mount(path: &Path) -> bool {
    CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| is_mounted_alone(&path))
}

fn has_companion(path: &Path) -> bool {
    let files = DatabaseFiles::of(path);
    [files.wal.clone(), files.journal()].iter().any(|companion| matches!(stat(companion), Ok(Some(_))))
}
