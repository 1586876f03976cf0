//! litekeeper keeps watch over SQLite databases that other programs own.
pub mod app;
pub mod blocking;
pub mod budget;
pub mod cli;
pub mod config;
pub mod database;
pub mod demo;
pub mod discovery;
pub mod host;
pub mod http;
pub mod metrics;
pub mod report;
pub mod sample;
pub mod sampler;
pub mod sidecar;
pub mod sqlite;
pub mod units;
