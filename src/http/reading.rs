//! The pages and what they need: from memory, and from the state file within a limit of time.
//!
//! The state file is the one thing on a disk that a handler reads, on a thread of its own: where it hangs, the page says so
//! and has all else. `?debug=true` and `?doctor=true` are the looks at a database that a client can ask for; one at a time.

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

use super::pages;
use super::pages::DatabasePage;
use super::pages::Frame;
use super::pages::IndexPage;
use super::pages::Past;
use super::pages::Query;
use super::pages::TasksPage;
use super::router::AppState;
use super::router::HTML;
use super::router::RUNBOOKS_PATH;
use super::router::Reply;
use super::router::send;
use super::router::text;
use super::router::with_type;

/// How long the state file may take; a look on request ends by its own budget after 2 s.
const PATIENCE: Duration = Duration::from_secs(3);
/// Runs and actions on a page.
const PAST_ROWS: u32 = 30;

/// An HTML page with the headers that every one has.
pub(super) fn page<B>(request: &Request<B>, html: String) -> Reply {
    let mut reply = send(request, StatusCode::OK, HTML, with_relative_links(request.uri().path(), &html));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(pages::SECURITY_POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Makes the links of a page relative to its path, so that they work below any prefix that a reverse proxy adds.
///
/// The pages write `"/` only at the beginning of a link: text that holds a quotation mark is escaped by maud.
fn with_relative_links(path: &str, html: &str) -> String {
    let depth = path.matches('/').count().saturating_sub(1);
    let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    ["href", "src", "action"].into_iter().fold(html.to_owned(), |html, attribute| {
        html.replace(&format!("{attribute}=\"/"), &format!("{attribute}=\"{root}"))
    })
}

/// Does work that may wait for a disk; words when it takes too long.
pub(super) async fn in_time<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, run_blocking(work)).await {
        Ok(Some(done)) => done,
        Ok(None) => Err("an internal failure; see the log".to_owned()),
        Err(_) => Err("the state file does not answer; its disk may hang".to_owned()),
    }
}

impl AppState {
    /// Everything below `/` that is a page or belongs to one.
    pub(super) async fn pages<B>(self: Arc<Self>, request: &Request<B>, visitor: &Principal) -> Reply {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        match request.uri().path() {
            pages::STYLE_PATH => with_type(StatusCode::OK, "text/css; charset=utf-8", pages::STYLE),
            pages::ICON_PATH => with_type(StatusCode::OK, "image/svg+xml", pages::ICON),
            "/" => self.index(request, query, visitor.clone()).await,
            "/tasks" => self.tasks(request, &query, visitor).await,
            path if path.starts_with(RUNBOOKS_PATH) => match runbooks::find(&path[RUNBOOKS_PATH.len()..]) {
                Some(runbook) => text(StatusCode::OK, runbook),
                None => self.not_found(),
            },
            path => match self.named(path) {
                None => self.not_found(),
                Some(observed) if query.value("debug") == "true" => self.debug(observed).await,
                Some(observed) if query.value("doctor") == "true" => {
                    self.doctor(request, &observed, visitor).await
                }
                Some(observed) => self.database(request, &observed, &query, visitor).await,
            },
        }
    }

    pub(super) fn not_found(&self) -> Reply {
        let paths =
            ["/", "/db/NAME", "/tasks", "/runbooks/ALERT", "/api/v1/", self.web.telemetry_path.as_str()];
        let below = |path: &str| format!("{}{path}", self.web.prefix().as_str());
        let words = format!(
            "not found; there are {}, {} and {}\n",
            paths.map(below).join(", "),
            below("/-/healthy"),
            below("/-/ready")
        );
        text(StatusCode::NOT_FOUND, words)
    }

    /// What is around a page for this visitor.
    pub(super) fn frame<'s>(&'s self, visitor: &'s Principal) -> Frame<'s> {
        Frame { visitor, telemetry_path: self.web.telemetry_path.as_str() }
    }

    /// The database that an address below `/db/` names.
    pub(super) fn named(&self, path: &str) -> Option<DatabaseSnapshot> {
        self.find(&pages::percent_decode(path.strip_prefix("/db/")?))
    }

