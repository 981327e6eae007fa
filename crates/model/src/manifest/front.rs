//! What `[gateway]` says of who stands before it, and of where limits are shared with others like it.

use super::{
    issuer::secret,
    raw::{at, parsed, text},
    source::{At, Spot},
    tree::{Node, Value},
};
use crate::{
    Network,
    edge::{LimitStore, ProxyHeader, RedisUrl, TrustedProxies},
};

/// `[gateway.limit_store]`, with the place of each value.
#[derive(Debug)]
pub(super) struct RawLimitStore {
    pub url: At<RedisUrl>,
    pub user: Option<At<String>>,
    pub password: Option<At<String>>,
}

/// `trusted_proxies`, with the place of each value.
#[derive(Debug)]
pub(super) struct RawProxies {
    pub spot: Spot,
    pub networks: Vec<At<Network>>,
    pub header: Option<At<ProxyHeader>>,
    /// Whether nothing in it was refused.
    pub sound: bool,
}

impl RawLimitStore {
    /// Nothing if it says not where.
    pub fn of(node: &Node) -> Option<Self> {
        Some(Self {
            url: node.get("url").and_then(parsed)?,
            user: node.get("user").and_then(text),
            password: node.get("password").and_then(text),
        })
    }

    pub fn in_force(&self) -> LimitStore {
        LimitStore {
            url: self.url.value.clone(),
            user: self.user.as_ref().map(|at| at.value.clone()),
            password: self.password.as_ref().and_then(|at| secret(&at.value)),
        }
    }
}

impl RawProxies {
    pub fn of(node: &Node) -> Self {
        let networks = match node.value {
            Value::Table(_) => node.get("networks"),
            _ => Some(node),
        };
        let header = |node: &Node| {
            let forwarded = text(node)?.value == ProxyHeader::Forwarded.as_str();
            at(node, if forwarded { ProxyHeader::Forwarded } else { ProxyHeader::XForwarded })
        };
        Self {
            spot: node.spot.clone(),
            networks: networks.map(Node::items).unwrap_or_default().iter().filter_map(parsed).collect(),
            header: node.get("header").and_then(header),
            sound: !node.is_broken(),
        }
    }

    pub fn in_force(&self) -> TrustedProxies {
        TrustedProxies {
            networks: self.networks.iter().map(|at| at.value).collect(),
            header: self.header.as_ref().map(|at| at.value).unwrap_or_default(),
        }
    }
}
