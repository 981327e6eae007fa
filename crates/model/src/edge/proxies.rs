//! Who stands before the gateway, and is believed about whom it speaks for.

use serde::Serialize;

use crate::Network;

/// Those whose word about a visitor is taken: `trusted_proxies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustedProxies {
    /// Where they are.
    pub networks: Vec<Network>,
    /// By which fields they speak. What they say in others is nobody's word: a proxy that writes the one kind passes on what
    /// a client wrote in the other.
    pub header: ProxyHeader,
}

/// The fields by which proxies say whom they speak for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    #[default]
    #[serde(rename = "x-forwarded-for")]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    #[serde(rename = "forwarded")]
    Forwarded,
}

impl ProxyHeader {
    /// Its word in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::XForwarded => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}
