//! Spans of operations on a database: names and attributes are an interface (docs/TRACING.md).
//!
//! They follow OpenTelemetry's conventions for databases
//! (<https://opentelemetry.io/docs/specs/semconv/database/database-spans/>); all other attributes
//! begin with `litekeeper.`. This module does not know the exporter: while there is none, a span
//! costs one atomic load.

use std::fmt::Display;
use std::time::Duration;

use tracing::field::Empty;
use tracing::span::EnteredSpan;

/// What marks these spans and their events, for the filters of who takes them.
pub const TARGET: &str = "litekeeper::trace";

/// SQLite, as the conventions call it.
const SYSTEM: &str = "sqlite";

/// An error as OpenTelemetry's conventions describe it.
pub trait SpanError: Display {
    /// The name of SQLite's primary result code.
    fn status_code(&self) -> &'static str;
    /// The kind of error, in a few words that do not vary; `None` for what was asked for, which is
    /// no error.
    fn error_type(&self) -> Option<&'static str>;
}

/// One operation of SQLite, from here until it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Operation(EnteredSpan);

impl Operation {
    /// Begins an operation; its name and its table make the span's name.
    pub fn begin(name: &str, table: Option<&str>) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            "operation",
            otel.name = table.map_or_else(|| name.to_owned(), |table| format!("{name} {table}")),
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            db.system.name = SYSTEM,
            db.operation.name = name,
            db.collection.name = table,
            db.response.status_code = Empty,
            "error.type" = Empty,
            litekeeper.rows = Empty,
            litekeeper.problems = Empty,
            litekeeper.transactions = Empty,
            litekeeper.write_hold_seconds = Empty,
            litekeeper.max_write_hold_seconds = Empty,
        );
        Self(span.entered())
    }

    /// Rows that it deleted or counted.
    pub fn rows(&self, rows: u64) {
        self.0.record("litekeeper.rows", number(rows));
    }

    /// Problems that it found.
    pub fn problems(&self, problems: usize) {
        self.0.record("litekeeper.problems", number(problems as u64));
    }

    /// How long it held the write lock, in one piece.
    pub fn held(&self, hold: Duration) {
        self.0.record("litekeeper.write_hold_seconds", hold.as_secs_f64());
        self.0.record("litekeeper.max_write_hold_seconds", hold.as_secs_f64());
    }

    /// Records the failure.
    pub fn failed(&self, fault: &impl SpanError) {
        if self.0.is_disabled() {
            return;
        }
        self.0.record("db.response.status_code", fault.status_code());
        if let Some(kind) = fault.error_type() {
            self.0.record("error.type", kind);
            self.0.record("otel.status_code", "error");
            self.0.record("otel.status_description", fault.to_string());
        }
    }

    /// Records a failure, and returns the result.
    ///
    /// # Errors
    /// That of the result.
    pub fn record_result<T, E: SpanError>(&self, result: Result<T, E>) -> Result<T, E> {
        if let Err(fault) = &result {
            self.failed(fault);
        }
        result
    }
}

/// The transactions of one operation. Thousands of them are one span, with an event for those that
/// say something: the first, the second, the fourth and so on, and each that held the lock for
/// longer than all before.
#[derive(Debug, Default)]
pub struct Transactions {
    count: u64,
    held: Duration,
    longest: Duration,
}

impl Transactions {
    /// One is over: rows or pages that it was about, and how long it held the write lock.
    pub fn add(&mut self, units: u64, hold: Duration) {
        self.count += 1;
        self.held += hold;
        if self.count.is_power_of_two() || hold > self.longest {
            tracing::info!(
                target: TARGET,
                {
                    litekeeper.transaction = number(self.count),
                    litekeeper.units = number(units),
                    litekeeper.write_hold_seconds = hold.as_secs_f64(),
                },
                "transaction"
            );
        }
        self.longest = self.longest.max(hold);
    }

    /// The longest hold of all.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Tells the operation of all of them.
    pub fn record_on(&self, operation: &Operation) {
        operation.0.record("litekeeper.transactions", number(self.count));
        operation.0.record("litekeeper.write_hold_seconds", self.held.as_secs_f64());
        operation.0.record("litekeeper.max_write_hold_seconds", self.longest.as_secs_f64());
    }
}

/// OpenTelemetry's integers are signed.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
