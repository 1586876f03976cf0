//! The versions of SQLite that processes have mapped as shared libraries.
//!
//! A library's own version string is what counts; its file name has it only where it was built that
//! way. A program with SQLite linked into it shows nothing. Only executable mappings are read: a
//! database that is mapped is none, and must not be opened.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::descriptors::DELETED;
use super::process::ProcessFacts;

/// Larger files are programs with much more than SQLite in them.
const MAX_LIBRARY_BYTES: u64 = 64 * 1024 * 1024;

/// So many processes are looked at for one database.
const MAX_PROCESSES: usize = 64;

/// A SQLite that a process has mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedSqlite {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub process: String,
    /// The library, as the process sees its path.
    pub library: PathBuf,
    /// SQLite's version number, e.g. 3046001.
    pub version: u32,
}

/// The versions of SQLite in these processes, as far as they can be seen: as the same user, or as
/// root.
#[must_use]
pub fn mapped_sqlite(pids: &[u32]) -> Vec<MappedSqlite> {
    let mut found = Vec::new();
    for &pid in pids.iter().take(MAX_PROCESSES) {
        #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
        let Ok(maps) = std::fs::read(format!("/proc/{pid}/maps")) else { continue };
        for mapping in maps.split(|byte| *byte == b'\n').filter_map(Mapping::parse) {
            let known = |one: &MappedSqlite| one.pid == pid && one.library == mapping.path;
            if found.iter().any(known) {
                continue;
            }
            if let Some(version) = version_of(pid, &mapping) {
                let process = ProcessFacts::read(pid).map(|facts| facts.name).unwrap_or_default();
                found.push(MappedSqlite { pid, process, library: mapping.path, version });
            }
        }
    }
    found
}

/// Versions by device, inode and modification time of a library.
type Versions = HashMap<(u64, u64, i64), Option<u32>>;

/// An executable mapping of a file that is called like SQLite: a line of proc_pid_maps(5).
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    /// The addresses, as the link in `map_files` is called.
    range: String,
    inode: u64,
    path: PathBuf,
    is_deleted: bool,
}

impl Mapping {
    /// `7f0000000000-7f0000001000 r-xp 00001000 fe:00 4711   /usr/lib/libsqlite3.so.0.8.6`
    fn parse(line: &[u8]) -> Option<Self> {
        let mut rest = line;
        let mut field = || {
            let start = rest.iter().position(|byte| *byte != b' ')?;
            let end =
                rest[start..].iter().position(|byte| *byte == b' ').map_or(rest.len(), |end| start + end);
            let (word, after) = (&rest[start..end], &rest[end..]);
            rest = after;
            std::str::from_utf8(word).ok()
        };
        let range = field()?.to_owned();
        if !field()?.contains('x') {
            return None;
        }
        let _offset = field()?;
        // It is not compared: with several layers or subvolumes `stat` gives another.
        let _device = field()?;
        let inode = field()?.parse().ok()?;
        let path = rest.trim_ascii_start();
        let (path, is_deleted) = match path.strip_suffix(DELETED) {
            Some(former) => (former, true),
            None => (path, false),
        };
        let path = Path::new(OsStr::from_bytes(path));
        let name = path.file_name()?.as_bytes().to_ascii_lowercase();
        let is_sqlite = name.windows(b"sqlite".len()).any(|window| window == b"sqlite");
        (path.has_root() && is_sqlite).then(|| Self { range, inode, path: path.to_owned(), is_deleted })
    }
}

/// The version of a mapped library: by its name, else by its content, which is read once a file.
fn version_of(pid: u32, mapping: &Mapping) -> Option<u32> {
    static KNOWN: Mutex<Option<Versions>> = Mutex::new(None);
    let name = mapping.path.file_name()?.to_str().unwrap_or_default();
    if let Some(version) = name.split_once(".so.").and_then(|(_, version)| number_of(version.as_bytes())) {
        return Some(version);
    }
    // A library that was replaced since can only be reached by its mapping, which takes more
    // rights.
    let path = if mapping.is_deleted {
        PathBuf::from(format!("/proc/{pid}/map_files/{}", mapping.range))
    } else {
        let inside = mapping.path.strip_prefix("/").unwrap_or(&mapping.path);
        Path::new(&format!("/proc/{pid}/root")).join(inside)
    };
    let facts = std::fs::metadata(&path).ok()?;
    let is_the_mapped_one = facts.ino() == mapping.inode && !facts.file_type().is_fifo();
    if !is_the_mapped_one || !facts.is_file() || facts.len() > MAX_LIBRARY_BYTES {
        return None;
    }
    let key = (facts.dev(), facts.ino(), facts.mtime());
    let mut known = KNOWN.lock();
    let known = known.get_or_insert_default();
    *known.entry(key).or_insert_with(|| version_in(&read_library(&path)?))
}

