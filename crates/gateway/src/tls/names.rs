//! Which certificate is shown to whom, by the host that a client asks for (RFC 6066, section 3).

use std::{collections::HashMap, sync::Arc};

use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate::{Certificate, Unusable};

/// Certificates by the names that they are for. A host may have several, of which a client understands one.
#[derive(Debug)]
pub(super) struct Names {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the star's dot.
    below: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// Shown to those who ask for none of the names.
    first: Vec<Arc<CertifiedKey>>,
}

impl Names {
    pub(super) fn new(certificates: &[Certificate]) -> Result<Self, Unusable> {
        let (mut exact, mut below) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for certificate in certificates {
            for name in certificate.names() {
                let shown = match name.strip_prefix("*.") {
                    Some(rest) => below.entry(rest.to_owned()).or_default(),
                    None => exact.entry(name.clone()).or_default(),
                };
                shown.push(certificate.key.clone());
            }
        }
        let first = certificates.first().ok_or(Unusable::NoCertificate)?;
        // Those for the same hosts as the first, for clients that do not understand its signatures.
        let same = certificates.iter().filter(|other| other.names() == first.names());
        Ok(Self { exact, below, first: same.map(|same| same.key.clone()).collect() })
    }

    fn find(&self, host: Option<&str>, understood: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let host = host.map(str::to_ascii_lowercase);
        let by_name = host.as_deref().and_then(|host| {
            let below = || self.below.get(host.split_once('.')?.1);
            self.exact.get(host).or_else(below)
        });
        let all = by_name.unwrap_or(&self.first);
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(understood).is_some();
        all.iter().find(fits).or(all.first()).cloned()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Authority;

    #[test]
    fn a_client_is_shown_the_certificate_for_the_host_that_it_asks_for() {
        let authority = Authority::new("a");
        let certificates = [&["shop.example"][..], &["*.shop.example", "pay.example"], &["api.shop.example"]]
            .map(|names| authority.certificate(names));
        let names = Names::new(&certificates).unwrap();
        let all = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let shown = |host: Option<&str>| {
            let found = names.find(host, &all).unwrap();
            certificates.iter().position(|certificate| Arc::ptr_eq(&certificate.key, &found)).unwrap()
        };
        for (host, expected) in [
            ("shop.example", 0),
            ("SHOP.example", 0),
            ("www.shop.example", 1),
            ("pay.example", 1),
            ("api.shop.example", 2),
            ("a.b.shop.example", 0),
            ("other.example", 0),
            ("example", 0),
        ] {
            assert_eq!(shown(Some(host)), expected, "{host}");
        }
        assert_eq!(shown(None), 0);
        assert!(names.find(None, &[]).is_some(), "TLS itself refuses those who understand nothing");
    }

    #[test]
    fn of_two_for_one_host_the_one_is_shown_that_is_understood() {
        let authority = Authority::new("a");
        let certificates = [authority.certificate(&["a.example"]), authority.ed25519(&["a.example"])];
        let names = Names::new(&certificates).unwrap();
        for host in [Some("a.example"), None] {
            let found = |scheme| names.find(host, &[scheme]).unwrap();
            assert!(Arc::ptr_eq(&found(SignatureScheme::ED25519), &certificates[1].key));
            assert!(Arc::ptr_eq(&found(SignatureScheme::ECDSA_NISTP256_SHA256), &certificates[0].key));
        }
    }
}
