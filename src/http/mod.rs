//! The only door to hyper: the listener, the routes, the page.
//!
//! A handler formats what is already known. It must never touch a database or a file system, and a
//! slow client must never hold up another.

mod negotiate;
mod page;
mod routes;
mod server;

pub use routes::ReloadRequest;
pub use routes::Site;
pub use server::serve;
