//! Certificates and authorities, as files have them.

use std::{fmt, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::x509;

/// A certificate with the chain of those that signed it, and its key.
#[derive(Clone)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    names: Vec<String>,
    begins: u64,
    ends: u64,
    number: Option<(Vec<u8>, Vec<u8>)>,
}

/// Whose signatures on the certificates of clients are believed.
#[derive(Clone)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
    ends: u64,
}

/// Certificates that their authorities have taken back.
#[derive(Clone)]
pub struct Revoked(Vec<CertificateRevocationListDer<'static>>);

/// Why a certificate, a key or an authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is none.
    #[error("there is no certificate in it: a block that begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// There is none.
    #[error("there is no private key in it: a block that begins with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// There is none.
    #[error(
        "there is no list of revoked certificates in it: a block that begins with -----BEGIN X509 CRL-----"
    )]
    NoList,
    /// It is not in the form that it must have.
    #[error("it is no list of revoked certificates: {0}")]
    List(String),
    /// It is not in the form that it must have.
    #[error("it is no certificate: {0}")]
    Form(String),
    /// It names no host.
    #[error("it names no host: browsers look for one among the subject's alternative names")]
    NoName,
    /// It is another's.
    #[error("the key is not that of the certificate")]
    OtherKey,
    /// They cannot be used.
    #[error("the authorities of clients cannot be used: {0}")]
    Authorities(String),
    /// Something else.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

// === impl Certificate ===

impl Certificate {
    /// Reads a chain, the certificate itself first, and its key, both in PEM.
    ///
    /// # Errors
    /// If there is none, or the key is another's.
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Self, Unusable> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| Unusable::Form(error.to_string()))?;
        let first = chain.first().ok_or(Unusable::NoCertificate)?;
        let (begins, ends) =
            x509::validity(first).ok_or_else(|| Unusable::Form("it is damaged".to_owned()))?;
        let (names, number) = (names(first)?, x509::number(first));
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Unusable::NoKey)?;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Unusable::OtherKey,
            error => Unusable::Tls(error),
        })?;
        Ok(Self { key: Arc::new(key), names, begins, ends, number })
    }

    /// The hosts that it is for, in lower case; `*.shop.example` is for every name one label longer.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it begins to be good, in seconds since 1970.
    pub fn begins(&self) -> u64 {
        self.begins
    }

    /// When it has ended, in seconds since 1970.
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// Which one of its authority's it is, if the certificate says: the identifier of the authority's key, and the serial
    /// number, both as their bytes are in DER (RFC 9773, section 4.1).
    pub fn number(&self) -> Option<(&[u8], &[u8])> {
        self.number.as_ref().map(|(key, serial)| (&**key, &**serial))
    }
}

fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Unusable> {
    let parsed = webpki::EndEntityCert::try_from(certificate);
    let parsed = parsed.map_err(|error| Unusable::Form(error.to_string()))?;
    let mut names: Vec<String> = parsed.valid_dns_names().map(str::to_ascii_lowercase).collect();
    if names.is_empty() && !x509::has_address(certificate) {
        return Err(Unusable::NoName);
    }
    names.dedup();
    Ok(names)
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

// === impl Authorities ===

impl Authorities {
    /// Reads their certificates, in PEM.
    ///
    /// # Errors
    /// If there is none, or one of them cannot be read.
    pub fn read(pem: &[u8]) -> Result<Self, Unusable> {
        let (mut roots, mut ends) = (RootCertStore::empty(), u64::MAX);
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| Unusable::Form(error.to_string()))?;
            let validity = x509::validity(&certificate);
            ends = ends.min(validity.ok_or_else(|| Unusable::Form("it is damaged".to_owned()))?.1);
            roots.add(certificate).map_err(|error| Unusable::Authorities(error.to_string()))?;
        }
        if roots.is_empty() {
            Err(Unusable::NoCertificate)
        } else {
            Ok(Self { roots: Arc::new(roots), ends })
        }
    }

    /// When the first of them has ended, in seconds since 1970.
    pub fn ends(&self) -> u64 {
        self.ends
    }

    pub(super) fn roots(self) -> Arc<RootCertStore> {
        self.roots
    }
}

// === impl Revoked ===

impl Revoked {
    /// Reads lists (RFC 5280, section 5), in PEM, one for each authority. A list whose next was due already is taken: what
    /// it has taken back stays so.
    ///
    /// # Errors
    /// If there is none, or one of them cannot be read.
    pub fn read(pem: &[u8]) -> Result<Self, Unusable> {
        let lists = CertificateRevocationListDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let lists = lists.map_err(|error| Unusable::List(error.to_string()))?;
        if lists.is_empty() {
            return Err(Unusable::NoList);
        }
        for list in &lists {
            webpki::BorrowedCertRevocationList::from_der(list)
                .map_err(|error| Unusable::List(error.to_string()))?;
        }
        Ok(Self(lists))
    }

    pub(super) fn lists(self) -> Vec<CertificateRevocationListDer<'static>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Authority;

    #[test]
    fn a_certificate_is_read_with_its_names_and_its_end() {
        let (chain, key) = Authority::new("a").issue(&["Shop.example", "*.shop.example", "127.0.0.1"]);
        let certificate = Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(certificate.names(), ["shop.example", "*.shop.example"]);
        // 1975-01-01 and 4096-01-01: what rcgen says of a certificate unless told otherwise.
        assert_eq!((certificate.begins(), certificate.ends()), (157_766_400, 67_090_118_400));
        let (by_address, key) = Authority::new("a").issue(&["127.0.0.1"]);
        assert!(Certificate::read(by_address.as_bytes(), key.as_bytes()).unwrap().names().is_empty());
    }

    #[test]
    fn a_certificate_is_one_of_its_authoritys_if_it_says_so() {
        let read =
            |(chain, key): (String, String)| Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap();
        let certificate = read(Authority::keyed(b"the key").numbered(&[0x87, 0x65, 0x43, 0x21]));
        // An integer that would be below zero without the first byte.
        let serial: &[u8] = &[0x00, 0x87, 0x65, 0x43, 0x21];
        assert_eq!(certificate.number(), Some((&b"the key"[..], serial)));
        assert_eq!(read(Authority::new("a").issue(&["a.example"])).number(), None);
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let authority = Authority::new("a");
        let ((chain, key), (_, other)) = (authority.issue(&["a.example"]), authority.issue(&["b.example"]));
        let (nameless, its_key) = authority.issue(&[]);
        let damaged = chain.replacen("MII", "MIA", 1);
        for (chain, key, expected) in [
            ("", &*key, "there is no certificate"),
            (&*key, &key, "there is no certificate"),
            (&chain, "", "there is no private key"),
            (&chain, &chain, "there is no private key"),
            (&chain, &other, "the key is not that of the certificate"),
            (&damaged, &key, "it is no certificate"),
            (&nameless, &its_key, "it names no host"),
        ] {
            let error = Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(matches!(Authorities::read(b""), Err(Unusable::NoCertificate)));
        assert!(Authorities::read(damaged.as_bytes()).is_err());
        assert!(Authorities::read(authority.pem().as_bytes()).is_ok());
    }
}
