//! Finds import circles between the files of a module.
//!
//! A file uses another if it names a path into it. A path through a re-export leads to the file of the item, and the
//! re-export itself is not a use, so that a `mod.rs` may offer what its files define.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::Source;

/// Module path of a file, such as `["http", "pages"]` for `http/pages/mod.rs`.
type ModulePath = Vec<String>;

/// The files of each circle; none when there is no circle.
pub(super) fn circles(sources: &[Source]) -> Vec<Vec<String>> {
    let files: BTreeMap<ModulePath, &Source> =
        sources.iter().map(|source| (module_path(&source.path), source)).collect();
    let uses: BTreeMap<&ModulePath, BTreeSet<ModulePath>> =
        files.iter().map(|(path, source)| (path, used_files(&files, path, &source.text))).collect();
    let reach: BTreeMap<&ModulePath, BTreeSet<ModulePath>> =
        files.keys().map(|path| (path, reachable(&uses, path))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for path in files.keys().filter(|path| reach[path].contains(*path)) {
        let members =
            files.keys().filter(|other| reach[path].contains(*other) && reach[other].contains(path));
        let mut members: Vec<String> = members.map(|member| files[member].path.clone()).collect();
        members.sort();
        found.insert(members);
    }
    found.into_iter().collect()
}

fn module_path(file: &str) -> ModulePath {
    let mut path: ModulePath = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|name| name == "mod" || name == "lib") {
        path.pop();
    }
    path
}

fn reachable(uses: &BTreeMap<&ModulePath, BTreeSet<ModulePath>>, from: &ModulePath) -> BTreeSet<ModulePath> {
    let mut seen = BTreeSet::new();
    let mut pending: Vec<ModulePath> = uses[from].iter().cloned().collect();
    while let Some(next) = pending.pop() {
        if seen.insert(next.clone()) {
            pending.extend(uses[&next].iter().cloned());
        }
    }
    seen
}

/// The other files of the same top-level module that a file uses.
fn used_files(
    files: &BTreeMap<ModulePath, &Source>,
    module: &ModulePath,
    text: &str,
) -> BTreeSet<ModulePath> {
    let code = text.lines().filter(|line| {
        let line = line.trim_start();
        !line.starts_with("//") && reexport(line).is_none()
    });
    let paths = code.flat_map(paths_of);
    let used = paths.filter_map(|path| resolve(files, module, &path, 0));
    used.filter(|used| used != module && used.first() == module.first()).collect()
}

/// Every `a::b` in a line.
fn paths_of(line: &str) -> impl Iterator<Item = Vec<String>> + '_ {
    line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .filter(|word| word.contains("::"))
        .map(|word| word.split("::").map(|part| part.trim_matches(':').to_owned()).collect())
}

/// The path of a line `pub use path::Item;`, which is one line each by the style rules.
fn reexport(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = line.strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(restricted) => restricted.split_once(')')?.1,
        None => rest,
    };
    rest.trim_start().strip_prefix("use ")?.strip_suffix(';')
}

/// The file that a path leads to, as seen from a module.
fn resolve(
    files: &BTreeMap<ModulePath, &Source>,
    module: &ModulePath,
    path: &[String],
    depth: usize,
) -> Option<ModulePath> {
    const MAX_REEXPORTS: usize = 6;
    let mut rest = path;
    let mut absolute: ModulePath = match path.first()?.as_str() {
        "crate" if module.first().is_some_and(|name| name == "sqlite") => vec!["sqlite".to_owned()],
        "crate" => Vec::new(),
        "self" | "super" => module.clone(),
        child => {
            let below = [module.as_slice(), &[child.to_owned()]].concat();
            files.contains_key(&below).then(|| module.clone())?
        }
    };
    while let Some(step) = rest.first().filter(|step| ["crate", "self", "super"].contains(&step.as_str())) {
        if step == "super" {
            absolute.pop();
        }
        rest = &rest[1..];
    }
    absolute.extend_from_slice(rest);
    let length = (1..=absolute.len()).rev().find(|length| files.contains_key(&absolute[..*length]))?;
    let file = absolute[..length].to_vec();
    let Some(item) = absolute.get(length).filter(|_| depth < MAX_REEXPORTS) else { return Some(file) };
    let reexports = files[&file].text.lines().filter_map(reexport);
    let mut targets = reexports.filter_map(|target| {
        let (source, name) = target.split_once(" as ").unwrap_or((target, target));
        (name.rsplit("::").next() == Some(item)).then_some(source)
    });
    let target = targets.next().and_then(|target| {
        let target: Vec<String> = target.split("::").map(str::to_owned).collect();
        resolve(files, &file, &target, depth + 1)
    });
    Some(target.unwrap_or(file))
}

/// The finder reports a circle through a re-export, and no circle where a `mod.rs` only re-exports.
pub(super) fn self_test() {
    let source = |path: &str, text: &str| Source {
        path: path.to_owned(),
        module: "shop".to_owned(),
        text: text.to_owned(),
    };
    let facade = source("shop/mod.rs", "mod cart;\nmod price;\npub use cart::Cart;\npub use price::Price;\n");
    let price = source("shop/price.rs", "pub struct Price;\n");
    let cart = source("shop/cart.rs", "use super::Price;\npub struct Cart(Price);\n");
    assert_eq!(circles(&[facade.clone(), price, cart.clone()]), Vec::<Vec<String>>::new());
    let price = source("shop/price.rs", "use crate::shop::Cart;\npub struct Price;\n");
    assert_eq!(circles(&[facade, price, cart]), [["shop/cart.rs", "shop/price.rs"]]);
    let caller = source("shop/mod.rs", "mod cart;\nfn total() { cart::sum() }\n");
    let child = source("shop/cart.rs", "use super::total;\n");
    assert_eq!(circles(&[caller, child]), [["shop/cart.rs", "shop/mod.rs"]]);
}
