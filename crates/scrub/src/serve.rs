//! The reader process: takes commands from its input, and ends with it.

use std::io;
use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;

use crate::follower::follow;
use crate::preview::preview;
use crate::protocol::Command;
use crate::protocol::Response;
use crate::protocol::receive;
use crate::protocol::send;
use crate::request::Progress;
use crate::scrub::Control;
use crate::scrub::scrub;

/// How often the agent hears of a scrub.
const REPORT: Duration = Duration::from_millis(100);

/// Executes commands until the input ends.
///
/// # Errors
/// The agent has ended, or sends what is no command.
pub fn serve(mut input: impl Read + Send + 'static, output: &mut dyn Write) -> io::Result<()> {
    // The lowest priority: a scrub has time.
    let _ = rustix::process::nice(19);
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, commands) = sync_channel(4);
    let stop_on_command = Arc::clone(&stop);
    std::thread::Builder::new().name("commands".to_owned()).spawn(move || {
        loop {
            match receive::<Command>(&mut input) {
                Ok(Some(Command::Stop)) => stop_on_command.store(true, Ordering::Relaxed),
                Ok(Some(command)) => {
                    if sender.send(command).is_err() {
                        return;
                    }
                }
                // A scrub that is running keeps its position.
                Ok(None) | Err(_) => {
                    stop_on_command.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
    })?;
    while let Ok(command) = commands.recv() {
        let response = match command {
            Command::Scrub(request) => {
                let mut control = PipeControl { output, stop: &stop, reported: Instant::now() };
                Response::Scrubbed(scrub(&request, &mut control))
            }
            Command::Preview(request) => Response::Previewed(preview(&request)),
            Command::Follow(request) => Response::Followed(follow(&request)),
            Command::Stop => continue,
        };
        stop.store(false, Ordering::Relaxed);
        send(output, &response)?;
    }
    Ok(())
}

struct PipeControl<'serve> {
    output: &'serve mut dyn Write,
    stop: &'serve AtomicBool,
    reported: Instant,
}

impl Control for PipeControl<'_> {
    fn goes_on(&mut self, progress: Progress) -> bool {
        if self.reported.elapsed() >= REPORT {
            self.reported = Instant::now();
            if send(self.output, &Response::Progress(progress)).is_err() {
                return false;
            }
        }
        !self.stop.load(Ordering::Relaxed)
    }
}
