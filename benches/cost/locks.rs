//! What it costs to see who holds locks: 10,000 databases, half of them held open by other processes, 10,000 lines.

use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use litekeeper::internals::collectors::LockTableSnapshot;
use litekeeper::internals::locks::LockTracker;
use litekeeper::internals::os::stat;
use rusqlite::Connection;

/// Names the part of the databases that a holder keeps open: directory, first, last.
const MARK: &str = "LITEKEEPER_BENCH_HOLD";
/// With three descriptors a WAL database this stays below the usual limit of 1,024.
const HELD_BY_ONE: usize = 250;

/// A process that reads in its part of the databases until its input ends; never returns there.
pub fn hold_if_asked() {
    let Some(paths) = std::env::var_os(MARK) else { return };
    let paths: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let read = |path: &PathBuf| {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("BEGIN; SELECT * FROM companies").unwrap();
        connection
    };
    let connections: Vec<Connection> = paths.iter().map(read).collect();
    println!("ready");
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    drop(connections);
    std::process::exit(0);
}

/// Processes that hold locks; they end when it is dropped.
struct Holders(Vec<Child>);

impl Holders {
    fn of(paths: &[PathBuf]) -> Self {
        let start = |part: &[PathBuf]| {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .env(MARK, std::env::join_paths(part).unwrap())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            child
        };
        Self(paths.chunks(HELD_BY_ONE).map(start).collect())
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// A rollback database that is read has one line, a WAL database three.
pub fn measure(paths: &[PathBuf]) {
    let _holders = Holders::of(&paths[..paths.len() / 2]);
    let databases = super::databases(paths, true);
    let stats: Vec<_> =
        databases.iter().map(|database| stat(&database.files.main).unwrap().unwrap()).collect();
    let mut followers: Vec<LockTracker> = databases.iter().map(|_| LockTracker::default()).collect();
    let (mut listed, mut swept, mut bare) = (vec![], vec![], vec![]);
    let (mut lines, mut held) = (0, 0);
    for _ in 0..super::ROUNDS {
        let started = super::cpu();
        let list = LockTableSnapshot::read().unwrap();
        listed.push(super::cpu() - started);
        held = 0;
        for ((database, main), follower) in databases.iter().zip(&stats).zip(&mut followers) {
            let Some(files) = list.files_of(database, *main) else { continue };
            let decoded = list.decode(files, None);
            std::hint::black_box(follower.lacks_any(&decoded));
            let (locks, _) = follower.observe(list.sample(decoded, None), |_| None);
            held += locks.holds.len();
        }
        swept.push(super::cpu() - started);
        let started = super::cpu();
        lines = bare_split(Path::new("/proc/locks"));
        bare.push(super::cpu() - started);
    }
    println!("locks: {lines} lines of /proc/locks, {held} holds on {} databases", databases.len());
    super::compare("list of locks, against a bare read and split", listed, bare.clone(), lines, 3.0);
    super::compare("lock sweep, against a bare read and split", swept, bare, lines, 3.0);
}

/// Reads a file and splits each line into words, as the barest code would.
fn bare_split(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    std::hint::black_box(lines).len()
}