/// The content of a library. It does not wait where something else took the name meanwhile.
fn read_library(path: &Path) -> Option<Vec<u8>> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a library that a process has mapped to run it, never a database"
    )]
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let mut content = Vec::new();
    file.take(MAX_LIBRARY_BYTES).read_to_end(&mut content).ok()?;
    Some(content)
}

/// The version in a library that has SQLite in it: the one string that is a version number of
/// SQLite 3.
fn version_in(content: &[u8]) -> Option<u32> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    const LONGEST: usize = "3.999.999".len();
    let mut has_magic = false;
    let mut found = None;
    for (at, byte) in content.iter().enumerate() {
        if *byte == b'S' && content[at..].starts_with(MAGIC) {
            has_magic = true;
        }
        if *byte != b'3' || at == 0 || content[at - 1] != 0 {
            continue;
        }
        let rest = &content[at..content.len().min(at + LONGEST + 1)];
        let Some(end) = rest.iter().position(|byte| *byte == 0) else { continue };
        let Some(version) = number_of(&rest[..end]) else { continue };
        if found.is_some_and(|other| other != version) {
            return None;
        }
        found = Some(version);
    }
    found.filter(|_| has_magic)
}

/// A version of SQLite 3 in three parts as its number: 3.46.1 is 3046001.
fn number_of(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split('.');
    let mut part = || {
        let digits = parts.next()?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|part| is_number && *part < 1_000)
    };
    let (major, minor, patch) = (part()?, part()?, part()?);
    (major == 3 && parts.next().is_none()).then_some(major * 1_000_000 + minor * 1_000 + patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_mappings_of_sqlite_are_found() {
        let line = |permissions: &str, path: &str| {
            format!("7f0000000000-7f0000001000 {permissions} 00001000 fe:0a 4711                 {path}")
        };
        for (permissions, path, expected) in [
            ("r-xp", "/usr/lib/libsqlite3.so.0.8.6", Some("/usr/lib/libsqlite3.so.0.8.6")),
            ("r-xp", "/opt/a b/better_sqlite3.node", Some("/opt/a b/better_sqlite3.node")),
            ("r-xp", "/opt/libe_SQLite3.so (deleted)", Some("/opt/libe_SQLite3.so")),
            ("r--s", "/srv/app.sqlite-shm", None),
            ("rw-s", "/srv/app.sqlite", None),
            ("r-xp", "/usr/lib/libc.so.6", None),
            ("r-xp", "", None),
        ] {
            let found = Mapping::parse(line(permissions, path).as_bytes());
            let found = found.as_ref().map(|mapping| mapping.path.to_str().unwrap());
            assert_eq!(found, expected, "{permissions} {path}");
        }
        let mapping = Mapping::parse(line("r-xp", "/l/libsqlite3.so (deleted)").as_bytes()).unwrap();
        assert_eq!((mapping.inode, mapping.is_deleted), (4711, true));
    }

    #[test]
    fn a_version_is_read_from_a_librarys_content() {
        let magic = "SQLite format 3\0";
        for (content, expected) in [
            (format!("{magic}x\x003.46.1\0"), Some(3_046_001)),
            (format!("\x003.54.1\0\x003.54.1\0{magic}"), Some(3_054_001)),
            (format!("{magic}\x003.46.1\0\x003.51.3\0"), None),
            (format!("{magic}\x003.46\0"), None),
            (format!("{magic}\x0013.46.1\0"), None),
            ("\x003.46.1\0".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(version_in(content.as_bytes()), expected, "{content:?}");
        }
        assert_eq!(number_of(b"0.8.6"), None);
        assert_eq!(number_of(b"3.50.7"), Some(3_050_007));
    }
}
