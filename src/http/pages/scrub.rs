//! The last completed scrub on the page of a database.

use std::time::SystemTime;

use maud::Markup;
use maud::html;

use crate::humanize::count;
use crate::state_store::ScrubStatus;

use super::format::relative_time;
use super::index::percent;

/// The facts of the last scrub.
pub(super) fn scrub_facts(status: &ScrubStatus, now: SystemTime) -> Markup {
    let result = &status.result;
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let share = result.verified_ratio.map(|ratio| html! { small { (percent(ratio)) } });
    html! {
        h3 { "Last scrub" }
        dl.facts {
            (fact("Completed", relative_time(status.completed_at, now)))
            (fact("Verified pages", html! { (count(result.verified)) (share.unwrap_or_default()) }))
            (fact("Not verifiable, base of the next", html! { (count(result.rebased)) }))
            (fact("Unverified", html! {
                (count(result.unverified))
                @for (reason, pages) in &result.reasons { small { (reason.replace('_', " ")) ": " (count(*pages)) } }
            }))
            (fact("Mismatches", html! { (count(result.mismatches)) }))
        }
    }
}
