//! litekeeper keeps watch over SQLite databases that other programs own.
pub mod blocking;
pub mod budget;
pub mod config;
pub mod database;
pub mod discovery;
pub mod host;
pub mod sample;
pub mod sqlite;
