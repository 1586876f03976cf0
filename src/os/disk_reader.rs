//! Reads a backup from the disk instead of from the page cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::Mode;
use rustix::fs::OFlags;

/// Reads a file of litekeeper's own from its begin to its end. Its pages are dropped from the page
/// cache before and after, so that the bytes come from the disk, and no page of an application is
/// displaced.
///
/// A file system without a disk, such as tmpfs, keeps its pages. Dirty pages stay, too: a backup
/// has none, as it is synced when it is made.
///
/// It must not open a database of an application: to close it would drop SQLite's locks.
#[derive(Debug)]
pub struct DiskReader {
    file: File,
    offset: u64,
    size: u64,
}

impl DiskReader {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened, or is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Without NONBLOCK, a named pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let reader = Self { file, offset: 0, size: metadata.len() };
        reader.drop_from_cache(0, 0);
        Ok(reader)
    }

    /// Bytes of the file when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills the buffer from the present position; less at the end of the file.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill(buffer, self.offset)?;
        self.drop_from_cache(self.offset, read as u64);
        self.offset += read as u64;
        Ok(read)
    }

    /// Reads from an offset, once more from the disk.
    ///
    /// # Errors
    /// The disk's.
    pub fn read_again(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.drop_from_cache(0, 0);
        self.fill(buffer, offset)
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Drops a range of the file from the page cache; with a length of 0 up to its end.
    fn drop_from_cache(&self, offset: u64, length: u64) {
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(
            &self.file,
            offset,
            std::num::NonZeroU64::new(length),
            rustix::fs::Advice::DontNeed,
        );
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_to_its_end_and_a_pipe_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [1, 2, 3, 4, 5]).unwrap();
        let mut reader = DiskReader::open(&path).unwrap();
        let mut buffer = [0; 3];
        assert_eq!((reader.size(), reader.read(&mut buffer).unwrap(), buffer), (5, 3, [1, 2, 3]));
        assert_eq!((reader.read(&mut buffer).unwrap(), &buffer[..2]), (2, [4, 5].as_slice()));
        assert_eq!(reader.read(&mut buffer).unwrap(), 0);
        assert_eq!((reader.read_again(&mut buffer, 1).unwrap(), buffer), (3, [2, 3, 4]));
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        for path in [pipe.as_path(), directory.path()] {
            assert_eq!(DiskReader::open(path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
