//! Another program at work on a database: `sqlite3` semantics in a process of its own.
//!
//! The test binary starts itself again with the SQL to run, so that no tool is needed and the locks are truly
//! those of a second process.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;

use rusqlite::Connection;

const MARK: &str = "LITEKEEPER_TEST_SECOND_PROCESS";

/// Asks for another connection.
const REOPEN: &str = "-- reopen";

/// A process with a connection to a database, which runs SQL on request and keeps its locks between.
pub struct SecondProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
    begun: String,
}

impl SecondProcess {
    /// Starts the process and opens the database.
    pub fn open(path: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .env(MARK, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output, begun: String::new() }
    }

    /// Runs SQL there and returns when it is done; what it opened stays open.
    pub fn run(&mut self, sql: &str) -> &mut Self {
        self.begin(sql).finish()
    }

    /// Has SQL begun there that waits for something, until [`Self::finish`].
    pub fn begin(&mut self, sql: &str) -> &mut Self {
        writeln!(self.input.as_mut().unwrap(), "{}", sql.replace('\n', " ")).unwrap();
        sql.clone_into(&mut self.begun);
        self
    }

    /// Waits until what was begun is done.
    pub fn finish(&mut self) -> &mut Self {
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "done", "{}", self.begun);
        self
    }

    /// Closes the database there and opens it again.
    pub fn reopen(&mut self) -> &mut Self {
        self.run(REOPEN)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The life of the second process: nothing, unless this is one.
    pub fn live_if_asked() {
        let Some(path) = std::env::var_os(MARK) else { return };
        let open = || {
            let connection = Connection::open(&path).unwrap();
            connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
            connection
        };
        let mut connection = open();
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if line == REOPEN {
                drop(connection);
                connection = open();
                println!("done");
                continue;
            }
            match connection.execute_batch(&line) {
                Ok(()) => println!("done"),
                Err(error) => println!("{error}"),
            }
        }
        drop(connection);
        std::process::exit(0);
    }
}

impl Drop for SecondProcess {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
