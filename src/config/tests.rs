//! Cases as values: a text, and the configuration or the errors that it gives.

mod accepted;
mod custom;
mod entry;
mod keys;
mod refused;
mod targets;
mod tasks;
mod text;
mod web;

use crate::config::Config;
use crate::config::ConfigErrors;

/// The environment of every test.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "9000",
        "EMPTY" => "",
        "STRUCTURE" => "a\n  - path: /injected.db # ${PORT}",
        _ => return None,
    };
    Some(value.to_owned())
}

/// Parses a text as the file `/etc/lk.yml`.
fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, "/etc/lk.yml", &environment)
}

/// Parses a text that is right.
#[track_caller]
fn accept(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{errors}\n--- in\n{text}"))
}

/// The errors of a text, a line each, without the file's name.
#[track_caller]
fn refuse(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err("the text must be refused");
    errors.to_string().lines().map(|line| line.strip_prefix("/etc/lk.yml:").unwrap().to_owned()).collect()
}
