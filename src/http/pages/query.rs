//! Query strings and form bodies, which have the same encoding.

/// Decoded names and values in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::http) struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
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

/// Decodes `%XX` and `+`. What is no UTF-8 is replaced.
fn decode(text: &str) -> String {
    percent_decode(&text.replace('+', " "))
}

/// Decodes `%XX` alone, as in a path.
pub(in crate::http) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let code = (bytes[index] == b'%')
            .then(|| text.get(index + 1..index + 3).and_then(|code| u8::from_str_radix(code, 16).ok()))
            .flatten();
        decoded.push(code.unwrap_or(bytes[index]));
        index += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Encodes a value for an address; a `/` stays, as names of databases have them.
pub(in crate::http) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let query = Query::parse("q=a%20b+c&state=&page=3&q=second&x%3D=%ff&%");
        assert_eq!((query.value("q"), query.value("state"), query.value("none")), ("a b c", "", ""));
        assert_eq!((query.page(), query.value("x=")), (3, "\u{fffd}"));
        assert_eq!(Query::parse("q=ä b&page=2").with("/", &[("page", "")]), "/?q=%C3%A4%20b");
        assert_eq!(Query::default().with("/", &[("page", "")]), "/");
        for page in ["", "0", "-1", "x", "99999999999999999999"] {
            assert_eq!(Query::parse(&format!("page={page}")).page(), 1, "{page}");
        }
        assert_eq!(percent_decode("/db/a+b%2Fc"), "/db/a+b/c");
        assert_eq!(percent_decode("%é%4"), "%é%4");
    }
}
