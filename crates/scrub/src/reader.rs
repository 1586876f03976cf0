//! The handle of the reader process.

use std::io;
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;

use crate::error::Error;
use crate::protocol::Command;
use crate::protocol::Response;
use crate::protocol::receive;
use crate::protocol::send;
use crate::report::Followed;
use crate::report::Outcome;
use crate::report::Preview;
use crate::request::Progress;
use crate::request::ScrubRequest;

/// The subcommand of litekeeper that is the reader process.
pub const READER_COMMAND: &str = "scrub-reader";

/// How often the callback of a scrub is called.
const POLL: Duration = Duration::from_millis(100);
/// A reader that says nothing for this time hangs: one read of the disk does not take so long.
const HANG: Duration = Duration::from_secs(120);
/// How long a reader may take to end a scrub that was stopped.
const STOP: Duration = Duration::from_millis(1_500);

/// A process that reads database files with plain system calls, one database after the other. It
/// ends when this handle is dropped, and when this process ends.
#[derive(Debug)]
pub struct Reader {
    child: Child,
    /// `None` once the process is given up.
    input: Option<ChildStdin>,
    responses: Receiver<io::Result<Response>>,
}

impl Reader {
    /// Starts a reader process: this program with the subcommand [`READER_COMMAND`].
    ///
    /// # Errors
    /// [`Error::Reader`] if it cannot be started.
    pub fn spawn() -> Result<Self, Error> {
        Self::spawn_program(Path::new("/proc/self/exe"))
    }

    /// Starts another program as the reader process.
    ///
    /// # Errors
    /// [`Error::Reader`] if it cannot be started.
    pub fn spawn_program(program: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::reader(format!("cannot be started: {error}"));
        let mut child = std::process::Command::new(program)
            .arg0("litekeeper")
            .arg(READER_COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal reaches every process of the group.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let input = child.stdin.take();
        let Some(mut output) = child.stdout.take() else { return Err(Error::reader("has no output")) };
        let (sender, responses) = sync_channel(16);
        std::thread::Builder::new()
            .name("scrub-reader".to_owned())
            .spawn(move || forward(&mut output, &sender))
            .map_err(failed)?;
        Ok(Self { child, input, responses })
    }

    /// Whether this process can no longer be used: it ended, or was given up.
    #[must_use]
    pub fn is_gone(&mut self) -> bool {
        self.input.is_none() || !matches!(self.child.try_wait(), Ok(None))
    }

    /// Scrubs a database, or continues a scrub that was stopped.
    ///
    /// # Errors
    /// Why it could not be scrubbed. After [`Error::Reader`], [`Self::is_gone`] is true.
    pub fn scrub(
        &mut self,
        request: &ScrubRequest,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Outcome, Error> {
        match self.ask(&Command::Scrub(request.clone()), progress)? {
            Answer::Response(Response::Scrubbed(outcome)) => outcome,
            Answer::Response(_) => Err(self.give_up("answers out of turn")),
            Answer::GivenUp(progress) => Ok(Outcome::Stopped(progress)),
        }
    }

    /// What a scrub would do.
    ///
    /// # Errors
    /// As [`Self::scrub`].
    pub fn preview(&mut self, request: &ScrubRequest) -> Result<Preview, Error> {
        match self.ask(&Command::Preview(request.clone()), &mut |_| ControlFlow::Continue(()))? {
            Answer::Response(Response::Previewed(preview)) => preview,
            _ => Err(self.give_up("answers out of turn")),
        }
    }

    /// Notes which pages were written since the last scrub, from the WAL, so that the next scrub
    /// can verify the others although the WAL is restarted meanwhile.
    ///
    /// # Errors
    /// As [`Self::scrub`].
    pub fn follow(&mut self, request: &ScrubRequest) -> Result<Followed, Error> {
        match self.ask(&Command::Follow(request.clone()), &mut |_| ControlFlow::Continue(()))? {
            Answer::Response(Response::Followed(followed)) => followed,
            _ => Err(self.give_up("answers out of turn")),
        }
    }

    fn ask(
        &mut self,
        command: &Command,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Answer, Error> {
        self.write(command)?;
        let mut last = Progress::default();
        let mut heard = Instant::now();
        let mut stopping: Option<Instant> = None;
        loop {
            match self.responses.recv_timeout(POLL) {
                Ok(Ok(Response::Progress(now))) => {
                    last = now;
                    heard = Instant::now();
                }
                Ok(Ok(response)) => return Ok(Answer::Response(response)),
                Ok(Err(error)) => return Err(self.give_up(&format!("cannot be understood: {error}"))),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            match stopping {
                Some(since) if since.elapsed() > STOP => {
                    // A read that hangs cannot be interrupted; the position that was saved last is kept.
                    self.give_up("does not stop");
                    return Ok(Answer::GivenUp(last));
                }
                Some(_) => {}
                None if progress(last).is_break() => {
                    self.write(&Command::Stop)?;
                    stopping = Some(Instant::now());
                }
                None if heard.elapsed() > HANG => {
                    return Err(self.give_up(&format!(
                        "has not responded for {} s: the disk or the file system may hang",
                        HANG.as_secs()
                    )));
                }
                None => {}
            }
        }
    }

    fn write(&mut self, command: &Command) -> Result<(), Error> {
        let sent = match &mut self.input {
            Some(input) => send(input, command),
            None => return Err(Error::reader("has ended")),
        };
        sent.map_err(|_| self.ended())
    }

    /// The process ended by itself.
    fn ended(&mut self) -> Error {
        self.input = None;
        match self.child.wait() {
            Ok(status) => Error::reader(format!("has ended: {status}")),
            Err(error) => Error::reader(format!("has ended: {error}")),
        }
    }

    /// Ends the process. One that hangs in the kernel ends when the kernel lets it.
    fn give_up(&mut self, why: &str) -> Error {
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.try_wait();
        Error::reader(why)
    }
}

enum Answer {
    Response(Response),
    /// The process did not stop in time.
    GivenUp(Progress),
}

/// Passes responses on until the process or the handle ends.
fn forward(output: &mut dyn io::Read, sender: &SyncSender<io::Result<Response>>) {
    loop {
        let response = match receive(output) {
            Ok(None) => return,
            Ok(Some(response)) => Ok(response),
            Err(error) => Err(error),
        };
        let is_last = response.is_err();
        if sender.send(response).is_err() || is_last {
            return;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The end of its input ends the process.
        self.input = None;
        let deadline = Instant::now() + Duration::from_millis(200);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.try_wait();
    }
}
