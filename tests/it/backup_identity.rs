//! Backups belong to one database: another that has its name later never removes them.

use std::path::Path;
use std::path::PathBuf;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Output;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("another_database_of_the_name_leaves_the_backups", another_database_leaves_them),
        test("another_host_in_the_directory_leaves_the_backups", another_state_file_leaves_them),
        test("backups_of_earlier_versions_are_taken_over_where_known", earlier_versions),
    ]
}

/// Databases `one.db` and `two.db`, each of which can be configured as `app`.
struct Made(TempDir);

impl Made {
    fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(fixture.path("backups")).unwrap();
        for name in ["one", "two"] {
            let owner = Connection::open(fixture.path(&format!("{name}.db"))).unwrap();
            owner.execute_batch(&format!("CREATE TABLE {name} (x); INSERT INTO {name} VALUES (1)")).unwrap();
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Backs one of them up as `app`, keeping one.
    fn back_up(&self, database: &str, state: &str) -> Value {
        let config = self.path("lk.yml");
        let text = format!(
            "state: {}\ndatabases: [{{name: app, path: {}, tasks: {{backup: {{to: {}, keep: 1, min_free_space: 0}}}}}}]\n",
            self.path(state).display(),
            self.path(&format!("{database}.db")).display(),
            self.path("backups").display()
        );
        std::fs::write(&config, text).unwrap();
        let output = Output::of(&["run", "backup", "--config", &config.to_string_lossy(), "--json"]);
        let runs: Value = serde_json::from_str(&output.stdout).unwrap();
        let run = runs["runs"][0].clone();
        assert_eq!(run["outcome"], "success", "{run:#}");
        run["details"]["backup"].clone()
    }

    fn backups(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(self.path("backups")).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "backup"));
        found.sort();
        found
    }
}

fn file_of(backup: &Value) -> PathBuf {
    PathBuf::from(backup["path"].as_str().unwrap())
}

fn another_database_leaves_them() {
    let fixture = Made::new();
    let first = fixture.back_up("one", "state.sqlite");
    assert_eq!(first["files_of_others"], 0);
    fixture.back_up("two", "state.sqlite");
    let second = fixture.back_up("two", "state.sqlite");
    assert_eq!((&second["files"], &second["files_of_others"]), (&1.into(), &1.into()), "{second:#}");
    assert_eq!(fixture.backups().len(), 2, "{:?}", fixture.backups());
    assert!(file_of(&first).exists() && file_of(&second).exists());
    // And the first again: it finds its own, which goes, and leaves the other.
    let third = fixture.back_up("one", "state.sqlite");
    assert_eq!(third["removed"].as_array().unwrap().len(), 1, "{third:#}");
    assert!(!file_of(&first).exists() && file_of(&second).exists() && file_of(&third).exists());
    // A restore says whose the backup is.
    for (backup, database) in [(second, "two"), (third, "one")] {
        let target = fixture.path(&format!("{database}-restored.db"));
        let output = Output::of(&["restore", backup["path"].as_str().unwrap(), &target.to_string_lossy()]);
        assert_eq!(output.code, Some(0), "{output:?}");
        let owner = format!("this is a backup of the database app at {}", fixture.path(database).display());
        assert!(output.stdout.contains(&owner), "{}", output.stdout);
    }
}

fn another_state_file_leaves_them() {
    let fixture = Made::new();
    let first = fixture.back_up("one", "state.sqlite");
    let second = fixture.back_up("one", "other-state.sqlite");
    assert_eq!(second["files_of_others"], 1, "{second:#}");
    assert!(file_of(&first).exists() && file_of(&second).exists());
}

/// Makes a backup and the state file look as versions left them whose backups had no identity.
fn age(fixture: &Made, backup: &Path, state: &str) -> PathBuf {
    let name = backup.file_name().unwrap().to_str().unwrap();
    let (before, _) = name.rsplit_once('-').unwrap();
    let old = backup.with_file_name(format!("{before}.backup"));
    std::fs::rename(backup, &old).unwrap();
    let connection = Connection::open(fixture.path(state)).unwrap();
    connection.execute_batch("DROP TABLE IF EXISTS backup_identities").unwrap();
    let sql = "UPDATE runs SET details = json_set(details, '$.backup.path', ?1) WHERE json_extract(details, '$.backup.path') = ?2";
    let changed = connection.execute(sql, [old.to_str().unwrap(), backup.to_str().unwrap()]).unwrap();
    assert_eq!(changed, 1);
    old
}

fn earlier_versions() {
    // Only this path was ever backed up under the name: its backups are its own.
    let fixture = Made::new();
    let old = age(&fixture, &file_of(&fixture.back_up("one", "state.sqlite")), "state.sqlite");
    let next = fixture.back_up("one", "state.sqlite");
    assert_eq!((&next["files"], &next["files_of_others"]), (&1.into(), &0.into()), "{next:#}");
    assert!(!old.exists());
    // Of two paths nobody knows whose they are.
    let fixture = Made::new();
    let one = file_of(&fixture.back_up("one", "state.sqlite"));
    let two = file_of(&fixture.back_up("two", "state.sqlite"));
    let old = [age(&fixture, &one, "state.sqlite"), age(&fixture, &two, "state.sqlite")];
    let next = fixture.back_up("two", "state.sqlite");
    assert_eq!((&next["files"], &next["files_of_others"]), (&1.into(), &2.into()), "{next:#}");
    assert!(old.iter().all(|path| path.exists()));
    // Nor without a record of them.
    let next = fixture.back_up("one", "new-state.sqlite");
    assert_eq!(next["files_of_others"], 3, "{next:#}");
    assert!(old.iter().all(|path| path.exists()));
}
