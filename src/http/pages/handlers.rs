//! Handlers of the pages.
//!
//! Pages show what is in memory, and what the state file returns within a time limit: if its disk
//! hangs, the page says so and shows the rest. Only `?debug=true` and `?doctor=true` read a
//! database, for one client at a time.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header::CACHE_CONTROL;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::Response;

use crate::auth::Principal;
use crate::collectors::DatabaseSnapshot;
use crate::collectors::sample_database;
use crate::runbooks;
use crate::state_store::RunQuery;
use crate::worker_pool::run_blocking;

use super::super::action_forms::action_forms;
use super::super::action_forms::global_action_forms;
use super::super::caller::Caller;
use super::super::query::Query;
use super::super::query::percent_decode;
use super::super::response::HTML;
use super::super::response::not_found;
use super::super::response::text;
use super::super::response::with_type;
use super::super::state::AppState;
use super::super::state_reads::STATE_STORE_TIMEOUT;
use super::super::state_reads::with_timeout;
use super::database::DatabasePage;
use super::database::RecentHistory;
use super::doctor::DoctorPage;
use super::index::IndexPage;
use super::layout::ICON;
use super::layout::PageContext;
use super::layout::SECURITY_POLICY;
use super::layout::STYLE;
use super::tasks::TasksPage;

/// The most runs and actions on a page.
const RECENT_ROWS: u32 = 30;

