pub mod budget;
pub mod config;
pub mod sqlite;
