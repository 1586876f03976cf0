//! The web server: listeners, connections, routes, pages and API. No other module serves HTTP.
//!
//! A handler formats what is already known. Only requests that name a database and ask for it read
//! one, and reads of the state file have a time limit. A slow client must never delay another.

mod action_forms;
mod actions;
mod api;
mod caller;
mod connections;
mod content_negotiation;
mod doctor;
mod endpoints;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod handler_label;
mod healthcheck_client;
mod listener;
mod pages;
mod query;
mod request_body;
mod request_spans;
mod response;
mod route;
mod router;
mod same_origin;
mod scrapes;
mod server;
mod state;
mod state_reads;
mod write_timeout;

pub use healthcheck_client::connect_address;
pub use healthcheck_client::query_health;
pub use listener::Listener;
pub use listener::bind;
pub use listener::inherited;
pub use router::declare_requests;
pub use scrapes::Scrapes;
pub use server::serve;
pub use state::AppState;
pub use state::ReloadError;
pub use state::ReloadRequest;
