//! Parameters of queries.

use std::ops::RangeInclusive;

use utoipa::IntoParams;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::Schema;
use utoipa::openapi::Type;

use super::super::error::HttpError;
use super::super::pages::Filter;
use super::super::query::Query;
use crate::task::TaskKind;

const MAX_LIMIT: usize = 1_000;
const DEFAULT_LIMIT: usize = 100;
const MAX_OFFSET: usize = 1_000_000;

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Limit {
    /// The most entries returned
    #[param(required = false, minimum = 1, maximum = 1_000, default = 100)]
    pub limit: usize,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Offset {
    /// The number of entries skipped
    #[param(required = false, minimum = 0, maximum = 1_000_000, default = 0)]
    pub offset: usize,
}

/// Conditions for databases, which [`Filter`] applies.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that `Filter` reads")]
pub(super) struct FilterParameters {
    /// A part of the name or path
    q: Option<String>,
    #[param(schema_with = state_schema)]
    state: Option<String>,
    /// A label as `app=accounting`, or the name of a label
    label: Option<String>,
}

/// Conditions for runs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsParameters {
    /// Runs of this database
    pub database: Option<String>,
    #[param(schema_with = task_schema)]
    pub task: Option<String>,
}

impl RunsParameters {
    /// # Errors
    /// The task is unknown.
    pub fn from_query(query: &Query) -> Result<Self, HttpError> {
        let task = query.find("task").map(task).transpose()?;
        Ok(Self {
            database: query.find("database").map(str::to_owned),
            task: task.map(|task| task.label().to_owned()),
        })
    }
}

impl Limit {
    /// # Errors
    /// It is not an integer within bounds.
    pub fn from_query(query: &Query) -> Result<Self, HttpError> {
        Ok(Self { limit: number(query, "limit", DEFAULT_LIMIT, 1..=MAX_LIMIT)? })
    }
}

impl Offset {
    /// # Errors
    /// It is not an integer within bounds.
    pub fn from_query(query: &Query) -> Result<Self, HttpError> {
        Ok(Self { offset: number(query, "offset", 0, 0..=MAX_OFFSET)? })
    }
}

/// An integer parameter within bounds.
fn number(
    query: &Query,
    name: &str,
    default: usize,
    bounds: RangeInclusive<usize>,
) -> Result<usize, HttpError> {
    let Some(text) = query.find(name) else { return Ok(default) };
    text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
        HttpError::bad_request(format!(
            "{name} must be a whole number from {} to {}",
            bounds.start(),
            bounds.end()
        ))
    })
}

/// The filter of a query.
///
/// # Errors
/// The state is unknown.
pub(super) fn filter(query: &Query) -> Result<Filter, HttpError> {
    if query.find("state").is_some_and(|state| !Filter::states().contains(&state)) {
        let states = Filter::states().join(", ");
        return Err(HttpError::bad_request(format!("state must be one of {states}")));
    }
    Ok(Filter::from_query(query))
}

/// The task with this label.
///
/// # Errors
/// There is no such task.
pub(super) fn task(label: &str) -> Result<TaskKind, HttpError> {
    TaskKind::from_label(label).ok_or_else(|| {
        HttpError::bad_request(format!("task must be one of {}", TaskKind::labels().join(", ")))
    })
}

fn state_schema() -> Schema {
    one_of(&Filter::states())
}

/// The schema of the label of a task.
pub(super) fn task_schema() -> Schema {
    one_of(&TaskKind::labels())
}

/// The schema of a text that is one of these.
pub(super) fn one_of(values: &[&'static str]) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values.iter().copied())).into()
}
