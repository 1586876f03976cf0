//! The only door to hyper: the listener, the routes, the page.
//!
//! A handler formats what is already known. Nothing that a client does not sign in for or ask for by name touches a
//! database; what comes from the state file has a limit on its time (`reading`). A slow client must never hold up another.

mod acting;
mod api;
mod api_json;
mod body;
mod doctor;
mod guests;
mod health;
mod listener;
mod negotiate;
mod origin;
mod pages;
mod patience;
mod reading;
mod response_body;
mod routes;
mod scrapes;
mod server;
mod traced;

pub use health::ask_health;
pub use health::reached_at;
pub use listener::Listener;
pub use listener::bind;
pub use listener::inherited;
pub use routes::ReloadRequest;
pub use routes::Site;
pub use scrapes::Scrapes;
pub use server::serve;
