//! Entry points of the fuzz targets to parsers that are private otherwise.

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use hyper::header::ACCEPT_ENCODING;
use hyper::header::HeaderValue;

use super::content_negotiation::accepts_gzip;
use super::content_negotiation::format;
use super::query::Query;

/// Reads a query in the first line, and in the others values of `Accept` and `Accept-Encoding` by
/// turns.
///
/// # Panics
/// A query that is written again is read as another one.
pub fn request_text(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = Query::parse(lines.next().unwrap_or_default());
    let written = query.with("/", &[]);
    let again = Query::parse(written.split_once('?').map_or("", |(_, query)| query).as_bytes());
    assert_eq!(again.with("/", &[]), written, "a query that is written again is the same");
    let _ = query.page();
    let mut headers = HeaderMap::new();
    for (line, name) in lines.zip([ACCEPT, ACCEPT_ENCODING].iter().cycle()) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    let _ = (format(&headers), accepts_gzip(&headers));
}
