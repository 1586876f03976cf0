//! The integration tests: the real binary, real SQLite files, real second processes.
//!
//! One binary with a harness of its own, so that a test whose tool is not on the machine is reported as ignored,
//! never as passed.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use libtest_mimic::Arguments;

mod accounting;
mod alert_delivery;
mod alert_scenarios;
mod alerts;
mod auth;
mod backup_identity;
mod browser;
mod check;
mod collectors;
mod command_line;
mod custom;
mod dashboards;
mod deploy;
mod doctor;
mod exposition;
mod fault_injection;
mod findings;
mod fuzz_seeds;
mod hostile_input;
mod http;
mod language;
mod locks;
mod lost_locks;
mod maintenance;
mod manifests;
mod names;
mod owner_formats;
mod owners;
mod process;
mod prometheus;
mod readers;
mod retention;
mod rows;
mod safety_guarantees;
mod scrub;
mod scrub_task;
mod sealed;
mod smoke;
mod space;
mod supply_chain;
mod support;
mod tasks;
mod tidy;
mod time_formats;
mod traces;
mod unknown_parts;
mod watching;
mod web;
mod zoo;

fn main() {
    support::SecondProcess::live_if_asked();
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    trials.extend(accounting::trials());
    trials.extend(alerts::trials());
    trials.extend(backup_identity::trials());
    trials.extend(browser::trials());
    trials.extend(check::trials());
    trials.extend(collectors::trials());
    trials.extend(command_line::trials());
    trials.extend(custom::trials());
    trials.extend(dashboards::trials());
    trials.extend(deploy::trials());
    trials.extend(doctor::trials());
    trials.extend(auth::trials());
    trials.extend(exposition::trials());
    trials.extend(fault_injection::trials());
    trials.extend(findings::trials());
    trials.extend(fuzz_seeds::trials());
    trials.extend(http::trials());
    trials.extend(language::trials());
    trials.extend(locks::trials());
    trials.extend(lost_locks::trials());
    trials.extend(maintenance::trials());
    trials.extend(manifests::trials());
    trials.extend(retention::trials());
    trials.extend(rows::trials());
    trials.extend(owner_formats::trials());
    trials.extend(owners::trials());
    trials.extend(names::trials());
    trials.extend(alert_delivery::trials());
    trials.extend(process::trials());
    trials.extend(prometheus::trials());
    trials.extend(safety_guarantees::trials());
    trials.extend(scrub_task::trials());
    trials.extend(alert_scenarios::trials());
    trials.extend(readers::trials());
    trials.extend(scrub::trials());
    trials.extend(sealed::trials());
    trials.extend(smoke::trials());
    trials.extend(space::trials());
    trials.extend(supply_chain::trials());
    trials.extend(tasks::trials());
    trials.extend(tidy::trials());
    trials.extend(time_formats::trials());
    trials.extend(traces::trials());
    trials.extend(unknown_parts::trials());
    trials.extend(hostile_input::trials());
    trials.extend(watching::trials());
    trials.extend(web::trials());
    trials.extend(zoo::trials());
    libtest_mimic::run(&arguments, trials).exit();
}
