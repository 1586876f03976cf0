//! Notes which pages were written since the last scrub, between scrubs.

use std::io;

use crate::error::Error;
use crate::follow::Step;
use crate::ledger::Ledger;
use crate::look::Files;
use crate::pass::pass_written_path;
use crate::pass::read_pass_head;
use crate::report::Followed;
use crate::request::ScrubRequest;
use crate::scrub::written_path;
use crate::written_file;

/// Advances the written pages of a database. It reads no more than the frames that are new.
pub(crate) fn follow(request: &ScrubRequest) -> Result<Followed, Error> {
    let files = Files::of(&request.database)?;
    let path = request.ledgers.ledger(&files.main);
    if !path.exists() {
        return Ok(Followed::Idle);
    }
    let ledger = match Ledger::open(&path, &files.main) {
        // The scrub that runs follows by itself.
        Err(Error::Busy { .. }) => return Ok(Followed::Idle),
        other => other?,
    };
    let failed = |error: io::Error| Error::ledger(&path, &error);
    if let Some(head) = read_pass_head(&path).map_err(failed)? {
        let written = pass_written_path(&path);
        let mut since = written_file::load(&written, head.nonce).map_err(failed)?;
        let earlier = since.position;
        since.advance(&files).map_err(failed)?;
        if since.position != earlier {
            written_file::save(&written, head.nonce, &since).map_err(failed)?;
        }
    }
    let Some(head) = &ledger.head else { return Ok(Followed::Idle) };
    let written = written_path(&path);
    let mut since = written_file::load(&written, head.nonce).map_err(failed)?;
    if since.position.is_none() {
        return Ok(if head.base.has_wal { Followed::Incomplete } else { Followed::Idle });
    }
    let earlier = since.position;
    let step = since.advance(&files).map_err(failed)?;
    if since.position != earlier {
        written_file::save(&written, head.nonce, &since).map_err(failed)?;
    }
    Ok(match step {
        Step::Complete => Followed::Complete,
        Step::Gap => Followed::Incomplete,
        Step::Retry => Followed::Idle,
    })
}
