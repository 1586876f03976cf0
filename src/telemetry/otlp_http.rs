//! Sends one export request: OTLP over HTTP with protobuf
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! Each request opens a new connection, as batches are rare. Timeout and response size are limited,
//! whatever the collector does.

use std::time::Duration;

use http_body_util::BodyExt as _;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::CONTENT_ENCODING;
use hyper::header::CONTENT_TYPE;
use hyper::header::HOST;
use hyper::header::RETRY_AFTER;
use hyper::header::USER_AGENT;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::tls::TlsClient;
use crate::tls::TlsError;

use super::otel_env::ExporterSettings;

const PROTOBUF: &str = "application/x-protobuf";

/// A regular response has some dozen bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Upper limit for the collector's `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why an export failed.
#[derive(Debug)]
pub(super) struct ExportError {
    pub message: String,
    /// Whether the same batch may succeed later.
    pub is_retryable: bool,
    /// The collector's `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl ExportError {
    fn retryable(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_retryable: true, retry_after: None }
    }

    fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_retryable: false, retry_after: None }
    }
}

/// The collector's response to an accepted batch.
#[derive(Debug, Default)]
pub(super) struct ExportResponse {
    /// Number of rejected spans.
    pub rejected: u64,
    /// The collector's reason.
    pub message: String,
}

/// Sends batches to one collector.
#[derive(Debug)]
pub(super) struct OtlpHttpClient {
    settings: ExporterSettings,
    tls: Option<TlsClient>,
}

impl OtlpHttpClient {
    /// Loads the TLS files, if the endpoint is `https`.
    ///
    /// # Errors
    /// A TLS file cannot be used.
    pub(super) fn new(settings: ExporterSettings) -> Result<Self, TlsError> {
        let endpoint = &settings.endpoint;
        let tls = endpoint.tls.then(|| TlsClient::new(&endpoint.host, &settings.tls)).transpose()?;
        Ok(Self { settings, tls })
    }

    /// Sends a batch once.
    pub(super) async fn send(&self, body: Bytes) -> Result<ExportResponse, ExportError> {
        let timeout = self.settings.timeout;
        match tokio::time::timeout(timeout, self.connect_and_send(body)).await {
            Ok(result) => result,
            Err(_) => Err(ExportError::retryable(format!("no response within {} ms", timeout.as_millis()))),
        }
    }

    async fn connect_and_send(&self, body: Bytes) -> Result<ExportResponse, ExportError> {
        let endpoint = &self.settings.endpoint;
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
        let stream = stream.map_err(|error| ExportError::retryable(error.to_string()))?;
        match &self.tls {
            None => self.send_request(stream, body).await,
            Some(tls) => {
                let secured = tls.connect(stream).await;
                let secured = secured.map_err(|error| ExportError::retryable(format!("TLS: {error}")))?;
                self.send_request(secured, body).await
            }
        }
    }

    async fn send_request<S>(&self, stream: S, body: Bytes) -> Result<ExportResponse, ExportError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| ExportError::retryable(format!("connection failed: {error}"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Aborts the connection task when this function returns.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = self.request(body)?;
        let (head, response) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let response = Limited::new(response, MAX_RESPONSE_BYTES).collect().await.map(|body| body.to_bytes());
        match head.status {
            status if status.is_success() => {
                let response = response
                    .map_err(|error| ExportError::permanent(format!("cannot read the response: {error}")))?;
                let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                parse_response(kind.unwrap_or(PROTOBUF), &response)
            }
            // The retryable status codes of the OTLP specification.
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => {
                let seconds =
                    head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                let retry_after =
                    seconds.map(Duration::from_secs).map(|backoff| backoff.min(MAX_RETRY_AFTER));
                Err(ExportError {
                    retry_after,
                    ..ExportError::retryable(format!("response status {status}"))
                })
            }
            status => Err(ExportError::permanent(format!("response status {status}"))),
        }
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, ExportError> {
        let ExporterSettings { endpoint, headers, gzip, .. } = &self.settings;
        let mut request = Request::post(endpoint.path.as_str()).header(HOST, endpoint.authority());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body));
        let mut request =
            request.map_err(|error| ExportError::permanent(format!("invalid request: {error}")))?;
        let fixed = request.headers_mut();
        fixed.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(PROTOBUF));
        if *gzip {
            fixed.insert(CONTENT_ENCODING, hyper::header::HeaderValue::from_static("gzip"));
        }
        let agent = concat!("litekeeper/", env!("CARGO_PKG_VERSION"));
        fixed.insert(USER_AGENT, hyper::header::HeaderValue::from_static(agent));
        Ok(request)
    }
}

/// Parses the body of a success response. A web server that is not a collector may respond with 200
/// to everything.
fn parse_response(kind: &str, response: &[u8]) -> Result<ExportResponse, ExportError> {
    match kind.split(';').next().unwrap_or_default().trim() {
        PROTOBUF => {
            let response = ExportTraceServiceResponse::decode(response)
                .map_err(|error| ExportError::permanent(format!("the response is not OTLP: {error}")))?;
            let partial = response.partial_success.unwrap_or_default();
            let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
            Ok(ExportResponse { rejected, message: partial.error_message })
        }
        // Not what was requested, but some collectors respond with `{}`.
        "application/json" => Ok(ExportResponse::default()),
        other => Err(ExportError::permanent(format!(
            "the response has content type {other}, which is not OTLP; is this a collector?"
        ))),
    }
}
