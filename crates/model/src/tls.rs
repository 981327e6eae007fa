//! TLS at the front door.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use serde::Serialize;

use crate::WebUrl;

/// How the gateway speaks TLS: `[gateway.tls]`. With it, its listener speaks nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GatewayTls {
    /// What it shows, the first to clients that name none of their hosts.
    pub certificates: Vec<CertificateFiles>,
    /// Whether it shows a certificate that Madang makes for this machine.
    pub development: bool,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Where requests without TLS are sent on to https.
    pub redirect: Option<SocketAddr>,
    /// What is asked of clients; nobody is asked for a certificate if absent.
    pub clients: Option<ClientCertificates>,
    /// Who signs a certificate that is had over the network, if one is.
    pub acme: Option<Acme>,
}

/// A certificate with the chain of those that signed it, and its key; both PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateFiles {
    /// The chain, the certificate itself first; absolute.
    pub certificate: PathBuf,
    /// The private key; absolute.
    pub key: PathBuf,
}

/// Which certificates of clients are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientCertificates {
    /// The authorities that sign them, in one PEM file; absolute.
    pub authorities: PathBuf,
    /// Whether nobody is let in without one.
    pub required: bool,
    /// Those that the authorities have taken back, as lists in one PEM file; absolute.
    pub revoked: Option<PathBuf>,
}

/// An authority that signs certificates over the network (RFC 8555), and what it is asked for: `[gateway.tls.acme]`.
/// Whoever writes it has agreed to its terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acme {
    /// Where it says what it can do.
    pub directory: WebUrl,
    /// The mail address to which it may write, if it may.
    pub contact: Option<String>,
    /// The hosts that the certificate is for, in lower case; never empty.
    pub domains: BTreeSet<String>,
    /// How it is shown that they are this gateway's.
    pub challenge: Challenge,
    /// Who signs the authority's own server, in one PEM file, absolute: those whom the machine trusts if absent.
    pub ca: Option<PathBuf>,
    /// To whom the authority binds the account there, if it wants to know.
    pub external_account: Option<ExternalAccount>,
}

/// A customer of an authority, as it knows them elsewhere (RFC 8555, section 7.3.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExternalAccount {
    /// How the authority names the key.
    pub id: String,
    /// The secret with the key, by its name.
    pub key: String,
}

/// How an authority sees that a host is this gateway's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Challenge {
    /// By a connection over TLS to port 443 of the host (RFC 8737).
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By a request in plain to port 80 of the host (RFC 8555, section 8.3).
    #[serde(rename = "http-01")]
    Http01,
}

impl Challenge {
    /// As the manifest has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        }
    }
}

/// A version of TLS. Older ones are broken, and not spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

impl TlsVersion {
    /// As the manifest has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}
