//! The names of databases: unique, and stable while files come and go.
//!
//! A name is a label of every series, so a file keeps the one it has: a copy that somebody puts
//! beside it takes another. Only where the configuration itself gives a name, or names files from
//! another root, does a name change.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;

use super::found::FoundFile;

/// The name that a file got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenName {
    /// The name that the file would have if it were alone; where that changes, the configuration
    /// names files in another way now, and the name is made anew.
    pub base: String,
    /// The name.
    pub name: String,
}

/// The names that files got, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenNames(pub HashMap<PathBuf, GivenName>);

/// Keeps the names over restarts.
pub trait NameStore: Send + Sync + std::fmt::Debug {
    /// The names that were kept; none where they cannot be read, which the store reports.
    fn load_names(&self) -> GivenNames;
    /// Keeps names, beside those of files that are not there at the moment.
    fn store_names(&self, names: &GivenNames);
}

impl FromIterator<(PathBuf, GivenName)> for GivenNames {
    fn from_iter<I: IntoIterator<Item = (PathBuf, GivenName)>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl GivenNames {
    /// The names of files that the configuration does not name.
    pub(super) fn of(files: &[&FoundFile], names: &[String]) -> Self {
        let unnamed = files.iter().zip(names).filter(|(file, _)| file.name.is_none());
        let given = unnamed.map(|(file, name)| {
            (file.path.clone(), GivenName { base: name_at(file, 0), name: name.clone() })
        });
        Self(given.collect())
    }

    /// The name that a file keeps.
    fn kept(&self, file: &FoundFile) -> Option<&str> {
        let given = self.0.get(&file.path).filter(|_| file.name.is_none())?;
        (given.base == name_at(file, 0)).then_some(&*given.name)
    }
}

/// The names of files: the path below the source's root without its extension, and as many parent
/// more directories as distinguish it from the others. A name from the configuration stands as it
/// is, and so does one that the file already has, unless the configuration now gives it to another.
pub(super) fn unique_names(files: &[&FoundFile], given_names: &GivenNames) -> Vec<String> {
    let configured: HashSet<&str> = files.iter().filter_map(|file| file.name.as_deref()).collect();
    let mut kept_names = HashSet::new();
    let kept: Vec<Option<&str>> = files
        .iter()
        .map(|file| {
            let name = given_names.kept(file).filter(|name| !configured.contains(name))?;
            kept_names.insert(name).then_some(name)
        })
        .collect();
    let mut levels = vec![0_usize; files.len()];
    loop {
        let names: Vec<String> = files
            .iter()
            .zip(&levels)
            .zip(&kept)
            .map(|((file, level), kept)| kept.map_or_else(|| name_at(file, *level), str::to_owned))
            .collect();
        let mut users: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, name) in names.iter().enumerate() {
            users.entry(name).or_default().push(index);
        }
        let mut moved = false;
        for index in users.into_values().filter(|users| users.len() > 1).flatten() {
            let is_fixed = files[index].name.is_some() || kept[index].is_some();
            if !is_fixed && levels[index] <= highest_level(files[index]) {
                levels[index] += 1;
                moved = true;
            }
        }
        if !moved {
            return disambiguate(names, &kept_names);
        }
    }
}

/// Names that differ only in invalid UTF-8 are equal as text; they are numbered. Two series
/// with one name would make Prometheus refuse the whole scrape.
fn disambiguate(names: Vec<String>, kept: &HashSet<&str>) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut numbered = |name: String| {
        let others = (2..).map(|number| format!("{name}#{number}")).filter(|name| !kept.contains(&**name));
        let free = std::iter::once(name.clone()).chain(others).find(|name| !taken.contains(name));
        let free = free.expect("some number is not taken");
        taken.insert(free.clone());
        free
    };
    names.into_iter().map(&mut numbered).collect()
}

fn highest_level(file: &FoundFile) -> usize {
    file.path.components().count().saturating_sub(file.relative.components().count())
}

/// The name with `level` more parent directories than the relative path has; beyond the root, the
/// whole path with its extension.
fn name_at(file: &FoundFile, level: usize) -> String {
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
