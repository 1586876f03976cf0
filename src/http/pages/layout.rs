//! The parts that all pages share: header, navigation, footer, style sheet and paging.

use maud::DOCTYPE;
use maud::Markup;
use maud::html;

use crate::auth::Principal;

use super::super::query::Query;

/// Loads only files of this server, runs no scripts, and sends forms only to this server.
pub(in crate::http) const SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

pub(in crate::http) const STYLE_PATH: &str = "/style.css";
pub(in crate::http) const STYLE: &str = include_str!("style.css");
pub(in crate::http) const ICON_PATH: &str = "/icon.svg";
pub(in crate::http) const ICON: &str = include_str!("icon.svg");

/// What every page shows around its content.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct PageContext<'p> {
    pub visitor: &'p Principal,
    pub telemetry_path: &'p str,
}

/// A page with this content.
pub(super) fn layout(title: &str, here: &str, page_context: PageContext<'_>, content: &Markup) -> String {
    let PageContext { visitor, telemetry_path } = page_context;
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
                        span.soft { (name) @if !visitor.can_operate { " (read only)" } }
                    }
                }
                main id="main" { (content) }
                footer { "litekeeper " (env!("CARGO_PKG_VERSION")) ", SQLite " (crate::sqlite::sqlite_version()) }
            }
        }
    };
    page.into_string()
}

/// Links to the previous and the next page.
pub(super) fn pager(query: &Query, path: &str, number: usize, pages: usize) -> Markup {
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

/// The rows of a page, its number, and the number of pages.
pub(super) fn paginate<T>(list: &[T], number: usize, rows: usize) -> (&[T], usize, usize) {
    let pages = list.len().div_ceil(rows).max(1);
    let number = number.min(pages);
    let shown = list.chunks(rows).nth(number - 1).unwrap_or(&[]);
    (shown, number, pages)
}
