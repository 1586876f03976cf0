//! A scrub of one database, from the first look to the ledger.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use crate::conclusion::conclude;
use crate::direct_file::AlignedBuffer;
use crate::direct_file::CHUNK_BYTES;
use crate::direct_file::DirectFile;
use crate::error::Error;
use crate::follow::Step;
use crate::follow::Written;
use crate::hash::PageHash;
use crate::hash::hash_page;
use crate::header::has_valid_checksum;
use crate::judge::Evidence;
use crate::judge::Rule;
use crate::judge::rule;
use crate::ledger::Ledger;
use crate::look::Files;
use crate::look::Look;
use crate::pass::Pass;
use crate::pass::PassHead;
use crate::pass::nonce;
use crate::report::Outcome;
use crate::request::Progress;
use crate::request::ScrubRequest;
use crate::written_file;

/// How often the WAL is followed while pages are read.
const FOLLOW: Duration = Duration::from_secs(2);
/// How often the position is kept.
const SAVE: Duration = Duration::from_secs(20);
/// The most pages of a database: their hashes take 4 GiB of memory.
const MAX_PAGES: u64 = 1 << 29;
/// The unit in which an encrypted database is compared: its header does not say the size of a page.
const OPAQUE_PAGE_SIZE: u32 = 4096;

/// What watches a scrub.
pub(crate) trait Control {
    /// Takes the progress; false stops the scrub.
    fn goes_on(&mut self, progress: Progress) -> bool;
}

/// The pages written since the base look of a ledger.
pub(crate) fn written_path(ledger: &Path) -> PathBuf {
    ledger.with_extension("written")
}

/// A database that is opened for a scrub, and its ledger.
pub(crate) struct Opened {
    pub files: Files,
    pub main: DirectFile,
    pub ledger: Ledger,
    pub ledger_path: PathBuf,
    pub buffer: AlignedBuffer,
}

impl Opened {
    pub(crate) fn open(request: &ScrubRequest) -> Result<Self, Error> {
        let files = Files::of(&request.database)?;
        let main = DirectFile::direct(&files.main).map_err(|error| Error::open(&files.main, &error))?;
        let metadata = main.file().metadata().map_err(|error| Error::open(&files.main, &error))?;
        if !metadata.is_file() {
            let message = "is not a regular file".to_owned();
            return Err(Error::NotFound { path: files.main, message });
        }
        let ledger_path = request.ledgers.ledger(&files.main);
        let ledger = Ledger::open(&ledger_path, &files.main)?;
        Ok(Self { files, main, ledger, ledger_path, buffer: AlignedBuffer::new() })
    }

    /// A look, with the header where the judgement needs it: a file at rest has that of the ledger.
    pub(crate) fn look(&mut self, wait: bool) -> Result<Look, Error> {
        let mut look = Look::take(&self.files, &self.main, wait)?;
        match &self.ledger.head {
            Some(head) if head.base.main == look.main && head.base.is_same_mount(&look) => {
                look.header = head.base.header;
            }
            _ => look.read_header(&self.files, &mut self.main)?,
        }
        Ok(look)
    }

    /// Size of a page and number of pages. A file that nobody wrote has those of the ledger: its
    /// header may be damaged.
    pub(crate) fn geometry(&self, before: &Look) -> Result<(u32, u32), Error> {
        let size = before.main.size;
        let head = self.ledger.head.as_ref().filter(|head| head.base.main.is_same_file(&before.main));
        if let Some(head) = head.filter(|head| head.base.main == before.main) {
            return Ok((head.page_size, head.pages));
        }
        let not_a_database = |message: &str| {
            Err(Error::NotADatabase { path: self.files.main.clone(), message: message.to_owned() })
        };
        let page_size = match (&before.header, head) {
            (Some(header), _) => header.page_size,
            (None, Some(head)) => head.page_size,
            // An encrypted database looks like noise, in whole pages.
            (None, None) if size.is_multiple_of(512) => OPAQUE_PAGE_SIZE,
            (None, None) => return not_a_database("is no SQLite database"),
        };
        let pages = size / u64::from(page_size);
        if pages > MAX_PAGES {
            return not_a_database("has more pages than can be scrubbed (2^29)");
        }
        let pages = pages as u32;
        // What lies beyond the end of the database is no part of it.
        let named = before.header.filter(|header| !header.is_wal).and_then(|header| header.pages);
        Ok((page_size, named.map_or(pages, |named| named.min(pages))))
    }

    pub(crate) fn load_written(&self) -> Result<Written, Error> {
        let Some(head) = &self.ledger.head else { return Ok(Written::unknown()) };
        self.written(written_file::load(&written_path(&self.ledger_path), head.nonce))
    }

