//! Walks along the frames of a WAL file.

use std::collections::HashMap;
use std::io;

use crate::direct_file::ALIGNMENT;
use crate::direct_file::AlignedBuffer;
use crate::direct_file::DirectFile;
use crate::hash::PageHash;
use crate::hash::hash_page;
use crate::look::Files;
use crate::wal::Checksum;
use crate::wal::FRAME_HEADER_BYTES;
use crate::wal::FrameHeader;
use crate::wal::Salts;
use crate::wal::WAL_HEADER_BYTES;
use crate::wal::WalHeader;
use crate::wal::frame_checksum;

/// An open WAL.
pub(crate) struct WalFile<'files> {
    files: &'files Files,
    file: DirectFile,
    buffer: AlignedBuffer,
    /// The part of the file that is in the buffer: offset and length.
    window: (u64, usize),
    /// The header, if it is whole.
    pub header: Option<WalHeader>,
}

/// Frames that are joined by their checksums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Page and size of the database after the commit (0 for other frames), up to the last commit.
    pub frames: Vec<(u32, u32)>,
    /// The running checksum after the last commit.
    pub checksum: Checksum,
    pub commits: u32,
}

/// Where a chain begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainStart {
    /// The first frame, from 1.
    pub frame: u32,
    pub checksum: Checksum,
    pub salts: Salts,
}

impl<'files> WalFile<'files> {
    /// Opens the WAL through the page cache, where the last frames are in any case; `None` where
    /// there is none.
    pub(crate) fn cached(files: &'files Files) -> io::Result<Option<Self>> {
        Self::with(files, DirectFile::open_buffered(&files.wal))
    }

    /// Opens the WAL to read it from the disk.
    pub(crate) fn open_direct(files: &'files Files) -> io::Result<Option<Self>> {
        Self::with(files, DirectFile::direct(&files.wal))
    }

    fn with(files: &'files Files, file: io::Result<DirectFile>) -> io::Result<Option<Self>> {
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut wal = Self { files, file, buffer: AlignedBuffer::new(), window: (0, 0), header: None };
        wal.header = wal.read_header()?;
        Ok(Some(wal))
    }

    /// Reads the header anew, and everything after it.
    pub(crate) fn read_header(&mut self) -> io::Result<Option<WalHeader>> {
        self.window = (0, 0);
        Ok(WalHeader::parse(self.bytes(0, WAL_HEADER_BYTES)?))
    }

    /// Some bytes; fewer at the end of the file.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let (start, held) = self.window;
        if offset < start || offset + length as u64 > start + held as u64 {
            let start = offset / ALIGNMENT as u64 * ALIGNMENT as u64;
            self.window = (start, 0);
            self.window.1 = self.file.read_chunk(&self.files.wal, start, &mut self.buffer)?;
        }
        let (start, held) = self.window;
        let skip = ((offset - start) as usize).min(held);
        Ok(&self.buffer.bytes(held)[skip..(skip + length).min(held)])
    }

    /// Reads a frame with its page; `None` beyond the end of the file.
    fn read_frame(&mut self, header: &WalHeader, frame: u32) -> io::Result<Option<&[u8]>> {
        let length = header.frame_bytes();
        let bytes = self.bytes(header.frame_offset(frame), length)?;
        Ok((bytes.len() == length).then_some(bytes))
    }

    /// The frames from `start` that have its salts and continue its checksum, up to the last commit
    /// and to frame `last`.
    pub(crate) fn chain(&mut self, start: ChainStart, last: u32) -> io::Result<Chain> {
        let mut chain = Chain { checksum: start.checksum, ..Chain::default() };
        let Some(header) = self.header else { return Ok(chain) };
        let mut sum = start.checksum;
        let mut frames = Vec::new();
        for number in start.frame..=last {
            let Some(bytes) = self.read_frame(&header, number)? else { break };
            let Some(frame) = FrameHeader::parse(bytes).filter(|frame| frame.salts == start.salts) else {
                break;
            };
            sum = frame_checksum(sum, bytes, header.is_big_endian);
            if sum != frame.checksum || frame.page == 0 {
                break;
            }
            frames.push((frame.page, frame.commit_pages));
            if frame.is_commit() {
                chain.frames.append(&mut frames);
                chain.checksum = sum;
                chain.commits = chain.commits.wrapping_add(1);
            }
        }
        Ok(chain)
    }

    /// The pages of some frames, by their salts alone.
    pub(crate) fn pages_of(
        &mut self,
        frames: std::ops::RangeInclusive<u32>,
        salts: Salts,
    ) -> io::Result<Option<Vec<u32>>> {
        let Some(header) = self.header else { return Ok(None) };
        let mut pages = Vec::new();
        for number in frames {
            let bytes = self.bytes(header.frame_offset(number), FRAME_HEADER_BYTES)?;
            match FrameHeader::parse(bytes) {
                Some(frame) if frame.salts == salts => pages.push(frame.page),
                _ => return Ok(None),
            }
        }
        Ok(Some(pages))
    }
}

/// All committed frames of a generation.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// Frames whose checksum is right.
    pub frames: u32,
    /// Frames whose checksum is wrong, with the page that their header names and the hash of what
    /// was read.
    pub broken: Vec<(u32, u32, PageHash)>,
    /// The last frame of each page, and the hash of its content.
    pub last: HashMap<u32, (u32, PageHash)>,
    /// Sizes of the database after the commits, by frame.
    pub commits: Vec<(u32, u32)>,
    pub checksum: Checksum,
}

impl WalFile<'_> {
    /// Verifies frames 1 to `last` of the present generation. After a broken frame, its stored
    /// checksum is taken for the right one, so that each broken frame is found.
    pub(crate) fn verify(&mut self, last: u32) -> io::Result<Option<Verified>> {
        let Some(header) = self.header else { return Ok(None) };
        let mut verified = Verified { checksum: header.checksum, ..Verified::default() };
        let mut was_broken = false;
        let mut computed = header.checksum;
        for number in 1..=last {
            let Some(bytes) = self.read_frame(&header, number)? else { return Ok(None) };
            let Some(frame) = FrameHeader::parse(bytes) else { return Ok(None) };
            let hash = hash_page(&bytes[FRAME_HEADER_BYTES..]);
            let sum = frame_checksum(verified.checksum, bytes, header.is_big_endian);
            let is_right = |sum| sum == frame.checksum && frame.salts == header.salts;
            // Damage of a stored checksum alone leaves the computed one right.
            let is_right_otherwise =
                was_broken && is_right(frame_checksum(computed, bytes, header.is_big_endian));
            computed = frame.checksum;
            if is_right(sum) || is_right_otherwise {
                verified.frames += 1;
                verified.last.insert(frame.page, (number, hash));
                was_broken = false;
            } else {
                verified.broken.push((number, frame.page, hash));
                // Nothing is known of the page that this frame was to hold.
                verified.last.remove(&frame.page);
                was_broken = true;
                computed = sum;
            }
            if frame.is_commit() {
                verified.commits.push((number, frame.commit_pages));
            }
            verified.checksum = frame.checksum;
        }
        Ok(Some(verified))
    }
}
