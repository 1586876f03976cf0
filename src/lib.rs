//! litekeeper keeps watch over SQLite databases that other programs own.

#![forbid(unsafe_code)]

pub mod actions;
pub mod app;
pub mod auth;
pub mod cli;
pub mod collection;
pub mod collectors;
pub mod config;
pub mod database;
pub mod database_files;
pub mod demo;
pub mod discovery;
pub mod doctor;
pub mod health_report;
pub mod http;
pub mod humanize;
pub mod locks;
pub mod metrics;
pub mod os;
pub mod record;
pub mod runbooks;
pub mod runner;
pub mod schedule;
pub mod scheduler;
pub mod span;
pub mod state_store;
pub mod task;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod trends;
pub mod worker_pool;

pub use litekeeper_sqlite as sqlite;
pub use litekeeper_sqlite::limits;
