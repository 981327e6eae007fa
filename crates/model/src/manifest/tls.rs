//! What `[gateway.tls]` says.

use std::{net::SocketAddr, path::Path};

use super::{
    issuer::secret,
    raw::{address, at, parsed, text, texts},
    source::{At, Spot},
    tree::{Node, Value},
};
use crate::{
    Acme, CertificateFiles, Challenge, ClientCertificates, ExternalAccount, GatewayTls, TlsVersion, WebUrl,
};

/// The authority that is asked unless the manifest names another: Let's Encrypt.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// `[gateway.tls]`, with the place of each value.
#[derive(Debug)]
pub(super) struct RawTls {
    pub spot: Spot,
    pub certificates: Vec<RawCertificate>,
    pub development: Option<At<bool>>,
    pub min_version: Option<At<TlsVersion>>,
    pub redirect: Option<At<SocketAddr>>,
    pub client_ca: Option<At<String>>,
    /// Whether a certificate is required of clients.
    pub clients: Option<At<bool>>,
    pub client_crl: Option<At<String>>,
    pub acme: Option<RawAcme>,
    /// Whether nothing in it was refused: only then is it known what it says.
    pub sound: bool,
}

/// One of `certificates`.
#[derive(Debug)]
pub(super) struct RawCertificate {
    pub certificate: At<String>,
    pub key: At<String>,
}

/// `[gateway.tls.acme]`, with the place of each value.
#[derive(Debug)]
pub(super) struct RawAcme {
    pub directory: Option<At<WebUrl>>,
    pub contact: Option<At<String>>,
    pub domains: Vec<At<String>>,
    /// The place of an empty list of domains.
    pub nowhere: Option<Spot>,
    pub challenge: Option<At<Challenge>>,
    pub ca: Option<At<String>>,
    /// Where the terms are agreed to.
    pub terms: Option<At<String>>,
    pub external_account: Option<RawExternalAccount>,
}

/// `external_account`, with the place of each value.
#[derive(Debug)]
pub(super) struct RawExternalAccount {
    pub id: At<String>,
    pub key: At<String>,
}

impl RawTls {
    /// What asks every client for a certificate unless it says otherwise: who names authorities wants them used.
    pub const REQUIRED: bool = true;

    pub fn of(node: &Node) -> Self {
        let certificates = node.get("certificates").map(Node::items).unwrap_or_default();
        let version = |node: &Node| {
            let newest = text(node)?.value == TlsVersion::V1_3.as_str();
            at(node, if newest { TlsVersion::V1_3 } else { TlsVersion::V1_2 })
        };
        Self {
            spot: node.spot.clone(),
            certificates: certificates.iter().filter_map(RawCertificate::of).collect(),
            development: node.get("development").and_then(flag),
            min_version: node.get("min_version").and_then(version),
            redirect: node.get("redirect").and_then(address),
            client_ca: node.get("client_ca").and_then(text),
            clients: node.get("clients").and_then(|node| at(node, text(node)?.value == "required")),
            client_crl: node.get("client_crl").and_then(text),
            acme: node.get("acme").map(RawAcme::of),
            sound: !node.is_broken(),
        }
    }

    /// Whether Madang makes a certificate.
    pub fn is_for_development(&self) -> bool {
        self.development.as_ref().is_some_and(|at| at.value)
    }

    /// Whether nobody is let in without a certificate.
    pub fn asks_everybody(&self) -> bool {
        self.client_ca.is_some() && self.clients.as_ref().map_or(Self::REQUIRED, |at| at.value)
    }

    pub fn in_force(&self, root: &Path) -> GatewayTls {
        let files = |files: &RawCertificate| CertificateFiles {
            certificate: root.join(&files.certificate.value),
            key: root.join(&files.key.value),
        };
        let required = self.clients.as_ref().map_or(Self::REQUIRED, |at| at.value);
        GatewayTls {
            certificates: self.certificates.iter().map(files).collect(),
            development: self.is_for_development(),
            min_version: self.min_version.as_ref().map(|at| at.value).unwrap_or_default(),
            redirect: self.redirect.as_ref().map(|at| at.value),
            clients: self.client_ca.as_ref().map(|at| ClientCertificates {
                authorities: root.join(&at.value),
                required,
                revoked: self.client_crl.as_ref().map(|at| root.join(&at.value)),
            }),
            acme: self.acme.as_ref().and_then(|acme| acme.in_force(root)),
        }
    }
}

impl RawAcme {
    fn of(node: &Node) -> Self {
        let domains = node.get("domains");
        let none = domains.filter(|list| list.items().is_empty() && !list.is_broken());
        let challenge = |node: &Node| {
            let plain = text(node)?.value == Challenge::Http01.as_str();
            at(node, if plain { Challenge::Http01 } else { Challenge::TlsAlpn01 })
        };
        Self {
            directory: node.get("directory").and_then(parsed),
            contact: node.get("contact").and_then(text),
            domains: domains.map(texts).unwrap_or_default(),
            nowhere: none.map(|list| list.spot.clone()),
            challenge: node.get("challenge").and_then(challenge),
            ca: node.get("ca").and_then(text),
            terms: node.get("terms").and_then(text),
            external_account: node.get("external_account").and_then(RawExternalAccount::of),
        }
    }

    pub fn directory(&self) -> Option<WebUrl> {
        self.directory.as_ref().map_or_else(|| DIRECTORY.parse().ok(), |at| Some(at.value.clone()))
    }

    pub fn challenge(&self) -> Challenge {
        self.challenge.as_ref().map(|at| at.value).unwrap_or_default()
    }

    fn in_force(&self, root: &Path) -> Option<Acme> {
        Some(Acme {
            directory: self.directory()?,
            contact: self.contact.as_ref().map(|at| at.value.clone()),
            domains: self.domains.iter().map(|at| at.value.to_ascii_lowercase()).collect(),
            challenge: self.challenge(),
            ca: self.ca.as_ref().map(|at| root.join(&at.value)),
            external_account: self.external_account.as_ref().and_then(RawExternalAccount::in_force),
        })
    }
}

impl RawExternalAccount {
    fn of(node: &Node) -> Option<Self> {
        let key = |key| node.get(key).and_then(text);
        Some(Self { id: key("id")?, key: key("key")? })
    }

    fn in_force(&self) -> Option<ExternalAccount> {
        Some(ExternalAccount { id: self.id.value.clone(), key: secret(&self.key.value)? })
    }
}

impl RawCertificate {
    fn of(node: &Node) -> Option<Self> {
        let key = |key| node.get(key).and_then(text);
        Some(Self { certificate: key("certificate")?, key: key("key")? })
    }
}

pub(super) fn flag(node: &Node) -> Option<At<bool>> {
    match node.value {
        Value::Boolean(flag) => at(node, flag),
        _ => None,
    }
}
