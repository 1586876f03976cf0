//! The demo's databases: made, written to and removed by litekeeper itself.
//!
//! It uses rusqlite directly, because it plays the application that owns the databases. It must
//! never touch a file outside its own directory.

use std::path::Path;
use std::path::PathBuf;
use std::process::Child;

use anyhow::Context;
use tempfile::TempDir;

use crate::config::Config;
use crate::config::Listen;

mod bit_flip;
mod checkpoint_starvation;
mod databases;
mod writer;

pub use bit_flip::OWNER_COMMAND;
pub use bit_flip::own_until_input_ends;
pub use checkpoint_starvation::READER_COMMAND;
pub use checkpoint_starvation::read_until_input_ends;
pub use writer::WRITER_COMMAND;
pub use writer::write_until_input_ends;

use bit_flip::BitFlip;
use checkpoint_starvation::CheckpointStarvation;
use databases::accounting;
use databases::bloated;
use databases::damaged;
use databases::queue;
use writer::start_writer;

const CONFIGURATION: &str = include_str!("litekeeper.yml");

/// Demo databases and the program that writes to one of them; gone when it is dropped.
#[derive(Debug)]
pub struct Demo {
    /// Ends before the directory goes.
    _starved: CheckpointStarvation,
    _flipped: BitFlip,
    place: DemoDirectory,
    config: Config,
    writer: Child,
}

#[derive(Debug)]
enum DemoDirectory {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Demo {
    /// Makes the databases, in a temporary directory or in a new one to be kept, and starts the
    /// writer.
    ///
    /// # Errors
    /// The directory exists already, the disk is full, or the writer could not be started.
    pub fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        let place = match keep {
            None => DemoDirectory::Temporary(tempfile::Builder::new().prefix("litekeeper-demo-").tempdir()?),
            Some(path) => {
                std::fs::create_dir(path).with_context(|| {
                    format!("{}: --keep wants a directory that does not exist yet", path.display())
                })?;
                DemoDirectory::Kept(std::fs::canonicalize(path)?)
            }
        };
        let directory = place.path();
        accounting(&directory.join("books.db")).context("making books.db")?;
        queue(&directory.join("queue.db")).context("making queue.db")?;
        bloated(&directory.join("bloated.db")).context("making bloated.db")?;
        damaged(&directory.join("damaged.db")).context("making damaged.db")?;
        std::fs::create_dir(directory.join("backups"))?;
        let file = directory.join("litekeeper.yml");
        std::fs::write(&file, CONFIGURATION)?;
        let config = Config::load(&file).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        let writer = start_writer(&directory.join("queue.db")).context("starting the writer of queue.db")?;
        let _starved =
            CheckpointStarvation::start(&directory.join("pinned.db")).context("making pinned.db")?;
        let _flipped = BitFlip::start(&directory.join("flipped.db")).context("making flipped.db")?;
        Ok(Self { _starved, _flipped, place, config, writer })
    }

    /// The configuration of the demo, listening at an address.
    #[must_use]
    pub fn config(&self, listen: Listen) -> Config {
        Config { listen: vec![listen], ..self.config.clone() }
    }

    /// Where the databases are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.place.path()
    }

    /// Whether the directory stays.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self.place, DemoDirectory::Kept(_))
    }

    /// Each database and what there is to see in it.
    #[must_use]
    pub fn descriptions(&self) -> [(&'static str, &'static str); 6] {
        [
            ("books.db", "accounting: companies, vouchers, and logs over 200 days"),
            ("queue.db", "WAL mode, with a writer at work"),
            ("pinned.db", "a long read prevents its WAL from being checkpointed; see litekeeper locks"),
            ("bloated.db", "nine tenths of its pages are free until the vacuum; a foreign key has no index"),
            ("damaged.db", "a page of its table is zeroed"),
            (
                "flipped.db",
                "one bit of an amount changed on the disk; litekeeper check says ok, litekeeper scrub does not",
            ),
        ]
    }
}

impl DemoDirectory {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The writer ends when its input does; a signal of the terminal may have ended it before.
        drop(self.writer.stdin.take());
        let _ = self.writer.wait();
    }
}