    /// An error of the files beside the database.
    pub(crate) fn written<T>(&self, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|error| Error::read(&self.files.wal, 0, &error))
    }

    /// Advances the pages that were written; unknown where not all of them are known.
    pub(crate) fn advanced(&self, written: &mut Written) -> Result<Written, Error> {
        if written.position.is_none() {
            return Ok(Written::unknown());
        }
        match self.written(written.advance(&self.files))? {
            Step::Complete => Ok(written.clone()),
            Step::Gap | Step::Retry => Ok(Written::unknown()),
        }
    }

    pub(crate) fn rule(&self, last: &Look, written: &Written, page_size: u32) -> Rule {
        let head = self.ledger.head.as_ref();
        rule(&Evidence {
            base: head.map(|head| &head.base),
            last,
            written,
            is_same_page_size: head.is_some_and(|head| head.page_size == page_size),
        })
    }

    /// Reads a page from the disk; `None` beyond the end of the file.
    pub(crate) fn read_page(&mut self, page: u32, page_size: u32) -> Result<Option<&[u8]>, Error> {
        let offset = u64::from(page - 1) * u64::from(page_size);
        let bytes = self.main.read_range(&self.files.main, offset, page_size as usize, &mut self.buffer);
        let bytes = bytes.map_err(|error| Error::read(&self.files.main, offset, &error))?;
        Ok((bytes.len() == page_size as usize).then_some(bytes))
    }

    pub(crate) fn hash_of_page(&mut self, page: u32, page_size: u32) -> Result<Option<PageHash>, Error> {
        Ok(self.read_page(page, page_size)?.map(hash_page))
    }
}

/// Scrubs a database, or continues a scrub that was stopped.
pub(crate) fn scrub(request: &ScrubRequest, control: &mut dyn Control) -> Result<Outcome, Error> {
    let mut opened = Opened::open(request)?;
    let before = opened.look(true)?;
    let nonce_of_ledger = opened.ledger.head.as_ref().map(|head| head.nonce);
    let mut pass = match Pass::resume(&opened.ledger_path, nonce_of_ledger, &before)? {
        Some(pass) => pass,
        None => {
            let (page_size, pages) = opened.geometry(&before)?;
            let written = opened.written(Written::begin(&opened.files))?;
            let head = PassHead {
                nonce: nonce(),
                ledger: nonce_of_ledger,
                before,
                page_size,
                pages,
                done: 0,
                elapsed: Duration::ZERO,
                is_direct: opened.main.is_direct(),
            };
            Pass::begin(&opened.ledger_path, head, written)
        }
    };
    let mut written = opened.load_written()?;
    let clock = Clock { began: Instant::now(), earlier: pass.head.elapsed };
    if !read_pages(&mut opened, &mut pass, &mut written, request, control)? {
        pass.save(&opened.ledger_path, clock.elapsed())?;
        return Ok(Outcome::Stopped(pass.progress()));
    }
    pass.head.elapsed = clock.elapsed();
    let outcome = conclude(&mut opened, &mut pass, &mut written, request.accept, control)?;
    if let Outcome::Completed(_) = outcome
        && (pass.is_saved() || crate::pass::pass_path(&opened.ledger_path).exists())
    {
        Pass::remove(&opened.ledger_path);
    }
    Ok(outcome)
}

struct Clock {
    began: Instant,
    earlier: Duration,
}

impl Clock {
    fn elapsed(&self) -> Duration {
        self.earlier + self.began.elapsed()
    }
}

/// Reads the pages that are left; false if it was stopped.
fn read_pages(
    opened: &mut Opened,
    pass: &mut Pass,
    written: &mut Written,
    request: &ScrubRequest,
    control: &mut dyn Control,
) -> Result<bool, Error> {
    let page_size = pass.head.page_size as usize;
    let has_checksums = pass.head.before.header.is_some_and(|header| header.reserved == 8);
    let began = Instant::now();
    let (mut followed, mut saved) = (Instant::now(), Instant::now());
    let earlier = pass.head.elapsed;
    let mut bytes = 0_u64;
    while pass.hashes.len() < pass.head.pages as usize {
        if !control.goes_on(pass.progress()) {
            return Ok(false);
        }
        // A position that was kept need not be a multiple of a chunk.
        let offset = (pass.hashes.len() * page_size) as u64;
        let skip = (offset % CHUNK_BYTES as u64) as usize;
        let from = offset - skip as u64;
        let read = opened.main.read_chunk(&opened.files.main, from, &mut opened.buffer);
        let read = read.map_err(|error| Error::read(&opened.files.main, from, &error))?;
        let left = pass.head.pages as usize - pass.hashes.len();
        let chunk = opened.buffer.bytes(read);
        for page in chunk.get(skip..).unwrap_or_default().chunks_exact(page_size).take(left) {
            pass.hashes.push(hash_page(page).stored());
            if has_checksums && has_valid_checksum(page) {
                pass.with_checksum.insert(pass.hashes.len() as u32);
            }
        }
        bytes += read as u64;
        if read < CHUNK_BYTES {
            // The file was cut off meanwhile.
            pass.head.pages = pass.hashes.len() as u32;
        }
        if followed.elapsed() >= FOLLOW {
            followed = Instant::now();
            opened.advanced(written)?;
            opened.advanced(&mut pass.written)?;
        }
        if saved.elapsed() >= SAVE {
            saved = Instant::now();
            pass.save(&opened.ledger_path, earlier + began.elapsed())?;
        }
        if let Some(rate) = request.bytes_per_second {
            let due = Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
            if !wait_until(began, due, || control.goes_on(pass.progress())) {
                return Ok(false);
            }
        }
    }
    pass.head.is_direct = opened.main.is_direct();
    Ok(true)
}

/// Waits in small steps; false if the scrub was stopped.
fn wait_until(began: Instant, due: Duration, mut goes_on: impl FnMut() -> bool) -> bool {
    const STEP: Duration = Duration::from_millis(50);
    loop {
        let elapsed = began.elapsed();
        if elapsed >= due {
            return true;
        }
        std::thread::sleep((due - elapsed).min(STEP));
        if !goes_on() {
            return false;
        }
    }
}
