//! Query strings and form bodies, which have the same encoding.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::percent_decode_str;
use percent_encoding::utf8_percent_encode;

/// Everything but unreserved characters (RFC 3986, section 2.3) and `/`, which names of databases
/// contain.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Decoded names and values in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of a name.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a name, or an empty text.
    pub fn value(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// The number of the page, from 1.
    pub fn page(&self) -> usize {
        self.value("page").parse().ok().filter(|number| *number > 0).unwrap_or(1)
    }

    /// A link with some values replaced. Empty values are left out.
    pub fn with(&self, path: &str, changes: &[(&str, &str)]) -> String {
        let kept = self.0.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<String> = kept
            .chain(changes.iter().copied())
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}

/// Decodes a path. Invalid UTF-8 is replaced.
pub(super) fn percent_decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Encodes a value for a link. A `/` stays.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let query = Query::parse(b"q=a%20b+c&state=&page=3&q=second&x%3D=%ff&%");
        assert_eq!((query.value("q"), query.value("state"), query.value("none")), ("a b c", "", ""));
        assert_eq!((query.page(), query.value("x=")), (3, "\u{fffd}"));
        assert_eq!(Query::parse("q=ä b&page=2".as_bytes()).with("/", &[("page", "")]), "/?q=%C3%A4%20b");
        assert_eq!(Query::default().with("/", &[("page", "")]), "/");
        for page in ["", "0", "-1", "x", "99999999999999999999"] {
            assert_eq!(Query::parse(format!("page={page}").as_bytes()).page(), 1, "{page}");
        }
        assert_eq!(percent_decode("/db/a+b%2Fc"), "/db/a+b/c");
        assert_eq!(percent_decode("%é%4"), "%é%4");
    }
}