/// A page with the headers that all pages have.
pub(in crate::http) fn page(uri: &Uri, html: &str) -> Response {
    let mut response = with_type(StatusCode::OK, HTML, with_relative_links(uri.path(), html));
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SECURITY_POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes the links of a page relative to its path, so that they work below any prefix that a
/// reverse proxy adds.
///
/// `="/` occurs only at the beginning of a link, because maud escapes quotation marks in text.
fn with_relative_links(path: &str, html: &str) -> String {
    let depth = path.matches('/').count().saturating_sub(1);
    let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    ["href", "src", "action"].into_iter().fold(html.to_owned(), |html, attribute| {
        html.replace(&format!("{attribute}=\"/"), &format!("{attribute}=\"{root}"))
    })
}

/// The context of a page for this user.
pub(in crate::http) fn page_context<'s>(state: &'s AppState, principal: &'s Principal) -> PageContext<'s> {
    PageContext { visitor: principal, telemetry_path: state.web.telemetry_path.as_str() }
}

pub(in crate::http) async fn style() -> Response {
    with_type(StatusCode::OK, "text/css; charset=utf-8", STYLE)
}

pub(in crate::http) async fn icon() -> Response {
    with_type(StatusCode::OK, "image/svg+xml", ICON)
}

pub(in crate::http) async fn runbook(State(state): State<Arc<AppState>>, uri: Uri) -> Response {
    match uri.path().strip_prefix("/runbooks/").and_then(runbooks::find) {
        Some(runbook) => text(StatusCode::OK, runbook),
        None => not_found(&state.web),
    }
}

pub(in crate::http) async fn index(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    query: Query,
) -> Response {
    // Filtering ten thousand databases is work for a worker thread.
    let html = run_blocking(move || {
        let snapshot = state.snapshot.load();
        let (jobs, trends) = (&state.jobs, &state.trends);
        let page_context = page_context(&state, &caller.principal);
        IndexPage { snapshot: &snapshot, jobs, trends, query: &query, page_context }.render()
    })
    .await;
    page(&uri, &html.unwrap_or_default())
}

pub(in crate::http) async fn tasks(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    query: Query,
) -> Response {
    let store = Arc::clone(&state.state_store);
    let recent = with_timeout(move || {
        let run_query = RunQuery { limit: RECENT_ROWS, ..RunQuery::default() };
        let runs = store.runs(&run_query)?;
        Ok((runs, store.actions(None, RECENT_ROWS)?))
    })
    .await;
    let (upcoming, everything_paused) = (state.jobs.upcoming(), state.jobs.is_everything_paused());
    let tasks_page = TasksPage {
        upcoming: &upcoming,
        everything_paused,
        query: &query,
        page_context: page_context(&state, &caller.principal),
        recent,
        action_forms: global_action_forms(&state, everything_paused, &caller.principal),
    };
    page(&uri, &tasks_page.render())
}

/// `/db/NAME`, with `?debug=true` or `?doctor=true` also on-demand sampling and diagnosis.
pub(in crate::http) async fn database(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    query: Query,
) -> Response {
    let name = uri.path().strip_prefix("/db/").map(percent_decode).unwrap_or_default();
    let Some(observed) = state.find(&name) else { return not_found(&state.web) };
    if query.value("debug") == "true" {
        sample_now(&state, observed).await
    } else if query.value("doctor") == "true" {
        doctor(&state, &caller.principal, &uri, &observed).await
    } else {
        database_page(&state, &caller.principal, &uri, &query, &observed).await
    }
}

async fn database_page(
    state: &Arc<AppState>,
    principal: &Principal,
    uri: &Uri,
    query: &Query,
    observed: &DatabaseSnapshot,
) -> Response {
    let (_, level, seconds) = DatabasePage::range(query);
    let (shared, database) = (Arc::clone(state), Arc::clone(&observed.database));
    let recent = with_timeout(move || {
        let now = SystemTime::now();
        let since = now.checked_sub(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH);
        let name = database.name.as_str().to_owned();
        let run_query = RunQuery { databases: vec![name.clone()], limit: RECENT_ROWS, ..RunQuery::default() };
        Ok(RecentHistory {
            points: shared.trends.points(&database.path, level, since)?,
            runs: shared.state_store.runs(&run_query)?,
            actions: shared.state_store.actions(Some(&name), RECENT_ROWS)?,
        })
    })
    .await;
    let upkeep = state.jobs.upkeep(&observed.database.name);
    let action_forms = action_forms(state, observed, &upkeep, principal);
    let page_context = page_context(state, principal);
    let database_page = DatabasePage { observed, upkeep: &upkeep, query, page_context, recent, action_forms };
    page(uri, &database_page.render())
}

async fn doctor(state: &AppState, principal: &Principal, uri: &Uri, observed: &DatabaseSnapshot) -> Response {
    match state.diagnose_now(observed).await {
        Ok(diagnosis) => {
            let name = observed.database.name.as_str();
            let page_context = page_context(state, principal);
            page(uri, &DoctorPage { name, diagnosis: &diagnosis, page_context }.render())
        }
        Err(message) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{message}\n")),
    }
}

/// Samples the database now and shows each step, and the current metrics.
async fn sample_now(state: &AppState, observed: DatabaseSnapshot) -> Response {
    let Ok(permit) = Arc::clone(&state.on_demand).try_acquire_owned() else {
        let message = "another on-demand request is in progress or hangs\n";
        return text(StatusCode::SERVICE_UNAVAILABLE, message);
    };
    let database = Arc::clone(&observed.database);
    let sampled = tokio::time::timeout(
        STATE_STORE_TIMEOUT,
        run_blocking(move || {
            let collected = sample_database(&database, None);
            // A sample that hangs keeps the permit, so that no second one hangs too.
            drop(permit);
            collected
        }),
    );
    let mut report = format!(
        "database {}\npath {}\nsettings {:#?}\n\n# sample\n",
        observed.database.name,
        observed.database.path.display(),
        observed.database.settings
    );
    match sampled.await {
        Ok(Some(collected)) => {
            report.push_str(&format!(
                "took {:?}\nfiles {:#?}\n{:#?}\n",
                collected.elapsed, collected.files, collected.outcome
            ));
        }
        Ok(None) => report.push_str("the sample panicked; please report this with the log\n"),
        Err(_) => report.push_str("the sample timed out: the file system does not respond\n"),
    }
    report.push_str("\n# metrics after the last sweep\n");
    match state.scrapes.exposition().encode_database(observed) {
        Ok(metrics) => report.push_str(&metrics),
        Err(error) => report.push_str(&error.to_string()),
    }
    text(StatusCode::OK, report)
}
