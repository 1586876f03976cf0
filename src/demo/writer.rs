//! The program that writes to the queue. It is a process of its own, so that its locks are seen.

use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::databases::open;

/// The hidden subcommand under which the writer of the queue runs as a process of its own.
pub const WRITER_COMMAND: &str = "demo-writer";

pub(super) fn start_writer(path: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?;
    Ok(Command::new(program).arg(WRITER_COMMAND).arg(path).stdin(Stdio::piped()).spawn()?)
}

/// Receives when the standard input has ended.
pub(super) fn input_end() -> std::sync::mpsc::Receiver<()> {
    let (ended_sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended_sender.send(());
    });
    ended
}

/// A process ends when its input does; a signal of the terminal may have ended it before.
pub(super) fn end(child: &mut Child) {
    drop(child.stdin.take());
    let _ = child.wait();
}

/// The writer: a row, then a pause, until its standard input ends. It keeps 5,000 rows.
///
/// # Errors
/// SQLite's.
pub fn write_until_input_ends(path: &Path, pause: Duration) -> anyhow::Result<()> {
    let ended = input_end();
    let connection = open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let mut insert = connection
        .prepare("INSERT INTO events (created_at, payload) VALUES (unixepoch(), hex(randomblob(200)))")?;
    let mut trim =
        connection.prepare("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - 5000")?;
    while ended.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        insert.execute(())?;
        trim.execute(())?;
    }
    Ok(())
}
