//! Content negotiation by `Accept` and `Accept-Encoding` (RFC 9110, section 12.5).

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use hyper::header::ACCEPT_ENCODING;
use hyper::header::AsHeaderName;

use crate::metrics::Format;

/// One entry of a list such as `text/plain;version=0.0.4;q=0.5`.
struct AcceptEntry<'a> {
    value: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

fn accept_entries<'a>(headers: &'a HeaderMap, name: impl AsHeaderName) -> Vec<AcceptEntry<'a>> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let value = parts.next().filter(|value| !value.is_empty())?;
            let mut quality = 1.0;
            let mut parameters = Vec::new();
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                let (name, value) = (name.trim(), value.trim().trim_matches('"'));
                if name.eq_ignore_ascii_case("q") {
                    // An invalid weight counts as 0.
                    quality = value.parse().unwrap_or(0.0);
                } else {
                    parameters.push((name, value));
                }
            }
            Some(AcceptEntry { value, parameters, quality })
        })
        .collect()
}

/// The exposition format that a client prefers; text 0.0.4 if it accepts none that is supported, as
/// in every Prometheus client library. A scrape never fails with 406.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let mut best = (0.0, Format::Text);
    for entry in accept_entries(headers, ACCEPT) {
        let version = entry.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("version"));
        let version = version.map(|(_, value)| *value);
        let format = match (entry.value.to_ascii_lowercase().as_str(), version) {
            ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => Format::OpenMetrics,
            ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Format::Text,
            _ => continue,
        };
        if entry.quality > best.0 {
            best = (entry.quality, format);
        }
    }
    best.1
}

/// Whether the client accepts gzip and does not prefer the identity encoding.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accept_entries = accept_entries(headers, ACCEPT_ENCODING);
    let database_at = |name: &str| {
        accept_entries.iter().find(|entry| entry.value.eq_ignore_ascii_case(name)).map(|entry| entry.quality)
    };
    let gzip = database_at("gzip").or_else(|| database_at("*")).unwrap_or(0.0);
    // An encoding that is not listed is acceptable and implies no preference (RFC 9110, section
    // 12.5.3).
    gzip > 0.0 && gzip >= database_at("identity").unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_format_follows_accept() {
        const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        const CHROMIUM: &str =
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        for (accept, format_expected) in [
            (PROMETHEUS_2, Format::OpenMetrics),
            (PROMETHEUS_3, Format::OpenMetrics),
            (CHROMIUM, Format::Text),
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", Format::OpenMetrics),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("application/openmetrics-text;q=0.1,text/plain;q=0.9", Format::Text),
            ("application/openmetrics-text;q=0,*/*", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=nonsense", Format::Text),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", Format::Text),
            ("application/json", Format::Text),
            (";;;,,=,;q", Format::Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(format(&headers), format_expected, "{accept:?}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Text);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        assert_eq!(format(&headers), Format::Text);
    }

    #[test]
    fn gzip_follows_accept_encoding() {
        for (accept, expected) in [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("*", true),
            ("gzip;q=0.1, identity;q=1", false),
            ("gzip, identity", true),
            ("gzip;q=0.5, identity;q=0.5", true),
            ("identity;q=0.5, *;q=1", true),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(accepts_gzip(&headers), expected, "{accept:?}");
        }
    }
}
