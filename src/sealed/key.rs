//! The secret key of this installation, with which rows and stores are hashed.
//!
//! Who can write a database and cannot read the state directory can find no other content with the
//! same hash, nor learn the content of a row from its hash. Who can write the state directory can
//! seal everything anew (docs/SEALED.md).

use std::io;
use std::path::Path;

use ring::hmac;
use ring::rand::SecureRandom as _;
use ring::rand::SystemRandom;

use crate::os::PendingFile;

/// Bytes of a hash that are kept: half of HMAC-SHA-256.
pub(super) const HASH_BYTES: usize = 16;

/// A hash of a row or of a part of a store.
pub(super) type Hash = [u8; HASH_BYTES];

const FILE: &str = "key";
const PREFIX: &str = "litekeeper seal key 1 ";
const KEY_BYTES: usize = 32;

/// The key, with the hashes that are made with it.
#[derive(Debug)]
pub(super) struct SealKey(hmac::Key);

impl SealKey {
    /// Reads the key of a state directory, and makes one where there is none. A file that is not a
    /// key is replaced: the stores that were made with it count as lost then.
    ///
    /// # Errors
    /// The directory or the file cannot be read or written.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join(FILE);
        for _ in 0..3 {
            match read(&path)? {
                Some(bytes) => return Ok(Self::new(&bytes)),
                None => create(directory, &path)?,
            }
        }
        Err(io::Error::other(format!("{} does not contain what was just written to it", path.display())))
    }

    /// The key of a state directory, if it has one.
    pub fn existing(directory: &Path) -> io::Result<Option<Self>> {
        Ok(read(&directory.join(FILE))?.map(|bytes| Self::new(&bytes)))
    }

    fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The hash of a row begins, with the number of its columns.
    pub fn row(&self, columns: usize) -> RowHash {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"row\0");
        context.update(&(columns as u64).to_le_bytes());
        RowHash(context)
    }

    /// The hash of a part of a store.
    pub fn part(&self, what: &str, number: u64, bytes: &[u8]) -> Hash {
        hash_of(&self.0, what, &[&number.to_le_bytes(), bytes])
    }
}

/// The hash of a row while its values are added.
pub(super) struct RowHash(hmac::Context);

impl RowHash {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> Hash {
        shortened(&self.0.sign())
    }
}

fn hash_of(key: &hmac::Key, what: &str, pieces: &[&[u8]]) -> Hash {
    let mut context = hmac::Context::with_key(key);
    context.update(what.as_bytes());
    context.update(b"\0");
    pieces.iter().for_each(|piece| context.update(piece));
    shortened(&context.sign())
}

fn shortened(tag: &hmac::Tag) -> Hash {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(&tag.as_ref()[..HASH_BYTES]);
    hash
}

/// The key in a file; `None` where there is none or something else.
#[expect(clippy::disallowed_methods, reason = "a file of our own")]
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&text);
    let digits = text.strip_prefix(PREFIX).map(str::trim_end).filter(|digits| digits.len() == 2 * KEY_BYTES);
    let byte =
        |place: usize| digits.and_then(|digits| u8::from_str_radix(digits.get(place..place + 2)?, 16).ok());
    Ok((0..2 * KEY_BYTES).step_by(2).map(byte).collect())
}

/// Makes a key, unless another process has made one meanwhile.
fn create(directory: &Path, path: &Path) -> io::Result<()> {
    use std::io::Write as _;
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let pending = PendingFile::create(&directory.join(format!(".{FILE}.{}.new", std::process::id())))?;
    pending.open()?.write_all(format!("{PREFIX}{}\n", hex(&bytes)).as_bytes())?;
    pending.sync()?;
    match std::fs::metadata(path) {
        // What is there is no key.
        Ok(_) => pending.replace(path),
        Err(_) => match pending.rename_noreplace(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_and_a_file_that_is_none_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let name = |key: io::Result<SealKey>| key.unwrap().part("", 0, &[]);
        let first = name(SealKey::open(directory.path()));
        assert_eq!(name(SealKey::open(directory.path())), first);
        assert!(SealKey::existing(directory.path()).unwrap().is_some());
        let other = tempfile::tempdir().unwrap();
        assert_ne!(name(SealKey::open(other.path())), first);
        std::fs::write(directory.path().join(FILE), "rotten").unwrap();
        let second = name(SealKey::open(directory.path()));
        assert_ne!(second, first);
        assert_eq!(name(SealKey::open(directory.path())), second);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left aside");
    }
}
