//! The table of everything that is said of a database. A new gauge is a row here, and a field and a
//! query where it is measured.

use std::fmt;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::collectors::DatabaseSnapshot;
use crate::collectors::DatabaseState;
use crate::sqlite::Header;

use super::sample_writer::SampleWriter;
use super::sample_writer::timestamp;

/// When a value is taken: the third column of the metric reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// At every sample.
    Sample,
    /// At its own, longer interval.
    Table,
    /// At the interval of the space, where that is asked for.
    Space,
}

/// One metric family of the databases.
pub(super) struct DatabaseFamily {
    /// The name without unit and `_total`/`_info`.
    pub name: &'static str,
    /// The unit, which prometheus-client appends to the name.
    pub unit: Option<Unit>,
    /// Gauge, counter or info.
    pub kind: MetricType,
    /// Labels besides `db`, for the reference.
    pub labels: &'static [&'static str],
    /// When it is taken.
    pub class: Class,
    /// HELP: what the value means and when it is taken.
    pub help: &'static str,
    /// Writes the samples of one database.
    pub samples: fn(&DatabaseSnapshot, &mut SampleWriter<'_, '_>) -> fmt::Result,
}

fn header(
    observed: &DatabaseSnapshot,
    sink: &mut SampleWriter<'_, '_>,
    value: fn(&Header) -> f64,
) -> fmt::Result {
    match &observed.facts {
        Some(facts) => sink.gauge(&[], value(&facts.header)),
        None => Ok(()),
    }
}

