//! Handlers of the pages.
//!
//! Pages show what is in memory, and what the state file returns within a time limit: if its disk hangs, the page says
//! so and shows the rest. Only `?debug=true` and `?doctor=true` read a database, for one client at a time.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use hyper::Request;
use hyper::StatusCode;
use hyper::header::CACHE_CONTROL;
use hyper::header::CONTENT_SECURITY_POLICY;
use hyper::header::HeaderValue;

use crate::auth::Principal;
use crate::collectors::DatabaseSnapshot;
use crate::collectors::sample_database;
use crate::runbooks;
use crate::state_store::RunQuery;
use crate::worker_pool::run_blocking;

use super::super::response::Response;
use super::super::response::negotiated;
use super::super::response::text;
use super::super::response::with_type;
use super::super::state::AppState;
use super::database::DatabasePage;
use super::database::RecentHistory;
use super::doctor::DoctorPage;
use super::index::IndexPage;
use super::layout::ICON;
use super::layout::ICON_PATH;
use super::layout::PageContext;
use super::layout::SECURITY_POLICY;
use super::layout::STYLE;
use super::layout::STYLE_PATH;
use super::query::Query;
use super::query::percent_decode;
use super::tasks::TasksPage;

const HTML: &str = "text/html; charset=utf-8";
/// The runbook of each alert is below this path.
pub(in crate::http) const RUNBOOKS_PATH: &str = "/runbooks/";

/// How long the state file may take, and an on-demand sample, whose own limit is 2 s.
const STATE_STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// The most runs and actions on a page.
const RECENT_ROWS: u32 = 30;

/// A page with the headers that all pages have.
pub(in crate::http) fn page<B>(request: &Request<B>, html: String) -> Response {
    let mut response =
        negotiated(request, StatusCode::OK, HTML, with_relative_links(request.uri().path(), &html));
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SECURITY_POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes the links of a page relative to its path, so that they work below any prefix that a reverse proxy adds.
///
/// `="/` occurs only at the beginning of a link, because maud escapes quotation marks in text.
fn with_relative_links(path: &str, html: &str) -> String {
    let depth = path.matches('/').count().saturating_sub(1);
    let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    ["href", "src", "action"].into_iter().fold(html.to_owned(), |html, attribute| {
        html.replace(&format!("{attribute}=\"/"), &format!("{attribute}=\"{root}"))
    })
}

/// Runs work that may wait for a disk; fails with a message when it takes too long.
pub(in crate::http) async fn with_timeout<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::time::timeout(STATE_STORE_TIMEOUT, run_blocking(work)).await {
        Ok(Some(done)) => done,
        Ok(None) => Err("internal error; see the log".to_owned()),
        Err(_) => Err("the state file does not respond; its disk may hang".to_owned()),
    }
}

impl AppState {
    /// Dispatches the routes of pages and their assets.
    pub(in crate::http) async fn pages<B>(
        self: Arc<Self>,
        request: &Request<B>,
        visitor: &Principal,
    ) -> Response {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        match request.uri().path() {
            STYLE_PATH => with_type(StatusCode::OK, "text/css; charset=utf-8", STYLE),
            ICON_PATH => with_type(StatusCode::OK, "image/svg+xml", ICON),
            "/" => self.index(request, query, visitor.clone()).await,
            "/tasks" => self.tasks(request, &query, visitor).await,
            path if path.starts_with(RUNBOOKS_PATH) => match runbooks::find(&path[RUNBOOKS_PATH.len()..]) {
                Some(runbook) => text(StatusCode::OK, runbook),
                None => self.not_found(),
            },
            path => match self.database_at(path) {
                None => self.not_found(),
                Some(observed) if query.value("debug") == "true" => self.sample_now(observed).await,
                Some(observed) if query.value("doctor") == "true" => {
                    self.doctor(request, &observed, visitor).await
                }
                Some(observed) => self.database(request, &observed, &query, visitor).await,
            },
        }
    }

    pub(in crate::http) fn not_found(&self) -> Response {
        let paths =
            ["/", "/db/NAME", "/tasks", "/runbooks/ALERT", "/api/v1/", self.web.telemetry_path.as_str()];
        let below = |path: &str| format!("{}{path}", self.web.prefix().as_str());
        let message = format!(
            "not found; the paths are {}, {} and {}\n",
            paths.map(below).join(", "),
            below("/-/healthy"),
            below("/-/ready")
        );
        text(StatusCode::NOT_FOUND, message)
    }

