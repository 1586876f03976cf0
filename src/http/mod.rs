//! The only door to hyper: the listener, the routes, the page.
//!
//! A handler formats what is already known. It must never touch a database or a file system, and a
//! slow client must never hold up another.

mod guests;
mod listener;
mod negotiate;
mod origin;
mod page;
mod patience;
mod routes;
mod server;

pub use listener::Listener;
pub use listener::bind;
pub use listener::inherited;
pub use routes::ReloadRequest;
pub use routes::Site;
pub use server::serve;
