//! The integration tests: the real binary, real SQLite files, real second processes.
//!
//! One binary with a harness of its own, so that a test whose tool is not on the machine is reported as ignored,
//! never as passed.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use libtest_mimic::Arguments;

mod browser;
mod check;
mod custom;
mod doors;
mod exposition;
mod http;
mod maintenance;
mod process;
mod prometheus;
mod promises;
mod smoke;
mod support;
mod tidy;
mod traces;
mod untrusted;
mod web;

fn main() {
    support::SecondProcess::live_if_asked();
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    trials.extend(browser::trials());
    trials.extend(check::trials());
    trials.extend(custom::trials());
    trials.extend(doors::trials());
    trials.extend(exposition::trials());
    trials.extend(http::trials());
    trials.extend(maintenance::trials());
    trials.extend(process::trials());
    trials.extend(prometheus::trials());
    trials.extend(promises::trials());
    trials.extend(smoke::trials());
    trials.extend(tidy::trials());
    trials.extend(traces::trials());
    trials.extend(untrusted::trials());
    trials.extend(web::trials());
    libtest_mimic::run(&arguments, trials).exit();
}
