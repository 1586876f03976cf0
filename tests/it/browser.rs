//! The pages in a real Chromium: both colour schemes, wide and narrow, without a script, and a run from plan to history.

use std::net::SocketAddr;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::Agent;
use crate::support::SecondProcess;
use crate::support::eventually;
use crate::support::test_with_tool;
use crate::support::tool;
use crate::web::TestSite;

pub fn trials() -> Vec<Trial> {
    vec![
        test_with_tool(
            "pages_are_right_in_every_light_and_width",
            chromium(),
            pages_are_right_in_every_light_and_width,
        ),
        test_with_tool(
            "ten_thousand_are_searched_by_keyboard",
            chromium(),
            ten_thousand_are_searched_by_keyboard,
        ),
        test_with_tool("a_run_goes_from_plan_to_history", chromium(), a_run_goes_from_plan_to_history),
    ]
}

/// Chromium, where node and the packages for it are there as well.
fn chromium() -> Option<String> {
    let packages = std::env::var("LITEKEEPER_TEST_NODE_PATH").ok()?;
    let has = |name: &str| std::path::Path::new(&packages).join(name).is_dir();
    tool("node").filter(|_| has("playwright-core") && has("axe-core"))?;
    tool("chromium").or_else(|| tool("chromium-browser"))
}

fn browse(chromium: &str, case: &str, address: SocketAddr) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser.js");
    let output = Command::new("node")
        .args([script, case, &format!("http://{address}")])
        .env("CHROMIUM", chromium)
        .env("NODE_PATH", std::env::var("LITEKEEPER_TEST_NODE_PATH").unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn pages_are_right_in_every_light_and_width(chromium: &str) {
    let site = TestSite::open("");
    // Something to be seen in every section: a run, an action, a second name of the file, tables by size, and a lock whose
    // holder has a long command.
    std::fs::hard_link(site.fixture.path(), site.fixture.directory().join("second name")).unwrap();
    let run = site.ask("anna", r#"{"kind": "run", "database": "books", "task": "health_check"}"#, &[]);
    assert_eq!(run.status, 202, "{}", run.text());
    eventually("the run", || {
        let runs = &site.json("/api/v1/runs?database=books")["runs"];
        (!runs.as_array().unwrap().is_empty()).then_some(())
    });
    let mut reader = SecondProcess::open(&site.fixture.path());
    reader.run("BEGIN; SELECT * FROM items");
    eventually("locks and sizes are seen", || {
        let page = site.get("rudi", "/db/books").text();
        (page.contains("Held for at least") && page.contains("Table")).then_some(())
    });
    browse(chromium, "looks", site.agent.address());
    reader.run("COMMIT");
}

fn a_run_goes_from_plan_to_history(chromium: &str) {
    let site = TestSite::open("");
    browse(chromium, "acts", site.agent.address());
}

fn ten_thousand_are_searched_by_keyboard(chromium: &str) {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("tenant-00000.db");
    rusqlite::Connection::open(&first)
        .unwrap()
        .execute_batch("PRAGMA page_size = 512; CREATE TABLE t (a)")
        .unwrap();
    for index in 1..10_000 {
        std::fs::copy(&first, directory.path().join(format!("tenant-{index:05}.db"))).unwrap();
    }
    let agent = Agent::serve(&[directory.path()]).ready();
    browse(chromium, "searches", agent.address());
}
