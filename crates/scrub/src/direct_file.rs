//! Reads files with plain system calls: from the disk where the file system allows it, otherwise
//! through the page cache, of which nothing is evicted that was in it before.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::Advice;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::io::ReadWriteFlags;

/// What `O_DIRECT` asks of addresses, offsets and lengths; enough for every disk in use.
pub(crate) const ALIGNMENT: usize = 4096;
/// Bytes of one read: as fast as larger ones on every disk that was measured.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// A buffer whose address is a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    pub(crate) fn new() -> Self {
        let bytes = vec![0; CHUNK_BYTES + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, start }
    }

    fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + CHUNK_BYTES]
    }

    pub(crate) fn bytes(&self, length: usize) -> &[u8] {
        &self.bytes[self.start..self.start + length]
    }
}

/// A file that is only read.
#[derive(Debug)]
pub(crate) struct DirectFile {
    file: File,
    is_direct: bool,
}

impl DirectFile {
    /// Opens a file without an effect on its times where this user may do so.
    pub(crate) fn direct(path: &Path) -> io::Result<Self> {
        match open(path, OFlags::DIRECT) {
            Ok(file) => Ok(Self { file, is_direct: true }),
            // tmpfs and others refuse the flag.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                Ok(Self { file: open(path, OFlags::empty())?, is_direct: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a file that is read through the page cache.
    pub(crate) fn open_buffered(path: &Path) -> io::Result<Self> {
        Ok(Self { file: open(path, OFlags::empty())?, is_direct: false })
    }

    /// Opens a small file whose content is in the page cache anyway.
    pub(crate) fn open_cached(path: &Path) -> io::Result<File> {
        open(path, OFlags::empty())
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// Reads up to [`CHUNK_BYTES`] from an aligned offset: fewer at the end of the file only.
    pub(crate) fn read_chunk(
        &mut self,
        path: &Path,
        offset: u64,
        buffer: &mut AlignedBuffer,
    ) -> io::Result<usize> {
        if self.is_direct {
            match self.read_direct(offset, buffer) {
                // Some file systems accept the flag and refuse the read.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                    *self = Self { file: open(path, OFlags::empty())?, is_direct: false };
                }
                other => return other,
            }
        }
        self.read_cached(offset, buffer)
    }

    fn read_direct(&self, offset: u64, buffer: &mut AlignedBuffer) -> io::Result<usize> {
        let space = buffer.space();
        let mut done = 0;
        while done < CHUNK_BYTES {
            match self.file.read_at(&mut space[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => {
                    done += read;
                    if read % ALIGNMENT != 0 {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_cached(&self, offset: u64, buffer: &mut AlignedBuffer) -> io::Result<usize> {
        let space = buffer.space();
        // What is in the page cache already comes without a wait, and stays there.
        let resident = rustix::io::preadv2(
            &self.file,
            &mut [io::IoSliceMut::new(space)],
            offset,
            ReadWriteFlags::NOWAIT,
        );
        let (mut done, can_evict) = match resident {
            Ok(read) => (read, true),
            Err(Errno::AGAIN) => (0, true),
            Err(_) => (0, false),
        };
        let first_read = done;
        done += read_fully(&self.file, &mut space[done..], offset + done as u64)?;
        if can_evict && let Some(length) = std::num::NonZeroU64::new((done - first_read) as u64) {
            let _ =
                rustix::fs::fadvise(&self.file, offset + first_read as u64, Some(length), Advice::DontNeed);
        }
        Ok(done)
    }

    /// Reads a range of any alignment of at most [`CHUNK_BYTES`] less [`ALIGNMENT`]; shorter at the
    /// end of the file.
    pub(crate) fn read_range<'buffer>(
        &mut self,
        path: &Path,
        offset: u64,
        length: usize,
        buffer: &'buffer mut AlignedBuffer,
    ) -> io::Result<&'buffer [u8]> {
        let skip = (offset % ALIGNMENT as u64) as usize;
        let read = self.read_chunk_of(path, offset - skip as u64, skip + length, buffer)?;
        Ok(&buffer.bytes(read)[skip.min(read)..(skip + length).min(read)])
    }

    /// Reads no more of a chunk than is needed.
    fn read_chunk_of(
        &mut self,
        path: &Path,
        offset: u64,
        length: usize,
        buffer: &mut AlignedBuffer,
    ) -> io::Result<usize> {
        let length = length.next_multiple_of(ALIGNMENT).min(CHUNK_BYTES);
        if !self.is_direct {
            let space = &mut buffer.space()[..length];
            return read_fully(&self.file, space, offset);
        }
        match self.file.read_at(&mut buffer.space()[..length], offset) {
            Ok(read) => Ok(read),
            Err(_) => self.read_chunk(path, offset, buffer).map(|read| read.min(length)),
        }
    }
}

/// Fills a buffer, or less at the end of the file.
pub(crate) fn read_fully(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// `O_NONBLOCK`: opening a named pipe must not wait for its writer.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let open = |flags: OFlags| {
        let flags = (flags | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
        #[expect(
            clippy::disallowed_methods,
            reason = "the reader process holds no lock that this could drop"
        )]
        OpenOptions::new().read(true).custom_flags(flags).open(path)
    };
    match open(flags | OFlags::NOATIME) {
        // Only the owner of the file and root may leave its access time alone.
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => open(flags),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read_with_and_without_the_page_cache() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..2_500_512_u32).map(|index| (index / 7 % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let mut buffer = AlignedBuffer::new();
        for is_direct in [true, false] {
            let mut file = DirectFile::direct(&path).unwrap();
            if !is_direct {
                file = DirectFile { file: DirectFile::open_cached(&path).unwrap(), is_direct };
            }
            let mut read = Vec::new();
            loop {
                let length = file.read_chunk(&path, read.len() as u64, &mut buffer).unwrap();
                read.extend_from_slice(buffer.bytes(length));
                if length < CHUNK_BYTES {
                    break;
                }
            }
            assert!(read == content);
            for (offset, length) in [(0, 100), (4095, 2), (5000, 70_000), (2_500_500, 100), (9_000_000, 5)] {
                let expected = &content[offset.min(content.len())..(offset + length).min(content.len())];
                let range = file.read_range(&path, offset as u64, length, &mut buffer).unwrap();
                assert!(range == expected, "{offset} {length}");
            }
        }
    }
}
