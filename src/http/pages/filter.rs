//! Filters databases by name or path, state and label, for the index page and the API.

use std::collections::BTreeSet;

use crate::collectors::DatabaseSnapshot;
use crate::collectors::DatabaseState;
use crate::database::DatabaseName;

use super::super::query::Query;
use super::format::DAMAGED;
use super::format::state;

/// The conditions that a database must match.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Filter {
    text: String,
    /// The label of a state; empty for any.
    state: String,
    /// Whether a damaged database counts as damaged only, even if it is up.
    by_worst: bool,
    /// The name of a label, and optionally its value.
    label: Option<(String, Option<String>)>,
}

impl Filter {
    pub fn from_query(query: &Query) -> Self {
        let label = query.value("label");
        let label = match label.split_once('=') {
            Some((name, value)) => Some((name.trim().to_owned(), Some(value.trim().to_owned()))),
            None => Some(label.trim()).filter(|name| !name.is_empty()).map(|name| (name.to_owned(), None)),
        };
        // An unknown state does not filter.
        let state = Self::states().into_iter().find(|state| *state == query.value("state"));
        let state = state.unwrap_or_default().to_owned();
        Self { text: query.value("q").to_lowercase(), state, by_worst: false, label }
    }

    /// As [`Self::from_query`], with each database in one state only.
    pub fn by_worst_state(query: &Query) -> Self {
        Self { by_worst: true, ..Self::from_query(query) }
    }

    /// The labels of all states.
    pub fn states() -> [&'static str; 4] {
        let [up, down, pending] = DatabaseState::ALL.map(DatabaseState::label);
        [up, down, pending, DAMAGED]
    }

    pub fn matches(&self, observed: &DatabaseSnapshot, unsound: &BTreeSet<DatabaseName>) -> bool {
        let database = &observed.database;
        let has = |text: &str| text.to_lowercase().contains(&self.text);
        let found =
            self.text.is_empty() || has(database.name.as_str()) || has(&database.path.to_string_lossy());
        let in_state = match self.state.as_str() {
            "" => true,
            wanted if self.by_worst => state(observed.state, unsound.contains(&database.name)) == wanted,
            DAMAGED => unsound.contains(&database.name),
            wanted => observed.state.label() == wanted,
        };
        let label = self.label.as_ref().is_none_or(|(name, value)| {
            let known = database.settings.labels.get(name);
            known.is_some_and(|known| value.as_ref().is_none_or(|value| value == known))
        });
        found && in_state && label
    }
}
