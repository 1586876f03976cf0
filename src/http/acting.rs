//! What a signed-in user may have done: the forms, and what comes of them.

use maud::Markup;
use maud::html;

use crate::doors::Visitor;
use crate::metrics::Upkeep;
use crate::sample::Observed;

use super::routes::Site;

impl Site {
    /// Forms on a database's page.
    pub(super) fn acts_of(&self, _observed: &Observed, _upkeep: &Upkeep, _visitor: &Visitor) -> Markup {
        html! {}
    }

    /// Forms on the page of tasks.
    pub(super) fn acts_on_everything(&self, _paused: bool, _visitor: &Visitor) -> Markup {
        html! {}
    }
}
