//! Which form of the exposition a client is given, by `Accept` and `Accept-Encoding` (RFC 9110, 12.5).

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

fn choices<'a>(headers: &'a HeaderMap, name: impl AsHeaderName) -> Vec<AcceptEntry<'a>> {
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
                    // What is no number asks for nothing.
                    quality = value.parse().unwrap_or(0.0);
                } else {
                    parameters.push((name, value));
                }
            }
            Some(AcceptEntry { value, parameters, quality })
        })
        .collect()
}

/// The text form that a client prefers; 0.0.4 when it names none that we have, as every Prometheus
/// client library does. A scrape is never refused with 406.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let mut best = (0.0, Format::Text);
    for choice in choices(headers, ACCEPT) {
        let version = choice.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("version"));
        let version = version.map(|(_, value)| *value);
        let format = match (choice.value.to_ascii_lowercase().as_str(), version) {
            ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => Format::OpenMetrics,
            ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Format::Text,
            _ => continue,
        };
        if choice.quality > best.0 {
            best = (choice.quality, format);
        }
    }
    best.1
}

/// Whether the client takes gzip, and does not prefer plain text.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let choices = choices(headers, ACCEPT_ENCODING);
    let named = |name: &str| {
        choices.iter().find(|choice| choice.value.eq_ignore_ascii_case(name)).map(|choice| choice.quality)
    };
    let gzip = named("gzip").or_else(|| named("*")).unwrap_or(0.0);
    // An encoding that is not named is acceptable, and says nothing of a preference (RFC 9110, 12.5.3).
    gzip > 0.0 && gzip >= named("identity").unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_form_follows_accept() {
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
    fn gzip_is_given_to_those_who_take_it() {
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
