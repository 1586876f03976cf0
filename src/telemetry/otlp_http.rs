//! Sends one export request: OTLP over HTTP with protobuf
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::time::Duration;

use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use crate::http_client::Bytes;
use crate::http_client::HttpClient;
use crate::http_client::HttpClientError;
use crate::http_client::HttpRequest;
use crate::http_client::Request;
use crate::http_client::ServerAddress;
use crate::http_client::StatusCode;
use crate::http_client::header::CONTENT_ENCODING;
use crate::http_client::header::CONTENT_TYPE;
use crate::http_client::header::HOST;
use crate::http_client::header::HeaderValue;
use crate::http_client::header::RETRY_AFTER;
use crate::http_client::header::USER_AGENT;
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
    client: HttpClient,
}

impl OtlpHttpClient {
    /// Loads the TLS files, if the endpoint is `https`.
    ///
    /// # Errors
    /// A TLS file cannot be used.
    pub(super) fn new(settings: ExporterSettings) -> Result<Self, TlsError> {
        let endpoint = &settings.endpoint;
        let client = HttpClient {
            address: ServerAddress::Tcp(endpoint.host.clone(), endpoint.port),
            tls: endpoint.tls.then(|| TlsClient::new(&endpoint.host, &settings.tls)).transpose()?,
            timeout: settings.timeout,
            max_body_bytes: MAX_RESPONSE_BYTES,
        };
        Ok(Self { settings, client })
    }

    /// Sends a batch once.
    pub(super) async fn send(&self, body: Bytes) -> Result<ExportResponse, ExportError> {
        let response = self.client.send(self.request(body)?).await.map_err(|error| {
            ExportError::retryable(match error {
                HttpClientError::Connect(error) => error.to_string(),
                HttpClientError::Timeout(limit) => format!("no response within {} ms", limit.as_millis()),
                HttpClientError::Tls(_) | HttpClientError::Connection(_) => error.to_string(),
            })
        })?;
        let text = |name| response.headers.get(name).and_then(|value| value.to_str().ok());
        match response.status {
            status if status.is_success() && !response.is_complete => Err(ExportError::permanent(format!(
                "cannot read the response: it breaks off, or is longer than {MAX_RESPONSE_BYTES} bytes"
            ))),
            status if status.is_success() => {
                parse_response(text(CONTENT_TYPE).unwrap_or(PROTOBUF), &response.body)
            }
            // The retryable status codes of the OTLP specification.
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => {
                let seconds = text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
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

    fn request(&self, body: Bytes) -> Result<HttpRequest, ExportError> {
        let ExporterSettings { endpoint, headers, gzip, .. } = &self.settings;
        let mut request = Request::post(endpoint.path.as_str()).header(HOST, endpoint.authority());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body));
        let mut request =
            request.map_err(|error| ExportError::permanent(format!("invalid request: {error}")))?;
        let fixed = request.headers_mut();
        fixed.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        if *gzip {
            fixed.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let agent = concat!("litekeeper/", env!("CARGO_PKG_VERSION"));
        fixed.insert(USER_AGENT, HeaderValue::from_static(agent));
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