    /// The context of a page for this user.
    pub(in crate::http) fn page_context<'s>(&'s self, visitor: &'s Principal) -> PageContext<'s> {
        PageContext { visitor, telemetry_path: self.web.telemetry_path.as_str() }
    }

    /// The database that a path below `/db/` names.
    pub(in crate::http) fn database_at(&self, path: &str) -> Option<DatabaseSnapshot> {
        self.find(&percent_decode(path.strip_prefix("/db/")?))
    }

    async fn index<B>(self: Arc<Self>, request: &Request<B>, query: Query, visitor: Principal) -> Response {
        // Filtering ten thousand databases is work for a worker thread.
        let html = run_blocking(move || {
            let snapshot = self.snapshot.load();
            let (jobs, trends) = (&self.jobs, &self.trends);
            IndexPage {
                snapshot: &snapshot,
                jobs,
                trends,
                query: &query,
                page_context: self.page_context(&visitor),
            }
            .render()
        })
        .await;
        page(request, html.unwrap_or_default())
    }

    async fn database<B>(
        self: Arc<Self>,
        request: &Request<B>,
        observed: &DatabaseSnapshot,
        query: &Query,
        visitor: &Principal,
    ) -> Response {
        let (_, level, seconds) = DatabasePage::range(query);
        let (state, database) = (Arc::clone(&self), Arc::clone(&observed.database));
        let recent = with_timeout(move || {
            let now = SystemTime::now();
            let since = now.checked_sub(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH);
            let name = database.name.as_str().to_owned();
            let run_query =
                RunQuery { databases: vec![name.clone()], limit: RECENT_ROWS, ..RunQuery::default() };
            let failed = |error: crate::state_store::StateStoreError| error.to_string();
            Ok(RecentHistory {
                points: state.trends.points(&database.path, level, since)?,
                runs: state.state_store.runs(&run_query).map_err(failed)?,
                actions: state.state_store.actions(Some(&name), RECENT_ROWS).map_err(failed)?,
            })
        });
        let recent = recent.await;
        let upkeep = self.jobs.upkeep(&observed.database.name);
        let action_forms = self.action_forms(observed, &upkeep, visitor);
        page(
            request,
            DatabasePage {
                observed,
                upkeep: &upkeep,
                query,
                page_context: self.page_context(visitor),
                recent,
                action_forms,
            }
            .render(),
        )
    }

    async fn tasks<B>(self: Arc<Self>, request: &Request<B>, query: &Query, visitor: &Principal) -> Response {
        let state = Arc::clone(&self);
        let recent = with_timeout(move || {
            let run_query = RunQuery { limit: RECENT_ROWS, ..RunQuery::default() };
            let failed = |error: crate::state_store::StateStoreError| error.to_string();
            let runs = state.state_store.runs(&run_query).map_err(failed)?;
            Ok((runs, state.state_store.actions(None, RECENT_ROWS).map_err(failed)?))
        })
        .await;
        let (upcoming, everything_paused) = (self.jobs.upcoming(), self.jobs.is_everything_paused());
        let action_forms = self.global_action_forms(everything_paused, visitor);
        page(
            request,
            TasksPage {
                upcoming: &upcoming,
                everything_paused,
                query,
                page_context: self.page_context(visitor),
                recent,
                action_forms,
            }
            .render(),
        )
    }

    async fn doctor<B>(
        self: Arc<Self>,
        request: &Request<B>,
        observed: &DatabaseSnapshot,
        visitor: &Principal,
    ) -> Response {
        match self.diagnose_now(observed).await {
            Ok(diagnosis) => {
                let name = observed.database.name.as_str();
                let context = self.page_context(visitor);
                page(request, DoctorPage { name, diagnosis: &diagnosis, page_context: context }.render())
            }
            Err(message) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{message}\n")),
        }
    }

    /// Samples the database now and shows each step, and the current metrics.
    async fn sample_now(self: Arc<Self>, observed: DatabaseSnapshot) -> Response {
        let Ok(permit) = Arc::clone(&self.on_demand).try_acquire_owned() else {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "another on-demand request is in progress or hangs\n",
            );
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
        match self.scrapes.exposition().encode_database(observed) {
            Ok(metrics) => report.push_str(&metrics),
            Err(error) => report.push_str(&error.to_string()),
        }
        text(StatusCode::OK, report)
    }
}
