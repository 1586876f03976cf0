//! Keeps the pages that were written since a look, so that they are known after a restart.
//!
//! The file is replaced as a whole without a sync: an older state is as good, as the next step
//! begins at its position.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::follow::Position;
use crate::follow::Written;
use crate::page_set::PageSet;
use crate::stored_file::checksum;
use crate::stored_file::head_bytes;
use crate::stored_file::read_head;

const MAGIC: [u8; 8] = *b"LKSWRIT1";

#[derive(Serialize, Deserialize)]
struct Head {
    /// The ledger or the pass whose first look this is about.
    origin: u64,
    position: Option<Position>,
    smallest_size: u32,
    set_checksum: u64,
}

/// Writes the pages that were written since the look of `origin`.
pub(crate) fn save(path: &Path, origin: u64, written: &Written) -> io::Result<()> {
    let set = written.pages.to_bytes();
    let head = Head {
        origin,
        position: written.position,
        smallest_size: written.smallest_size,
        set_checksum: checksum(&set, origin),
    };
    let mut bytes = head_bytes(MAGIC, &head)?;
    bytes.extend_from_slice(&set);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push("-new");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)
}

/// Reads what was saved; nothing is known where there is no whole file about `origin`.
pub(crate) fn load(path: &Path, origin: u64) -> io::Result<Written> {
    #[expect(clippy::disallowed_methods, reason = "a file of a ledger")]
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Written::unknown()),
        other => other?,
    };
    let Some((head, length)) = read_head::<Head>(&file, MAGIC, 0)? else { return Ok(Written::unknown()) };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let set = bytes.get(length as usize..).unwrap_or_default();
    if head.origin != origin || checksum(set, origin) != head.set_checksum {
        return Ok(Written::unknown());
    }
    Ok(Written {
        position: head.position,
        pages: PageSet::from_bytes(set),
        smallest_size: head.smallest_size,
    })
}
