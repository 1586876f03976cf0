//! The only door to hyper: the listener, the routes, the page.
//!
//! A handler formats what is already known. Nothing that a client does not sign in for or ask for by name touches a
//! database; what comes from the state file has a limit on its time (`reading`). A slow client must never hold up another.

mod actions;
mod api;
mod api_types;
mod body;
mod connections;
mod content_negotiation;
mod doctor;
mod healthcheck_client;
mod listener;
mod pages;
mod reading;
mod request_spans;
mod response_body;
mod router;
mod same_origin;
mod scrapes;
mod server;
mod write_timeout;

pub use healthcheck_client::ask_health;
pub use healthcheck_client::reached_at;
pub use listener::Listener;
pub use listener::bind;
pub use listener::inherited;
pub use router::AppState;
pub use router::ReloadRequest;
pub use scrapes::Scrapes;
pub use server::serve;
