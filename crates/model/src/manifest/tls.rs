//! What `[gateway.tls]` says.

use std::{net::SocketAddr, path::Path};

use super::{
    raw::{address, at, text},
    source::{At, Spot},
    tree::{Node, Value},
};
use crate::{CertificateFiles, ClientCertificates, GatewayTls, TlsVersion};

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
    /// Whether nothing in it was refused: only then is it known what it says.
    pub sound: bool,
}

/// One of `certificates`.
#[derive(Debug)]
pub(super) struct RawCertificate {
    pub certificate: At<String>,
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
            sound: !node.is_broken(),
        }
    }

    /// Whether Madang makes a certificate.
    pub fn is_for_development(&self) -> bool {
        self.development.as_ref().is_some_and(|at| at.value)
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
            clients: self
                .client_ca
                .as_ref()
                .map(|at| ClientCertificates { authorities: root.join(&at.value), required }),
        }
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
