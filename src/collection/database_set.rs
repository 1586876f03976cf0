//! The monitored databases and their directories, which outlive a sweep.

use std::collections::HashMap;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::collectors::Snapshot;
use crate::database::Database;
use crate::database::DatabaseName;
use crate::os::MountTable;
use crate::worker_pool::WorkerPool;

use super::directory::Directory;
use super::directory::directory_of;
use super::hung_devices::HungDevices;
use super::monitored_database::MonitoredDatabase;

/// The monitored databases.
pub(super) struct DatabaseSet {
    pub(super) monitored: Arc<[Arc<MonitoredDatabase>]>,
    pub(super) directories: Arc<[Arc<Directory>]>,
    pub(super) hung: Arc<HungDevices>,
}

impl DatabaseSet {
    /// Takes over the databases that discovery found, and returns whether they changed. A database
    /// that stays keeps what is known of it.
    pub(super) fn update_targets(&mut self, targets: &[Arc<Database>]) -> bool {
        let same = self.monitored.len() == targets.len()
            && self
                .monitored
                .iter()
                .zip(targets)
                .all(|(monitored, target)| Arc::ptr_eq(&monitored.database, target));
        if same {
            return false;
        }
        let known: HashMap<&DatabaseName, &Arc<MonitoredDatabase>> =
            self.monitored.iter().map(|monitored| (&monitored.database.name, monitored)).collect();
        let directories: HashMap<PathBuf, Arc<Directory>> = self
            .monitored
            .iter()
            .map(|monitored| (directory_of(&monitored.database.path), Arc::clone(&monitored.directory)))
            .collect();
        let mut directories = directories;
        let monitored: Vec<Arc<MonitoredDatabase>> = targets
            .iter()
            .map(|target| {
                let path = directory_of(&target.path);
                let directory =
                    directories.entry(path.clone()).or_insert_with(|| Arc::new(Directory::new(&path)));
                match known.get(&target.name) {
                    Some(monitored) if Arc::ptr_eq(&monitored.database, target) => Arc::clone(monitored),
                    Some(monitored) => {
                        Arc::new(monitored.with_target(Arc::clone(target), Arc::clone(directory)))
                    }
                    None => Arc::new(MonitoredDatabase::new(Arc::clone(target), Arc::clone(directory))),
                }
            })
            .collect();
        let mut unique: Vec<Arc<Directory>> = Vec::new();
        let mut seen = HashSet::new();
        for monitored in &monitored {
            if seen.insert(Arc::as_ptr(&monitored.directory)) {
                unique.push(Arc::clone(&monitored.directory));
            }
        }
        self.monitored = monitored.into();
        self.directories = unique.into();
        true
    }

    pub(super) async fn measure_filesystems(&self, pool: &WorkerPool) {
        let mounts = MountTable::read();
        pool.run(Arc::clone(&self.directories), move |directory| directory.measure(&mounts), || {}).await;
    }

    pub(super) fn snapshot(&self, complete: bool) -> Snapshot {
        Snapshot {
            databases: self.monitored.iter().map(|monitored| monitored.snapshot()).collect(),
            complete,
        }
    }
}
