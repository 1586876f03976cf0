//! The subject alternative names of a certificate (RFC 5280, 4.2.1.6): the one thing that is asked of it here.
//!
//! Only the path to that extension is walked. Every length is checked against what is there; a certificate that is not as
//! it should be has no names.

use std::net::IpAddr;

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const EXTENSIONS: u8 = 0xa3;
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;
/// 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// A cursor over the elements of a DER value.
struct Elements<'d>(&'d [u8]);

impl<'d> Elements<'d> {
    /// The next element: its tag and content. `None` at the end and at nonsense.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            // Up to 2^24 bytes; the certificate itself is at most that long in TLS.
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 3 {
                return None;
            }
            let (digits, after) = rest.split_at_checked(count)?;
            rest = after;
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// The names of a certificate: hosts, mail addresses, IP addresses, URIs, as Go writes them. `None` for nonsense.
pub(super) fn subject_names(certificate: &[u8]) -> Option<Vec<String>> {
    let mut certificate = Elements(Elements(certificate).expect(SEQUENCE)?);
    let mut fields = Elements(certificate.expect(SEQUENCE)?);
    let mut extensions = None;
    while let Some((tag, content)) = fields.next() {
        if tag == EXTENSIONS {
            extensions = Some(Elements(content).expect(SEQUENCE)?);
        }
    }
    let Some(extensions) = extensions else { return Some(Vec::new()) };
    let mut extensions = Elements(extensions);
    while let Some((tag, content)) = extensions.next() {
        let mut extension = Elements(content);
        if tag != SEQUENCE || extension.expect(OBJECT_IDENTIFIER)? != SUBJECT_ALTERNATIVE_NAME {
            continue;
        }
        let (mut tag, mut value) = extension.next()?;
        if tag == BOOLEAN {
            (tag, value) = extension.next()?;
        }
        let names = (tag == OCTET_STRING).then(|| Elements(value).expect(SEQUENCE)).flatten()?;
        return names_of(names);
    }
    Some(Vec::new())
}

fn names_of(list: &[u8]) -> Option<Vec<String>> {
    let mut list = Elements(list);
    let mut names = Vec::new();
    while let Some((tag, content)) = list.next() {
        match tag {
            EMAIL | DNS | URI => names.push(std::str::from_utf8(content).ok()?.to_owned()),
            IP => names.push(address(content)?.to_string()),
            _ => {}
        }
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(bytes));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use rcgen::SanType;

    use super::*;

    #[test]
    fn every_kind_of_name_is_found() {
        let mut parameters = rcgen::CertificateParams::new(vec!["scraper.test".to_owned()]).unwrap();
        parameters.subject_alt_names.extend([
            SanType::Rfc822Name("ops@litekeeper.test".try_into().unwrap()),
            SanType::URI("spiffe://litekeeper.test/scraper".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
        ]);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let names = subject_names(certificate.der()).unwrap();
        let expected = [
            "scraper.test",
            "ops@litekeeper.test",
            "spiffe://litekeeper.test/scraper",
            "192.0.2.7",
            "2001:db8::7",
        ];
        assert_eq!(names, expected);
        // Cut at any place, or with any byte turned, it is walked without a panic.
        let der = certificate.der().to_vec();
        for index in 0..der.len() {
            let _ = subject_names(&der[..index]);
            let mut turned = der.clone();
            turned[index] ^= 0xff;
            let _ = subject_names(&turned);
        }
    }

    #[test]
    fn a_certificate_without_names_has_none() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        assert_eq!(subject_names(certificate.der()), Some(Vec::new()));
        assert_eq!(subject_names(b""), None);
    }
}