    /// A database by its name.
    pub(super) fn find(&self, name: &str) -> Option<DatabaseSnapshot> {
        let snapshot = self.snapshot.load();
        snapshot.databases.iter().find(|observed| observed.database.name.as_str() == name).cloned()
    }

    async fn index<B>(self: Arc<Self>, request: &Request<B>, query: Query, visitor: Principal) -> Reply {
        // Looking through ten thousand names is work for a thread of its own.
        let html = run_blocking(move || {
            let snapshot = self.snapshot.load();
            let (jobs, trends) = (&self.jobs, &self.trends);
            IndexPage { snapshot: &snapshot, jobs, trends, query: &query, frame: self.frame(&visitor) }
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
    ) -> Reply {
        let (_, level, seconds) = DatabasePage::range(query);
        let (site, database) = (Arc::clone(&self), Arc::clone(&observed.database));
        let past = in_time(move || {
            let now = SystemTime::now();
            let since = now.checked_sub(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH);
            let name = database.name.as_str().to_owned();
            let question =
                RunQuery { databases: vec![name.clone()], limit: PAST_ROWS, ..RunQuery::default() };
            let failed = |error: crate::state_store::StateStoreError| error.to_string();
            Ok(Past {
                points: site.trends.points(&database.path, level, since)?,
                runs: site.history.runs(&question).map_err(failed)?,
                actions: site.history.actions(Some(&name), PAST_ROWS).map_err(failed)?,
            })
        });
        let past = past.await;
        let upkeep = self.jobs.upkeep(&observed.database.name);
        let acts = self.acts_of(observed, &upkeep, visitor);
        page(
            request,
            DatabasePage { observed, upkeep: &upkeep, query, frame: self.frame(visitor), past, acts }
                .render(),
        )
    }

    async fn tasks<B>(self: Arc<Self>, request: &Request<B>, query: &Query, visitor: &Principal) -> Reply {
        let site = Arc::clone(&self);
        let past = in_time(move || {
            let question = RunQuery { limit: PAST_ROWS, ..RunQuery::default() };
            let failed = |error: crate::state_store::StateStoreError| error.to_string();
            let runs = site.history.runs(&question).map_err(failed)?;
            Ok((runs, site.history.actions(None, PAST_ROWS).map_err(failed)?))
        })
        .await;
        let (upcoming, everything_paused) = (self.jobs.upcoming(), self.jobs.is_everything_paused());
        let acts = self.acts_on_everything(everything_paused, visitor);
        page(
            request,
            TasksPage {
                upcoming: &upcoming,
                everything_paused,
                query,
                frame: self.frame(visitor),
                past,
                acts,
            }
            .render(),
        )
    }

    /// One look now, told step by step, with the metrics as they are.
    async fn debug(self: Arc<Self>, observed: DatabaseSnapshot) -> Reply {
        let Ok(turn) = Arc::clone(&self.debugging).try_acquire_owned() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "another look on request is under way, or hangs\n");
        };
        let database = Arc::clone(&observed.database);
        let looked = tokio::time::timeout(
            PATIENCE,
            run_blocking(move || {
                let collected = sample_database(&database, None);
                // A look that hangs keeps the turn, so that no second one joins it.
                drop(turn);
                collected
            }),
        );
        let mut told = format!(
            "database {}\npath {}\nsettings {:#?}\n\n# the look\n",
            observed.database.name,
            observed.database.path.display(),
            observed.database.settings
        );
        match looked.await {
            Ok(Some(collected)) => {
                told.push_str(&format!(
                    "took {:?}\nfiles {:#?}\n{:#?}\n",
                    collected.elapsed, collected.files, collected.outcome
                ));
            }
            Ok(None) => told.push_str("it panicked; please report it with the log\n"),
            Err(_) => told.push_str("it hangs: the file system does not answer\n"),
        }
        told.push_str("\n# the metrics, as the last sweep left them\n");
        match self.scrapes.exposition().encode_database(observed) {
            Ok(metrics) => told.push_str(&metrics),
            Err(error) => told.push_str(&error.to_string()),
        }
        text(StatusCode::OK, told)
    }
}