fn optional(
    sink: &mut SampleWriter<'_, '_>,
    labels: &[(&'static str, &str)],
    value: Option<f64>,
) -> fmt::Result {
    value.map_or(Ok(()), |value| sink.gauge(labels, value))
}

const fn gauge(
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    samples: fn(&DatabaseSnapshot, &mut SampleWriter<'_, '_>) -> fmt::Result,
) -> DatabaseFamily {
    DatabaseFamily { name, unit, kind: MetricType::Gauge, labels: &[], class: Class::Sample, help, samples }
}

/// The families, in the order of the exposition.
pub(super) static DATABASE_FAMILIES: &[DatabaseFamily] = &[
    // Reachability and identity.
    gauge(
        "sqlite_up",
        None,
        "Whether the last sample opened the database and parsed its first page (1) or could not (0); a locked database keeps its last value",
        |observed, sink| match observed.state {
            DatabaseState::Up => sink.gauge(&[], 1.0),
            DatabaseState::Down => sink.gauge(&[], 0.0),
            DatabaseState::Pending => Ok(()),
        },
    ),
    gauge(
        "sqlite_sample_timestamp",
        Some(Unit::Seconds),
        "When the values of this database were last read or found unchanged, in seconds since 1970",
        |observed, sink| optional(sink, &[], observed.confirmed_at.map(timestamp)),
    ),
    DatabaseFamily {
        name: "sqlite_db",
        unit: None,
        kind: MetricType::Info,
        labels: &["path", "journal_mode", "auto_vacuum", "encoding", "application_id", "profile"],
        class: Class::Sample,
        help: "What the database is: its path, modes and the configured labels, to join on db; encoding and auto_vacuum are as of the last checkpoint",
        samples: |observed, sink| sink.database_info(observed),
    },
    DatabaseFamily {
        name: "litekeeper_alert_threshold",
        unit: None,
        kind: MetricType::Gauge,
        labels: &["alert"],
        class: Class::Sample,
        help: "Threshold of an alert that the configuration sets for this database, in the unit of the alert's value; +Inf, or 0 for alerts on low values, means off",
        samples: |observed, sink| {
            let mut thresholds = observed.database.settings.alerts.iter();
            thresholds.try_for_each(|(alert, value)| sink.gauge(&[("alert", alert)], *value))
        },
    },
    gauge(
        "sqlite_writer_version",
        None,
        "SQLite version number of the last writer, e.g. 3046001 for 3.46.1, as of the last checkpoint",
        |observed, sink| header(observed, sink, |header| f64::from(header.writer_version)),
    ),
    gauge(
        "sqlite_user_version",
        None,
        "PRAGMA user_version, which applications use for their migrations, at the last sample",
        |observed, sink| header(observed, sink, |header| f64::from(header.user_version)),
    ),
    gauge(
        "sqlite_schema_version",
        None,
        "PRAGMA schema_version, which every DDL statement increments, at the last sample",
        |observed, sink| header(observed, sink, |header| f64::from(header.schema_version)),
    ),
    DatabaseFamily {
        name: "sqlite_schema_objects",
        unit: None,
        kind: MetricType::Gauge,
        labels: &["kind"],
        class: Class::Sample,
        help: "Objects of the schema by kind: tables, indexes, views, triggers; read again when the schema changes",
        samples: |observed, sink| {
            let Some(objects) = observed.facts.as_ref().and_then(|facts| facts.objects) else {
                return Ok(());
            };
            sink.gauge(&[("kind", "tables")], f64::from(objects.tables))?;
            sink.gauge(&[("kind", "indexes")], f64::from(objects.indexes))?;
            sink.gauge(&[("kind", "views")], f64::from(objects.views))?;
            sink.gauge(&[("kind", "triggers")], f64::from(objects.triggers))
        },
    },
    gauge(
        "sqlite_last_write_timestamp",
        Some(Unit::Seconds),
        "Newest modification time of main file and WAL, in seconds since 1970",
        |observed, sink| optional(sink, &[], observed.files.map(|files| files.last_write_seconds)),
    ),
    DatabaseFamily {
        name: "sqlite_file_replaced",
        unit: None,
        kind: MetricType::Counter,
        labels: &[],
        class: Class::Sample,
        help: "Number of times that the database file was replaced by another one (inode or device changed)",
        samples: |observed, sink| sink.counter(&[], observed.replaced),
    },
    DatabaseFamily {
        name: "sqlite_errors",
        unit: None,
        kind: MetricType::Counter,
        labels: &["code"],
        class: Class::Sample,
        help: "Errors of litekeeper's accesses to the database, by SQLite result code; a missing or unreadable file counts as SQLITE_CANTOPEN",
        samples: |observed, sink| {
            observed
                .errors
                .iter()
                .try_for_each(|(code, count)| sink.counter(&[("code", code.label())], count))
        },
    },
    // Size.
    DatabaseFamily {
        name: "sqlite_file_size",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        labels: &["file"],
        class: Class::Sample,
        help: "Size of the main file, WAL, shared memory and rollback journal, from stat, also while the database is locked or damaged",
        samples: |observed, sink| files(observed, sink, |file| file.size),
    },
    DatabaseFamily {
        name: "sqlite_file_allocated",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        labels: &["file"],
        class: Class::Sample,
        help: "Disk space that the file occupies, from stat",
        samples: |observed, sink| files(observed, sink, |file| file.allocated),
    },
    gauge("sqlite_page_size", Some(Unit::Bytes), "Bytes per page", |observed, sink| {
        header(observed, sink, |header| f64::from(header.page_size))
    }),
    gauge(
        "sqlite_pages",
        None,
        "Pages of the database including those in the WAL, at the last sample",
        |observed, sink| header(observed, sink, |header| f64::from(header.pages)),
    ),
    gauge(
        "sqlite_freelist_pages",
        None,
        "Unused pages, which a vacuum would release, at the last sample",
        |observed, sink| header(observed, sink, |header| f64::from(header.freelist_pages)),
    ),
    gauge(
        "sqlite_filesystem_avail",
        Some(Unit::Bytes),
        "Bytes that ordinary users may still write on the file system of the database's directory; absent while it does not respond",
        |observed, sink| {
            optional(sink, &[], observed.filesystem.as_ref().map(|facts| facts.available_bytes as f64))
        },
    ),
    gauge(
        "sqlite_filesystem_size",
        Some(Unit::Bytes),
        "Size of the file system of the database's directory",
        |observed, sink| {
            optional(sink, &[], observed.filesystem.as_ref().map(|facts| facts.size_bytes as f64))
        },
    ),
    DatabaseFamily {
        name: "sqlite_filesystem",
        unit: None,
        kind: MetricType::Info,
        labels: &["fstype", "network"],
        class: Class::Sample,
        help: "Type of the file system of the database; WAL mode is unsafe on a network or virtual one (network true)",
        samples: |observed, sink| {
            let Some(facts) = &observed.filesystem else { return Ok(()) };
            sink.info(&[("fstype", &facts.fstype), ("network", if facts.network { "true" } else { "false" })])
        },
    },
    // WAL.
    gauge(
        "sqlite_wal_frames",
        None,
        "Valid frames (pages) in the WAL at the last sample; absent outside WAL mode",
        |observed, sink| wal(observed, sink, |wal| wal.total),
    ),
    gauge(
        "sqlite_wal_checkpointed_frames",
        None,
        "Frames of the WAL that a checkpoint has copied into the main file at the last sample; absent outside WAL mode",
        |observed, sink| wal(observed, sink, |wal| wal.checkpointed),
    ),
    // Locks.
    DatabaseFamily {
        name: "sqlite_lock_holders",
        unit: None,
        kind: MetricType::Gauge,
        labels: &["lock"],
        class: Class::Sample,
        help: "Processes that held a lock at the last sweep, without litekeeper, from /proc/locks (absent where it is not available): writer (RESERVED or PENDING; WAL: its write lock), reader (SHARED; WAL: a read lock), checkpointer (WAL only), exclusive (EXCLUSIVE; WAL: being recovered)",
        samples: super::locks::holders,
    },
    DatabaseFamily {
        name: "sqlite_lock_held",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        labels: &["lock"],
        class: Class::Sample,
        help: "Longest time for which one process has been seen to hold the lock, without a commit that would have ended the hold: a lower bound, 0 when first seen; absent while nobody holds the lock",
        samples: super::locks::held,
    },
    gauge(
        "sqlite_connected_processes",
        None,
        "Processes that had the database open in WAL mode at the last sweep (shared lock on byte 128 of the -shm file), without litekeeper; absent outside WAL mode",
        super::locks::connected,
    ),
    DatabaseFamily {
        name: "sqlite_lost_lock_processes",
        unit: None,
        kind: MetricType::Gauge,
        labels: &["loss"],
        class: Class::Sample,
        help: "Processes that have the database open without their POSIX locks (main_lock), or write to a deleted main file or -wal (deleted_file), so that their commits are or will be lost; updated once per sample interval, or less often if /proc is large; absent if such a process could be hidden from litekeeper",
        samples: super::locks::lost,
    },
    // Tables.
    DatabaseFamily {
        name: "sqlite_table_rows",
        unit: None,
        kind: MetricType::Gauge,
        labels: &["table", "method"],
        class: Class::Table,
        help: "Rows of a table; method is count, or estimate if the count did not finish within its timeout",
        samples: |observed, sink| {
            observed.tables.rows.iter().try_for_each(|row| {
                sink.gauge(&[("table", &row.table), ("method", row.method.label())], row.rows as f64)
            })
        },
    },
    DatabaseFamily {
        name: "sqlite_table_oldest_row_timestamp",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        labels: &["table"],
        class: Class::Table,
        help: "Time of the oldest row of a log table, in seconds since 1970; shows whether retention works",
        samples: |observed, sink| {
            observed.tables.ages.iter().try_for_each(|age| sink.gauge(&[("table", &age.table)], age.oldest))
        },
    },
    DatabaseFamily {
        name: "sqlite_table_newest_row_timestamp",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        labels: &["table"],
        class: Class::Table,
        help: "Time of the newest row of a log table, in seconds since 1970; shows whether logging still works",
        samples: |observed, sink| {
            observed.tables.ages.iter().try_for_each(|age| sink.gauge(&[("table", &age.table)], age.newest))
        },
    },
    // Space.
    DatabaseFamily {
        name: "sqlite_table_size",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        labels: &["table"],
        class: Class::Space,
        help: "Bytes of a table's pages including overflow pages, without indexes, from dbstat; only the largest tables (table_sizes_top)",
        samples: |observed, sink| own_space(observed, sink, |own| own.bytes),
    },
    DatabaseFamily {
        name: "sqlite_table_unused",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        labels: &["table"],
        class: Class::Space,
        help: "Unused bytes in a table's pages, part of which a vacuum would release, from dbstat",
        samples: |observed, sink| own_space(observed, sink, |own| own.unused),
    },
    DatabaseFamily {
        name: "sqlite_index_size",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        labels: &["table", "index"],
        class: Class::Space,
        help: "Bytes of an index's pages, from dbstat; only of the largest tables (table_sizes_top)",
        samples: |observed, sink| {
            observed.space.tables.iter().try_for_each(|table| {
                table.indexes.iter().try_for_each(|index| {
                    sink.gauge(&[("table", &table.table), ("index", &index.index)], index.bytes as f64)
                })
            })
        },
    },
];

fn own_space(
    observed: &DatabaseSnapshot,
    sink: &mut SampleWriter<'_, '_>,
    value: fn(&crate::sqlite::BTreeSize) -> u64,
) -> fmt::Result {
    observed.space.tables.iter().try_for_each(|table| {
        optional(sink, &[("table", &table.table)], table.own.map(|own| value(&own) as f64))
    })
}

fn files(
    observed: &DatabaseSnapshot,
    sink: &mut SampleWriter<'_, '_>,
    value: fn(&crate::os::FileSize) -> u64,
) -> fmt::Result {
    let Some(files) = &observed.files else { return Ok(()) };
    sink.gauge(&[("file", "main")], value(&files.main) as f64)?;
    for (label, file) in [("wal", files.wal), ("shm", files.shm), ("journal", files.journal)] {
        optional(sink, &[("file", label)], file.map(|file| value(&file) as f64))?;
    }
    Ok(())
}

fn wal(
    observed: &DatabaseSnapshot,
    sink: &mut SampleWriter<'_, '_>,
    value: fn(&crate::sqlite::WalFrames) -> u32,
) -> fmt::Result {
    let wal = observed.facts.as_ref().and_then(|facts| facts.wal);
    optional(sink, &[], wal.map(|wal| f64::from(value(&wal))))
}
