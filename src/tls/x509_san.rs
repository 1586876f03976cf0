//! The subject alternative names of a certificate (RFC 5280, 4.2.1.6), to compare with the allowed
//! client names.

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// DNS names, mail addresses, URIs and IP addresses, formatted as Go formats them; `None` for an
/// invalid certificate.
pub(super) fn subject_names(certificate: &[u8]) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let Some(extension) = certificate.subject_alternative_name().ok()? else { return Some(Vec::new()) };
    let mut names = Vec::new();
    for name in &extension.value.general_names {
        match name {
            GeneralName::RFC822Name(name) | GeneralName::DNSName(name) | GeneralName::URI(name) => {
                names.push((*name).to_owned());
            }
            GeneralName::IPAddress(bytes) => names.push(ip_address(bytes)?.to_string()),
            // No other kind can be allowed by name.
            _ => {}
        }
    }
    Some(names)
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
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
