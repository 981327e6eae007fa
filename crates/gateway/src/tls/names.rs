//! Which certificate is shown to whom, by the host that a client asks for (RFC 6066, section 3).

use std::{collections::HashMap, sync::Arc};

use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    certificate::{Certificate, Unusable},
    proof::{ACME, Proofs},
};

/// Certificates by the names that they are for. A host may have several, of which a client understands one.
#[derive(Debug)]
pub(super) struct Names {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the star's dot.
    below: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// Shown to those who ask for none of the names.
    first: Vec<Arc<CertifiedKey>>,
    /// Whether it depends on the host what is shown.
    is_choice: bool,
    /// Shown to authorities that ask for nothing else.
    proofs: Option<Proofs>,
}

impl Names {
    /// There may be none as long as `proofs` are shown to have one.
    pub(super) fn new(certificates: &[Certificate], proofs: Option<Proofs>) -> Result<Self, Unusable> {
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
        if certificates.is_empty() && proofs.is_none() {
            return Err(Unusable::NoCertificate);
        }
        // Those for the same hosts as the first, for clients that do not understand its signatures.
        let is_like_first = |other: &&Certificate| other.names() == certificates[0].names();
        let first: Vec<_> = certificates.iter().filter(is_like_first).map(|same| same.key.clone()).collect();
        let is_choice = first.len() < certificates.len();
        Ok(Self { exact, below, first, is_choice, proofs })
    }

    /// Whether it depends on the host what is shown.
    pub(super) fn is_choice(&self) -> bool {
        self.is_choice
    }

    /// Whether what is shown to who asks for one host is for another too, or nothing else is. Both in lower case.
    pub(super) fn are_together(&self, asked: &str, other: &str) -> bool {
        let shown = self.by_name(asked).unwrap_or(&self.first);
        let mut own = self.exact.get(other).into_iter().chain(self.by_star(other)).flatten().peekable();
        own.peek().is_none() || own.any(|own| shown.iter().any(|shown| Arc::ptr_eq(own, shown)))
    }

    fn by_name(&self, host: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        self.exact.get(host).or_else(|| self.by_star(host))
    }

    fn by_star(&self, host: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        self.below.get(host.split_once('.')?.1)
    }

    fn find(&self, host: Option<&str>, understood: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let host = host.map(str::to_ascii_lowercase);
        let all = host.as_deref().and_then(|host| self.by_name(host)).unwrap_or(&self.first);
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(understood).is_some();
        all.iter().find(fits).or(all.first()).cloned()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(proofs) = &self.proofs
            && hello.alpn().is_some_and(|mut asked| asked.next() == Some(ACME) && asked.next().is_none())
        {
            return proofs.certificate(hello.server_name()?);
        }
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
        let names = Names::new(&certificates, None).unwrap();
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
        let names = Names::new(&certificates, None).unwrap();
        for host in [Some("a.example"), None] {
            let found = |scheme| names.find(host, &[scheme]).unwrap();
            assert!(Arc::ptr_eq(&found(SignatureScheme::ED25519), &certificates[1].key));
            assert!(Arc::ptr_eq(&found(SignatureScheme::ECDSA_NISTP256_SHA256), &certificates[0].key));
        }
    }
}
