//! Tells requests from pages of this server, or from no page at all, from cross-origin requests.
//!
//! Browsers attach the credentials of a user to cross-origin requests too. They also send the
//! origin of the page, which the page cannot forge
//! (<https://fetch.spec.whatwg.org/#origin-header>).

use hyper::HeaderMap;
use hyper::Uri;
use hyper::header::HOST;
use hyper::header::ORIGIN;

/// The relation between the page's origin and the request's.
const FETCH_SITE: &str = "sec-fetch-site";

/// Whether the request is not cross-origin. `external` is the authority under which a reverse proxy
/// makes this server reachable, which can differ from the `Host` that the proxy forwards.
pub(super) fn is_same_origin(headers: &HeaderMap, uri: &Uri, external: Option<&str>) -> bool {
    if let Some(state) = headers.get(FETCH_SITE) {
        // `none`: the user typed the address.
        return state == "same-origin" || state == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        // Current browsers send one of the headers, so this is a script or a command line tool.
        return true;
    };
    let Some(origin) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 has the host in the URI.
    let host = host.or_else(|| uri.authority().map(hyper::http::uri::Authority::as_str));
    host == Some(origin.1) || external == Some(origin.1)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn cross_origin_requests_are_recognised() {
        for (headers, own) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://here:1")], false),
            (&[("origin", "http://here:1")], true),
            (&[("origin", "https://here:1")], true),
            (&[("origin", "http://here:2")], false),
            (&[("origin", "https://proxy.example")], true),
            (&[("origin", "https://proxy.example:444")], false),
            (&[("origin", "http://elsewhere")], false),
            (&[("origin", "null")], false),
        ] {
            let mut map = HeaderMap::from_iter([(HOST, HeaderValue::from_static("here:1"))]);
            for (name, value) in headers {
                map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(
                is_same_origin(&map, &Uri::from_static("/"), Some("proxy.example")),
                own,
                "{headers:?}"
            );
        }
    }
}
