//! Frames between the agent and the reader process: a length of four bytes and JSON.

use std::io;
use std::io::Read;
use std::io::Write;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::report::Followed;
use crate::report::Outcome;
use crate::report::Preview;
use crate::request::Progress;
use crate::request::ScrubRequest;

/// The longest frame: a report with its mismatches has less than 1 MiB.
const MAX_FRAME_BYTES: usize = 16 << 20;

/// What the agent sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    Scrub(ScrubRequest),
    Preview(ScrubRequest),
    Follow(ScrubRequest),
    /// Ends the scrub that is running; without effect if there is none.
    Stop,
}

/// What the reader process responds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    /// The work goes on.
    Progress(Progress),
    Scrubbed(Result<Outcome, Error>),
    Previewed(Result<Preview, Error>),
    Followed(Result<Followed, Error>),
}

pub(crate) fn send(output: &mut dyn Write, message: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    output.write_all(&frame)?;
    output.flush()
}

/// The next message; `None` at the end of the input.
pub(crate) fn receive<T: DeserializeOwned>(input: &mut dyn Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut frame = vec![0; length];
    input.read_exact(&mut frame)?;
    Ok(Some(serde_json::from_slice(&frame)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger_directory::LedgerDirectory;

    #[test]
    fn a_message_crosses_the_pipe_with_a_path_that_is_not_utf8() {
        use std::os::unix::ffi::OsStrExt as _;
        let path = std::ffi::OsStr::from_bytes(b"/srv/\xff\n.db");
        let request = ScrubRequest::new(path, LedgerDirectory::new("/var/lib/litekeeper/scrub"));
        let mut pipe = Vec::new();
        send(&mut pipe, &Command::Scrub(request.clone())).unwrap();
        send(&mut pipe, &Command::Stop).unwrap();
        let mut input = pipe.as_slice();
        let Some(Command::Scrub(received)) = receive(&mut input).unwrap() else { panic!() };
        assert_eq!(received, request);
        assert!(matches!(receive(&mut input).unwrap(), Some(Command::Stop)));
        assert!(receive::<Command>(&mut input).unwrap().is_none());
        let too_long = u32::MAX.to_le_bytes();
        assert!(receive::<Command>(&mut too_long.as_slice()).is_err());
        let cut = &pipe[..pipe.len() - 1];
        let mut input = cut;
        let _: Option<Command> = receive(&mut input).unwrap();
        assert!(receive::<Command>(&mut input).is_err());
    }
}
