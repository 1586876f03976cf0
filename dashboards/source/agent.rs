//! The agent itself: what it costs, how it keeps up, what it serves.

use serde_json::json;

use super::Dashboard;
use super::panel::Column;
use super::panel::Panel;
use super::panel::Table;
use super::panel::colour;
use super::panel::unit;
use super::section;

pub fn dashboard() -> Dashboard {
    Dashboard {
        uid: "litekeeper-agent",
        title: "litekeeper / Agent",
        description: "The agents themselves: what they cost, how they keep up, what they serve",
        from: "now-1h",
        has_databases: false,
        has_runs: false,
        sections: vec![
            section("Agents", vec![agents()]),
            section("What it costs", costs()),
            section("How it keeps up", sweeps()),
            section("What it serves", serving()),
        ],
    }
}

fn agents() -> Panel {
    let reload: [(f64, &str, &str); 2] = [(1.0, "ok", colour::GOOD), (0.0, "FAILED", colour::BAD)];
    let one = |metric: &str| format!("min by (instance) ({metric}{{@agent}})");
    Table::new("Agents", "One line an agent. A failed load of the configuration leaves the one before in force; the agent's log says why.")
        .size(24, 6)
        .label("instance", "Instance")
        .label("version", "Version")
        .label("revision", "Revision")
        .label("sqlite_version", "SQLite")
        .column(Column::of_labels("max by (instance, version, revision, sqlite_version) (litekeeper_build_info{@agent})"))
        .column(
            Column::new("Last scrape", unit::WORD, &one("up"))
                .words(&[(1.0, "ok", colour::GOOD), (0.0, "FAILED", colour::BAD)]),
        )
        .column(Column::new("Databases", unit::SHORT, "sum by (instance) (litekeeper_databases{@agent})"))
        .column(Column::new("Running for", unit::SECONDS, "time() - max by (instance) (process_start_time_seconds{@agent})"))
        .column(Column::new("Configuration", unit::WORD, &one("litekeeper_config_last_reload_successful")).words(&reload))
        .column(Column::new(
            "Loaded",
            unit::FROM_NOW,
            "1000 * max by (instance) (litekeeper_config_last_reload_success_timestamp_seconds{@agent})",
        ))
        .column(Column::new("Web configuration", unit::WORD, &one("litekeeper_web_config_last_reload_successful")).words(&reload))
        .sorted_by("Instance", false)
}

fn costs() -> Vec<Panel> {
    let dashed = [("custom.lineStyle", json!({"fill": "dash", "dash": [8, 8]}))];
    vec![
        Panel::lines("CPU", "Share of one core that the agent takes.", unit::SHARE)
            .query("rate(process_cpu_seconds_total{@agent}[$__rate_interval])", "{{instance}}"),
        Panel::lines("Memory", "Resident memory.", unit::BYTES)
            .query("process_resident_memory_bytes{@agent}", "{{instance}}"),
        Panel::lines(
            "File descriptors",
            "Descriptors in use, and the most that the system allows, on a logarithmic scale.",
            unit::SHORT,
        )
        .custom(json!({"scaleDistribution": {"type": "log", "log": 10}}))
        .default("min", json!(1))
        .for_names(".* limit", &dashed)
        .query("process_open_fds{@agent}", "{{instance}} open")
        .query("process_max_fds{@agent}", "{{instance}} limit"),
    ]
}

fn sweeps() -> Vec<Panel> {
    vec![
        Panel::steps("Sweep", "Duration of the last complete sweep over all databases. One that takes longer than the sample interval does not keep up.", unit::SECONDS)
            .query("litekeeper_sweep_duration_seconds{@agent}", "{{instance}}"),
        Panel::lines("One look", "How long a look at one database takes. Unchanged databases are not opened and not counted.", unit::SECONDS)
            .query(
                "histogram_quantile(0.5, sum by (instance, le) (rate(litekeeper_sample_duration_seconds_bucket{@agent}[$__rate_interval])))",
                "{{instance}} half of them",
            )
            .query(
                "histogram_quantile(0.99, sum by (instance, le) (rate(litekeeper_sample_duration_seconds_bucket{@agent}[$__rate_interval])))",
                "{{instance}} 99 % of them",
            ),
        Panel::lines("Looks", "Databases opened each second, and those that were not: unchanged ones need no look, stuck ones are on a file system that does not answer.", unit::PER_SECOND)
            .query("rate(litekeeper_sample_duration_seconds_count{@agent}[$__rate_interval])", "{{instance}} opened")
            .query("rate(litekeeper_samples_skipped_total{@agent}[$__rate_interval])", "{{instance}} {{reason}}"),
        Panel::steps("Databases", "Databases that are readable (up), not readable (down) or have not been looked at yet (pending).", unit::SHORT)
            .query("litekeeper_databases{@agent}", "{{instance}} {{state}}"),
        Panel::bars("Discovery errors", "Errors of the scans for database files: directories that cannot be read, scans that hang, files beyond the limit.", unit::SHORT)
            .query("increase(litekeeper_discovery_errors_total{@agent}[$__rate_interval])", "{{instance}}"),
        Panel::steps("Runs under way", "Runs of maintenance that go on at the same time, by task.", unit::SHORT)
            .query("sum by (instance, task) (litekeeper_job_running{@agent})", "{{instance}} {{task}}"),
    ]
}

fn serving() -> Vec<Panel> {
    vec![
        Panel::lines("Requests", "HTTP requests by handler and status code.", unit::PER_SECOND)
            .query(
                "sum by (instance, handler, code) (rate(litekeeper_http_requests_total{@agent}[$__rate_interval]))",
                "{{instance}} {{handler}} {{code}}",
            ),
        Panel::lines("Scrape", "How long Prometheus waits for a scrape.", unit::SECONDS)
            .query("scrape_duration_seconds{@agent}", "{{instance}}"),
        Panel::steps("Series", "Series of a scrape.", unit::SHORT)
            .query("scrape_samples_scraped{@agent}", "{{instance}}"),
        Panel::bars("Series left out", "Series that were left out because a limit was reached, by collector.", unit::SHORT)
            .size(12, 8)
            .query(
                "sum by (instance, collector) (increase(litekeeper_series_dropped_total{@agent}[$__rate_interval]))",
                "{{instance}} {{collector}}",
            ),
        Panel::gauges("Series limit", "Maximum number of series that the table and custom collectors may each export for one database.", unit::SHORT)
            .size(12, 8)
            .now("litekeeper_series_limit{@agent}", "{{instance}}"),
    ]
}
