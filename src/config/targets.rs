//! A configuration from the command line alone: `litekeeper serve app.db 'tenants/*.db' /srv/more`.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use super::Config;
use super::DEFAULT_INCLUDE;
use super::Settings;
use super::Source;
use super::Target;

impl Config {
    /// The defaults, for the files, directories and patterns named. What is there is taken as it
    /// is, so a file called `a[1].db` is no pattern; what is not there is a pattern if it has a wildcard.
    #[must_use]
    pub fn for_targets(targets: &[PathBuf], row_counts: &[String]) -> Self {
        let settings = Arc::new(Settings { row_counts: row_counts.to_vec(), ..Settings::default() });
        let source = |path: &PathBuf| Source { target: target(path), settings: Arc::clone(&settings) };
        Self { sources: targets.iter().map(source).collect(), ..Self::default() }
    }
}

fn target(path: &Path) -> Target {
    let is_pattern = path.to_str().filter(|text| text.contains(['*', '?', '[', '{']));
    match (path.is_dir(), path.exists(), is_pattern) {
        (true, _, _) => Target::Directory {
            path: path.to_path_buf(),
            include: DEFAULT_INCLUDE.map(str::to_owned).to_vec(),
            exclude: Vec::new(),
            recursive: false,
        },
        (false, false, Some(pattern)) => Target::Glob { pattern: pattern.to_owned(), exclude: Vec::new() },
        (false, _, _) => Target::File { path: path.to_path_buf(), name: None },
    }
}
