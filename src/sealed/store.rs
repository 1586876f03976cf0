//! The file with the hashes of one table's final rows: written in one go beside the old one, and
//! put in its place when it is complete.
//!
//! Blocks of entries in the order of the table's key, then a footer. Each part has a hash under the
//! installation's key, so that what rotted is known: a block is then as if it had never been
//! written, and its rows are sealed anew.

use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Read as _;
use std::io::Seek as _;
use std::io::SeekFrom;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::os::PendingFile;
use crate::sqlite::SealedColumn;

use super::entry::Block;
use super::entry::FindingCounts;
use super::key::HASH_BYTES;
use super::key::SealKey;

const MAGIC: &[u8; 8] = b"LKSEAL1\n";
const END: &[u8; 8] = b"LKSEALe\n";

/// The length of a part and its hash.
const PART_OVERHEAD: u64 = 4 + HASH_BYTES as u64;

/// The largest part that is read: a length that rotted must not take the memory.
const MAX_PART_BYTES: u64 = 1 << 30;

/// A column in the footer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredColumn {
    pub name: String,
    pub place: u32,
}

impl From<&SealedColumn> for StoredColumn {
    fn from(column: &SealedColumn) -> Self {
        Self { name: column.name.clone(), place: column.place }
    }
}

/// What is known of a store as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Footer {
    /// The database and the table, for people: the file's name is a hash of both.
    pub path: String,
    pub table: String,
    pub condition: String,
    pub key: Vec<StoredColumn>,
    /// The columns that were compared when rows were sealed; an entry names its set by the place
    /// here.
    pub column_sets: Vec<Vec<StoredColumn>>,
    /// When rows were first sealed, in seconds since 1970.
    pub baseline_at: i64,
    /// When the table was last compared.
    pub compared_at: i64,
    /// Entries, those with findings among them.
    pub rows: u64,
    #[serde(flatten)]
    pub found: FindingCounts,
    /// The last changes that an operator accepted.
    pub accepted: Vec<Acceptance>,
    pub blocks: u64,
}

/// Findings that an operator accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Acceptance {
    pub at: i64,
    #[serde(flatten)]
    pub found: FindingCounts,
}

/// A store that is written.
pub(super) struct StoreWriter<'key> {
    key: &'key SealKey,
    pending: PendingFile,
    file: BufWriter<File>,
    blocks: u64,
}

impl<'key> StoreWriter<'key> {
    /// Begins a store beside its place.
    pub fn create(key: &'key SealKey, path: &Path) -> io::Result<Self> {
        let pending = PendingFile::create(&path.with_extension("seal.new"))?;
        let mut file = BufWriter::new(pending.open()?);
        file.write_all(MAGIC)?;
        Ok(Self { key, pending, file, blocks: 0 })
    }

    pub fn block(&mut self, block: &Block) -> io::Result<()> {
        let body = block.encode();
        self.part("block", self.blocks, &body)?;
        self.blocks += 1;
        Ok(())
    }

    fn part(&mut self, what: &str, number: u64, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(|_| io::Error::other("a part is too large"))?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(body)?;
        self.file.write_all(&self.key.part(what, number, body))
    }

    /// Ends the store and puts it in its place, in one step. Returns its bytes.
    pub fn finish(mut self, path: &Path, mut footer: Footer) -> io::Result<u64> {
        footer.blocks = self.blocks;
        let body = serde_json::to_vec(&footer)?;
        self.part("footer", 0, &body)?;
        self.file.write_all(&(body.len() as u64 + PART_OVERHEAD).to_le_bytes())?;
        self.file.write_all(END)?;
        self.file.flush()?;
        let bytes = self.file.get_ref().metadata()?.len();
        drop(self.file);
        self.pending.sync()?;
        self.pending.replace(path)?;
        Ok(bytes)
    }
}

/// Why a store cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// There is none.
    Missing,
    /// It is damaged or cut off, or was made with another key.
    Rotten,
}

/// The next part of a store.
#[derive(Debug)]
pub(super) enum NextBlock {
    Block(Block),
    /// One that rotted.
    Rotten,
    End,
}

