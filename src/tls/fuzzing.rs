//! Entry points of the fuzz targets to parsers that are private otherwise.

use super::x509_san::subject_names;

/// Reads the subject alternative names of a certificate and counts them; `None` for what is no
/// certificate.
#[must_use]
pub fn certificate(der: &[u8]) -> Option<usize> {
    subject_names(der).map(|names| names.len())
}
