//! Certificates of a test's own, and a client that speaks TLS.

use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::CertificateParams;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::SanType;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::RootCertStore;
use rustls::StreamOwned;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;

use super::HttpResponse;

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate with its key.
pub struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// With one name for all, OpenSSL would take a signed certificate for one that signs itself.
fn named(name: &str) -> rcgen::DistinguishedName {
    let mut names = rcgen::DistinguishedName::new();
    names.push(rcgen::DnType::CommonName, name);
    names
}

impl Authority {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named("authority");
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(parameters, key), certificate }
    }

    /// A certificate for these hosts, mail addresses, URIs or IP addresses.
    pub fn sign(&self, names: &[&str]) -> Signed {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named("somebody");
        let name = |name: &&str| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if name.contains("://") => SanType::URI((*name).try_into().unwrap()),
            Err(_) if name.contains('@') => SanType::Rfc822Name((*name).try_into().unwrap()),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        };
        parameters.subject_alt_names = names.iter().map(name).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Signed { certificate, key }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Writes `NAME.crt` and `NAME.key` for a server on loopback.
    pub fn write_server(&self, directory: &Path, name: &str) {
        let signed = self.sign(&["127.0.0.1"]);
        std::fs::write(directory.join(format!("{name}.crt")), signed.certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), signed.key.serialize_pem()).unwrap();
    }
}

/// A client that trusts one authority.
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    pub fn new(
        authority: &Authority,
        own: Option<&Signed>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
                let chain: Vec<CertificateDer<'static>> = vec![own.certificate.der().clone()];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self { config: Arc::new(config) }
    }

    /// One request; an error when the two cannot agree.
    pub fn request(&self, address: SocketAddr, head: &str) -> std::io::Result<HttpResponse> {
        let (answer, _) = self.exchange(address, head)?;
        Ok(answer)
    }

    /// One request, and the certificate that the server showed.
    pub fn exchange(&self, address: SocketAddr, head: &str) -> std::io::Result<(HttpResponse, Vec<u8>)> {
        let connection = ClientConnection::new(Arc::clone(&self.config), address.ip().into())
            .map_err(std::io::Error::other)?;
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(180)))?;
        let mut stream = StreamOwned::new(connection, stream);
        write!(stream, "{head}\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if answer.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let shown =
            stream.conn.peer_certificates().and_then(|chain| chain.first()).map(|first| first.to_vec());
        Ok((HttpResponse::parse(&answer), shown.unwrap_or_default()))
    }
}