/// A store that is read.
pub(super) struct StoreReader<'key> {
    key: &'key SealKey,
    file: io::BufReader<File>,
    pub footer: Footer,
    footer_begins: u64,
    place: u64,
    next: u64,
}

impl<'key> StoreReader<'key> {
    /// Opens a store.
    ///
    /// # Errors
    /// The system's; inside, why the content cannot be used.
    pub fn open(key: &'key SealKey, path: &Path) -> io::Result<Result<Self, Unusable>> {
        #[expect(clippy::disallowed_methods, reason = "a file of our own")]
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(Unusable::Missing)),
            other => other?,
        };
        let mut file = io::BufReader::new(file);
        let Some((footer, footer_begins)) = read_footer(key, &mut file)? else {
            return Ok(Err(Unusable::Rotten));
        };
        let place = MAGIC.len() as u64;
        file.seek(SeekFrom::Start(place))?;
        Ok(Ok(Self { key, file, footer, footer_begins, place, next: 0 }))
    }

    /// The next block.
    pub fn next_block(&mut self) -> io::Result<NextBlock> {
        if self.place >= self.footer_begins || self.next >= self.footer.blocks {
            // Blocks beyond a length that rotted are lost with it.
            let lost = self.next < self.footer.blocks;
            self.next = self.footer.blocks;
            return Ok(if lost { NextBlock::Rotten } else { NextBlock::End });
        }
        let Some(body) =
            read_part(self.key, "block", self.next, &mut self.file, self.footer_begins - self.place)?
        else {
            self.place = self.footer_begins;
            return self.next_block();
        };
        let (body, is_right) = body;
        self.place += body.len() as u64 + PART_OVERHEAD;
        self.next += 1;
        let block = if is_right { Block::decode(&body) } else { None };
        Ok(block.map_or(NextBlock::Rotten, NextBlock::Block))
    }
}

fn read_footer(key: &SealKey, file: &mut io::BufReader<File>) -> io::Result<Option<(Footer, u64)>> {
    const TAIL: u64 = 16;
    let size = file.get_ref().metadata()?.len();
    let Some(tail_begins) = size.checked_sub(TAIL) else { return Ok(None) };
    file.seek(SeekFrom::Start(tail_begins))?;
    let mut tail = [0; TAIL as usize];
    file.read_exact(&mut tail)?;
    let (length, end) = tail.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
    let begins = tail_begins.checked_sub(length).filter(|_| end == END);
    let Some(begins) = begins else { return Ok(None) };
    file.seek(SeekFrom::Start(begins))?;
    let Some((body, true)) = read_part(key, "footer", 0, file, length)? else { return Ok(None) };
    Ok(serde_json::from_slice(&body).ok().map(|footer| (footer, begins)))
}

/// A part, and whether its hash is right; `None` where its length cannot be.
fn read_part(
    key: &SealKey,
    what: &str,
    number: u64,
    file: &mut impl io::Read,
    available: u64,
) -> io::Result<Option<(Vec<u8>, bool)>> {
    let Some(available) = available.checked_sub(PART_OVERHEAD) else { return Ok(None) };
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if u64::from(length) > available.min(MAX_PART_BYTES) {
        return Ok(None);
    }
    let mut body = vec![0; length as usize];
    file.read_exact(&mut body)?;
    let mut hash = [0; HASH_BYTES];
    file.read_exact(&mut hash)?;
    let is_right = key.part(what, number, &body) == hash;
    Ok(Some((body, is_right)))
}

/// Where the store of a table is: two numbers of a hash of the database's path and the table.
#[derive(Debug, Clone)]
pub(super) struct StorePlace {
    pub high: u64,
    pub low: u64,
    pub path: PathBuf,
}

impl StorePlace {
    pub fn of(directory: &Path, database: &Path, table: &str) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(database.as_os_str().as_bytes());
        context.update(b"\0");
        context.update(table.to_ascii_lowercase().as_bytes());
        let digest = context.finish();
        let number = |place: usize| {
            digest.as_ref()[place..place + 8]
                .iter()
                .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let (high, low) = (number(0), number(8));
        Self { high, low, path: directory.join(format!("{high:016x}{low:016x}.seal")) }
    }
}
