//! One request to a collector: OTLP over HTTP with protobuf (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! A connection a request: batches are rare, and a connection that is kept would have to be watched. Nothing that a collector
//! does takes longer than the timeout, or more memory than a short answer needs.

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

/// The most bytes of an answer; a whole one has some dozen.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The longest pause that a collector may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why a collector did not take a batch.
#[derive(Debug)]
pub(super) struct ExportError {
    pub message: String,
    /// Whether the same batch may be taken later.
    pub is_retryable: bool,
    /// The pause that it asks for.
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

/// What a collector did with a batch that it took.
#[derive(Debug, Default)]
pub(super) struct ExportResponse {
    /// Spans that it did not want.
    pub rejected: u64,
    /// Why.
    pub message: String,
}

/// The way to a collector.
#[derive(Debug)]
pub(super) struct OtlpHttpClient {
    settings: ExporterSettings,
    tls: Option<TlsClient>,
}

impl OtlpHttpClient {
    /// Prepares the way.
    ///
    /// # Errors
    /// TLS is wanted, and a file that it needs cannot be used.
    pub(super) fn new(settings: ExporterSettings) -> Result<Self, TlsError> {
        let endpoint = &settings.endpoint;
        let tls = endpoint.tls.then(|| TlsClient::new(&endpoint.host, &settings.tls)).transpose()?;
        Ok(Self { settings, tls })
    }

    /// Sends a batch, once.
    pub(super) async fn send(&self, body: Bytes) -> Result<ExportResponse, ExportError> {
        let timeout = self.settings.timeout;
        match tokio::time::timeout(timeout, self.connect_and_send(body)).await {
            Ok(result) => result,
            Err(_) => Err(ExportError::retryable(format!("no answer within {} ms", timeout.as_millis()))),
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
        let broken = |error: hyper::Error| ExportError::retryable(format!("the connection broke: {error}"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with this function, whatever comes.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = self.request(body)?;
        let (head, response) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let response = Limited::new(response, MAX_RESPONSE_BYTES).collect().await.map(|body| body.to_bytes());
        match head.status {
            status if status.is_success() => {
                let response =
                    response.map_err(|error| ExportError::permanent(format!("its answer: {error}")))?;
                let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                parse_response(kind.unwrap_or(PROTOBUF), &response)
            }
            // These, the protocol says, pass.
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => {
                let seconds =
                    head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                let retry_after =
                    seconds.map(Duration::from_secs).map(|backoff| backoff.min(MAX_RETRY_AFTER));
                Err(ExportError { retry_after, ..ExportError::retryable(format!("it answers {status}")) })
            }
            status => Err(ExportError::permanent(format!("it answers {status}"))),
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
            request.map_err(|error| ExportError::permanent(format!("no request can be made: {error}")))?;
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

/// What an answer of 200 means: a web server that is no collector has one for everything.
fn parse_response(kind: &str, response: &[u8]) -> Result<ExportResponse, ExportError> {
    match kind.split(';').next().unwrap_or_default().trim() {
        PROTOBUF => {
            let response = ExportTraceServiceResponse::decode(response)
                .map_err(|error| ExportError::permanent(format!("its answer is no OTLP: {error}")))?;
            let partial = response.partial_success.unwrap_or_default();
            let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
            Ok(ExportResponse { rejected, message: partial.error_message })
        }
        // Not what was asked for, but some collectors say no more than `{}`.
        "application/json" => Ok(ExportResponse::default()),
        other => Err(ExportError::permanent(format!(
            "it answers with {other}, which is no OTLP; is it a collector?"
        ))),
    }
}
