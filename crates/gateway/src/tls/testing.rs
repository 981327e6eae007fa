//! Certificates for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ED25519, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Certificate;

/// Whoever signs them.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A chain and its key, in PEM.
    pub(crate) fn issue(&self, names: &[&str]) -> (String, String) {
        self.sign(names, &KeyPair::generate().unwrap())
    }

    pub(crate) fn certificate(&self, names: &[&str]) -> Certificate {
        let (chain, key) = self.issue(names);
        Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    pub(crate) fn ed25519(&self, names: &[&str]) -> Certificate {
        let (chain, key) = self.sign(names, &KeyPair::generate_for(&PKCS_ED25519).unwrap());
        Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    /// For a client, of this subject and with these URIs.
    pub(crate) fn client(
        &self,
        subject: &[(DnType, &str)],
        uris: &[&str],
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in subject {
            params.distinguished_name.push(kind.clone(), *text);
        }
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    fn sign(&self, names: &[&str], key: &KeyPair) -> (String, String) {
        let params =
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        (params.signed_by(key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}
