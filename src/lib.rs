//! litekeeper monitors and maintains SQLite databases that other programs own.
//!
//! The binary is one line, [`main`]. This page is the map of the code; ARCHITECTURE.md has the
//! rules and decisions, and CONTRIBUTING.md the recipes.
//!
//! # How data flows
//!
//! [`config`] and [`discovery`] determine the databases. [`collection`] runs the [`collectors`] on
//! each and publishes a snapshot, which [`metrics`] renders and [`http`] serves. The [`runner`]
//! starts the [`tasks`] that the [`scheduler`] finds due, and records each run in the log, the
//! trace, the [`state_store`] and the metrics. A scrape never opens a database.
//!
//! # Modules
//!
//! Entry points
//! - [`cli`]: one file per subcommand, exit codes, log setup
//! - [`app`]: the composition root: builds, binds, spawns, reloads, stops
//!
//! Configuration and databases
//! - [`config`]: YAML to validated types, with the position of every error
//! - [`database`], [`database_files`]: a database with its settings; the names of its files
//! - [`discovery`]: paths and patterns to named databases
//!
//! Reading
//! - [`scrub`]: compares pages on disk with what they were (crate `litekeeper-scrub`)
//! - [`sqlite`], [`limits`]: readers and writers with deadlines (crate `litekeeper-sqlite`)
//! - [`os`]: what the kernel knows of files, locks and processes, without opening a database
//! - [`locks`]: locked bytes as SQLite's locks, and how long each is held
//! - [`collectors`]: reads one database; [`collection`]: the loops over all of them
//! - [`health_report`]: checks one database; [`doctor`]: rules over facts, with remediation
//!
//! Maintenance
//! - [`sealed`]: hashes of rows that are final, and their comparison
//! - [`task`], [`tasks`]: names of the tasks; what each does, skips and reports
//! - [`schedule`], [`scheduler`]: cron, intervals and windows; what starts when
//! - [`runner`], [`actions`]: runs due tasks; runs what users request over HTTP
//! - [`record`], [`state_store`], [`trends`]: the record of a run; the agent's own SQLite file;
//!   values over time
//!
//! Output
//! - [`metrics`], [`runbooks`], [`humanize`]: metric families and their reference; alert
//!   instructions; numbers for people
//! - [`span`], [`telemetry`]: the spans that are created; their export over OTLP
//! - [`http`]: listeners, routes, API and pages
//! - [`http_client`]: single requests with limits, for `healthcheck` and OTLP
//! - [`auth`], [`tls`]: passwords, rate limits, CSRF tokens; certificates and handshakes
//!
//! Support
//! - [`worker_pool`]: the bridge from asynchronous to blocking code
//! - [`demo`]: the databases of `litekeeper demo`
//! - [`internals`]: what tests, benchmarks and fuzz targets use

mod actions;
mod app;
mod auth;
mod cli;
mod collection;
mod collectors;
mod config;
mod database;
mod database_files;
mod demo;
mod discovery;
mod doctor;
mod health_report;
mod http;
mod http_client;
mod humanize;
#[doc(hidden)]
pub mod internals;
mod locks;
mod metrics;
mod os;
mod record;
mod runbooks;
mod runner;
mod schedule;
mod scheduler;
mod sealed;
mod span;
mod state_store;
mod task;
mod tasks;
mod telemetry;
mod tls;
mod trends;
mod worker_pool;

use litekeeper_scrub as scrub;
use litekeeper_sqlite as sqlite;
use litekeeper_sqlite::limits;

pub use cli::main;
