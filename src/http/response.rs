//! Builds responses.

use http_body_util::Full;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::CONTENT_ENCODING;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderValue;
use hyper::header::VARY;

use super::content_negotiation;
use super::response_body::ResponseBody;
use super::scrapes;

pub(super) type Response = hyper::Response<ResponseBody>;

const PLAIN: &str = "text/plain; charset=utf-8";

/// A response with a content type.
pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(ResponseBody::Whole(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A response that may be long, compressed if the client accepts gzip.
pub(super) fn negotiated<B>(
    request: &Request<B>,
    status: StatusCode,
    kind: &'static str,
    body: String,
) -> Response {
    let gzip = content_negotiation::accepts_gzip(request.headers());
    let body = if gzip { scrapes::compressed([body.as_bytes()]).into() } else { Bytes::from(body) };
    let mut response = with_type(status, kind, body);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// A response of plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    with_type(status, PLAIN, body)
}
