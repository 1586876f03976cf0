//! Why the trace exporter cannot be started.

use std::io;

use crate::config::EndpointError;
use crate::tls::TlsError;

/// Settings that would send traces to the wrong place or nowhere, or a failure to start the
/// exporter.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// An environment variable with an invalid URL.
    #[error("{variable} {problem}")]
    Endpoint {
        /// Name of the variable.
        variable: &'static str,
        /// What is wrong with its value.
        problem: EndpointError,
    },
    /// An environment variable with a protocol other than `http/protobuf`.
    #[error(
        "{variable}={protocol}: litekeeper supports only http/protobuf; set it to that, and the endpoint to the collector's port \
         for OTLP over HTTP (usually 4318)"
    )]
    Protocol {
        /// Name of the variable.
        variable: String,
        /// Its value.
        protocol: String,
    },
    /// A TLS file cannot be used.
    #[error("traces to {endpoint}: {error}")]
    Tls {
        /// The URL of the collector.
        endpoint: String,
        /// What is wrong.
        error: TlsError,
    },
    /// The exporter thread or its runtime cannot be started.
    #[error("traces: cannot start the exporter thread: {0}")]
    Thread(io::Error),
}
