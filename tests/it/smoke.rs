//! The shortest way through: a database, the agent, a scrape.

use libtest_mimic::Trial;

use crate::support::Agent;
use crate::support::TestDatabase;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![test("a_database_is_found_and_scraped", a_database_is_found_and_scraped)]
}

fn a_database_is_found_and_scraped() {
    let database = TestDatabase::new("books").rows(100).make();
    let agent = Agent::serve(&[database.path()]);
    let scrape = agent.ready().metrics();
    assert_eq!(scrape.value("sqlite_up", &[("db", "books")]), Some(1.0));
    assert_eq!(scrape.value("sqlite_page_size_bytes", &[("db", "books")]), Some(4096.0));
}
