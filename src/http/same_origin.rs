//! Whether a request that changes something comes from a page of this server, or from no page at all.
//!
//! A browser adds the password of a user by itself, also to what another site's page sends. It also says where that page
//! is from, which no page can forge (<https://fetch.spec.whatwg.org/#origin-header>).

use hyper::HeaderMap;
use hyper::Uri;
use hyper::header::HOST;
use hyper::header::ORIGIN;

/// Says how a page and what it asks for are related.
const FETCH_SITE: &str = "sec-fetch-site";

/// Whether no other site caused the request. `external` is the authority under which a reverse proxy makes this server
/// reachable, which need not be the `Host` that the proxy sends on.
pub(super) fn is_own(headers: &HeaderMap, uri: &Uri, external: Option<&str>) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        // `none` is a user who typed the address.
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        // No browser of this time: a script, or a tool on a command line.
        return true;
    };
    let Some(origin) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 has the host in the address.
    let host = host.or_else(|| uri.authority().map(hyper::http::uri::Authority::as_str));
    host == Some(origin.1) || external == Some(origin.1)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn only_this_server_and_no_page_pass() {
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
            assert_eq!(is_own(&map, &Uri::from_static("/"), Some("proxy.example")), own, "{headers:?}");
        }
    }
}
