//! `litekeeper restore`.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::humanize::bytes;
use crate::humanize::counted;
use crate::limits::QueryLimits;
use crate::sqlite::Check;
use crate::tasks;
use crate::tasks::BackupOwner;
use crate::tasks::FailureReason;
use crate::tasks::Progress;
use crate::tasks::READ_BUSY_TIMEOUT;
use crate::tasks::RestoreReport;
use crate::tasks::RunStatus;
use crate::tasks::Stop;
use crate::tasks::StopReason;
use crate::worker_pool::run_blocking;

use super::check;
use super::common::stop_json;
use super::escape::one_line;
use super::escape::print_error;
use super::exit::Exit;
use super::output::print;
use super::progress::TerminalProgress;
use super::runtime::block_on;

#[derive(Debug, Args)]
#[command(
    override_usage = "litekeeper restore [--json] BACKUP TARGET\n       litekeeper restore --verify [--json] BACKUP...",
    after_help = "\
Examples:
  litekeeper restore --verify /srv/backups/books-*.backup
  litekeeper restore /srv/backups/books-20260102T020000.123Z-5f0c9e1b7a42.backup /srv/books/restored.db

Restore never overwrites a file. To replace a database with the restored file, follow the steps that are printed at the end.

Exit codes: 0 done, 1 a backup is damaged, 2 usage error or the target exists, 3 failed. --verify prints the same JSON as `litekeeper check`: see docs/CHECK.md."
)]
pub(super) struct Arguments {
    /// The backup and the file to create; with --verify, one or more backups
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only verify the backups: run the full check and count the rows of every table
    #[arg(long)]
    verify: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    if arguments.verify {
        let options = check::CheckOptions {
            rows: vec!["*".to_owned()],
            checks: vec![Check::Full],
            by_table: false,
            busy_timeout: READ_BUSY_TIMEOUT,
            is_backup: true,
            json: arguments.json,
        };
        return check::check_all(arguments.files, &options);
    }
    let [backup, target] = arguments.files.as_slice() else {
        print_error!(
            "litekeeper: give a backup and the name of the file to create, as in `litekeeper restore books.backup \
             restored.db`; to verify backups without restoring them, add --verify"
        );
        return Ok(Exit::Usage);
    };
    block_on(async {
        let stop = CancellationToken::new();
        app::stop_on_signals(stop.clone())?;
        let cancel = CancellationToken::new();
        let limits = QueryLimits { deadline: None, busy_timeout: READ_BUSY_TIMEOUT, cancel: cancel.clone() };
        let progress = TerminalProgress::new();
        let observer: Arc<dyn Progress> = Arc::new(progress.clone());
        let (from, to) = (backup.clone(), target.clone());
        let mut work = std::pin::pin!(run_blocking(move || tasks::restore(&from, &to, &limits, &observer)));
        let restored = tokio::select! {
            restored = &mut work => restored,
            () = stop.cancelled() => {
                cancel.cancel();
                work.await
            }
        };
        progress.clear();
        let Some(restored) = restored else { anyhow::bail!("{}: the restore panicked", backup.display()) };
        report(backup, &restored, arguments.json)
    })
}

/// Prints the result.
fn report(backup: &Path, restored: &Result<RestoreReport, Stop>, json: bool) -> anyhow::Result<Exit> {
    if json {
        let document = match restored {
            Ok(restored) => {
                serde_json::json!({ "outcome": RunStatus::Success.outcome(), "restored": restored })
            }
            Err(stop) => stop_json(stop),
        };
        print(&(serde_json::to_string_pretty(&document)? + "\n"));
    }
    Ok(match restored {
        Ok(restored) => {
            if !json {
                print(&text(restored));
            }
            Exit::Success
        }
        Err(stop) => {
            print_error!("litekeeper: {}: not restored: {}", backup.display(), stop.message);
            match stop.reason {
                StopReason::Failed(FailureReason::Corrupt) => Exit::Problems,
                StopReason::Failed(FailureReason::Config) => Exit::Usage,
                StopReason::Failed(_) | StopReason::Skipped(_) => Exit::Failure,
            }
        }
    })
}

fn text(restored: &RestoreReport) -> String {
    let RestoreReport {
        backup,
        backup_of,
        manifest,
        target,
        size_bytes,
        tables,
        rows,
        not_compared,
        not_checked,
    } = restored;
    let mut text = format!(
        "{}: restored from {}, {}, verified with {} in {}\n",
        target.display(),
        backup.display(),
        bytes(*size_bytes),
        counted(*rows, "row"),
        counted(*tables, "table"),
    );
    match backup_of {
        Some(BackupOwner { database, path, host, .. }) => {
            let words = format!("this is a backup of the database {database} at {path} on host {host}");
            text.push_str(&format!("  {}\n", one_line(&words)));
        }
        None => text.push_str(
            "  only the file name identifies the database: the backup has no attribute user.litekeeper.database (`cp -a` and `rsync -X` copy it)\n",
        ),
    }
    text.push_str(&format!("  manifest {}\n", one_line(&manifest.summary())));
    for table in not_compared {
        text.push_str(&format!("  not compared, as its rows could not be counted in the backup: {table}\n"));
    }
    for note in not_checked {
        text.push_str(&format!("  {}\n", one_line(note)));
    }
    text.push_str(
        "To replace a database with this file:\n\
         \x20 1. Stop the application.\n\
         \x20 2. Move the old file and its -wal, -shm and -journal, if they exist, to another directory.\n\
         \x20 3. Move this file to the old path and give it the owner and mode of the old file.\n\
         \x20 4. Start the application.\n",
    );
    text
}
