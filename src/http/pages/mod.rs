//! The pages, for people without Grafana. They work without JavaScript.
//!
//! A page formats what is known and never waits for a database. Its handler reads the state file,
//! with a time limit.

mod chart;
mod database;
mod doctor;
mod dry_run;
mod filter;
mod format;
mod handlers;
mod index;
mod layout;
mod locks;
mod scrub;
mod space;
mod tasks;

pub(super) use dry_run::dry_run_page;
pub(super) use filter::Filter;
pub(super) use handlers::database;
pub(super) use handlers::icon;
pub(super) use handlers::index;
pub(super) use handlers::page;
pub(super) use handlers::page_context;
pub(super) use handlers::runbook;
pub(super) use handlers::style;
pub(super) use handlers::tasks;
pub(super) use layout::ICON_PATH;
pub(super) use layout::STYLE_PATH;
