//! TLS at the front door.

use std::{net::SocketAddr, path::PathBuf};

use serde::Serialize;

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
