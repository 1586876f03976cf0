//! The pages: for a person without Grafana. Everything on them is readable without a script.
//!
//! A page formats what is known, and must never wait for a database. What comes from the state file is fetched by the
//! routes, with a limit on the time.

mod chart;
mod database;
mod doctor;
mod dry_run;
mod filter;
mod format;
mod index;
mod locks;
mod query;
mod space;
mod tasks;

pub(super) use database::DatabasePage;
pub(super) use database::Past;
pub(super) use doctor::DoctorPage;
pub(super) use dry_run::plan;
pub(super) use filter::Filter;
pub(super) use index::IndexPage;
pub(super) use query::Query;
pub(super) use query::encode;
pub(super) use query::percent_decode;
pub(super) use tasks::TasksPage;

use maud::DOCTYPE;
use maud::Markup;
use maud::html;

use crate::auth::Principal;

/// Nothing but our own files is loaded, nothing is run, and forms go nowhere else.
pub(super) const SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

/// Where the style sheet is served.
pub(super) const STYLE_PATH: &str = "/style.css";
/// The style sheet.
pub(super) const STYLE: &str = include_str!("style.css");
/// Where the icon is served.
pub(super) const ICON_PATH: &str = "/icon.svg";
/// The icon.
pub(super) const ICON: &str = include_str!("icon.svg");

/// What is around the content of every page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'p> {
    pub visitor: &'p Principal,
    pub telemetry_path: &'p str,
}

/// A whole page around its content.
fn layout(title: &str, here: &str, frame: Frame<'_>, content: &Markup) -> String {
    let Frame { visitor, telemetry_path } = frame;
    let links = [("/", "Databases"), ("/tasks", "Tasks"), (telemetry_path, "Metrics")];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href=(STYLE_PATH);
                link rel="icon" href=(ICON_PATH) type="image/svg+xml";
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    a.brand href="/" { img src=(ICON_PATH) alt="" width="24" height="24"; "litekeeper" }
                    nav aria-label="Main" {
                        @for (path, name) in links {
                            a href=(path) aria-current=[(path == here).then_some("page")] { (name) }
                        }
                    }
                    @if let Some(name) = &visitor.name {
                        span.soft { (name) @if !visitor.can_operate { " (may read)" } }
                    }
                }
                main id="main" { (content) }
                footer { "litekeeper " (env!("CARGO_PKG_VERSION")) ", SQLite " (crate::sqlite::sqlite_version()) }
            }
        }
    };
    page.into_string()
}

/// Links to the pages before and after.
fn pager(query: &Query, path: &str, number: usize, pages: usize) -> Markup {
    let link = |number: usize| query.with(path, &[("page", &number.to_string())]);
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                @if number > 1 { a href=(link(number - 1)) rel="prev" { "← previous" } }
                span { "page " (number) " of " (pages) }
                @if number < pages { a href=(link(number + 1)) rel="next" { "next →" } }
            }
        }
    }
}

/// The part of a list that a page shows, the page's number, and how many there are.
fn cut<T>(list: &[T], number: usize, rows: usize) -> (&[T], usize, usize) {
    let pages = list.len().div_ceil(rows).max(1);
    let number = number.min(pages);
    let shown = list.chunks(rows).nth(number - 1).unwrap_or(&[]);
    (shown, number, pages)
}
