//! What `[gateway.auth]` says, and what `require` asks for.

use std::{collections::BTreeSet, time::Duration};

use super::{
    raw::{at, text, texts},
    source::{At, Spot},
    tls::flag,
    tree::{Entry, Node, Value},
};
use crate::{ApiKeys, Auth, ClaimPath, Demand, Issuer, Require, WebUrl, parse_duration};

/// Where a document of discovery is, below the issuer (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// `[gateway.auth]`, with the place of each value.
#[derive(Debug)]
pub(super) struct RawAuth {
    pub spot: Spot,
    pub issuers: Vec<RawIssuer>,
    /// Whether nothing in it was refused: only then is it known what it says.
    pub sound: bool,
    /// The header of API keys; nothing if they are off.
    pub keys: Option<At<Option<String>>>,
    /// Whether a client's certificate says who it is.
    pub certificates: Option<At<bool>>,
    pub leeway: Option<At<Duration>>,
    /// Whether the tokens of `[issuer]` are taken.
    pub built_in: Option<At<bool>>,
}

/// `[[gateway.auth.issuers]]`.
#[derive(Debug)]
pub(super) struct RawIssuer {
    pub issuer: At<String>,
    pub jwks: Option<At<WebUrl>>,
    pub audience: Vec<At<String>>,
    /// The place of an empty list of audiences.
    pub nobody: Option<Spot>,
    pub roles: Option<At<String>>,
    pub claims: Vec<At<String>>,
}

impl RawAuth {
    pub fn of(node: &Node) -> Self {
        let issuers = node.get("issuers");
        Self {
            spot: node.spot.clone(),
            issuers: issuers.map(Node::items).unwrap_or_default().iter().filter_map(RawIssuer::of).collect(),
            sound: !node.is_broken(),
            keys: node.get("keys").and_then(keys),
            certificates: node.get("certificates").and_then(flag),
            built_in: node.get("built_in").and_then(flag),
            leeway: node.get("leeway").and_then(|node| at(node, parse_duration(&text(node)?.value).ok()?)),
        }
    }

    pub fn in_force(&self) -> Auth {
        let header = self.keys.as_ref().and_then(|at| at.value.clone());
        Auth {
            issuers: self.issuers.iter().filter_map(RawIssuer::in_force).collect(),
            keys: header.map(|header| ApiKeys { header }),
            certificates: self.certificates.as_ref().is_some_and(|at| at.value),
            leeway: self.leeway.as_ref().map_or(Auth::MOST_LEEWAY, |at| at.value),
        }
    }
}

impl RawIssuer {
    fn of(node: &Node) -> Option<Self> {
        let audience = node.get("audience")?;
        let words = words(audience);
        let none = words.is_empty() && !audience.is_broken();
        Some(Self {
            issuer: node.get("issuer").and_then(text)?,
            jwks: node.get("jwks").and_then(|node| at(node, text(node)?.value.parse().ok()?)),
            nobody: none.then(|| audience.spot.clone()),
            audience: words,
            roles: node.get("roles").and_then(text),
            claims: node.get("claims").map(texts).unwrap_or_default(),
        })
    }

    /// Where its document of discovery is.
    pub fn discovery(&self) -> Option<WebUrl> {
        format!("{}{DISCOVERY}", self.issuer.value.trim_end_matches('/')).parse().ok()
    }

    fn in_force(&self) -> Option<Issuer> {
        Some(Issuer {
            issuer: self.issuer.value.clone(),
            discovery: self.discovery()?,
            jwks: self.jwks.as_ref().map(|at| at.value.clone()),
            audience: values(&self.audience),
            roles: self.roles.as_ref().map_or_else(ClaimPath::roles, |at| ClaimPath(at.value.clone())),
            claims: self.claims.iter().map(|at| ClaimPath(at.value.clone())).collect(),
        })
    }
}

/// What a service or a route asks for.
#[derive(Debug, Clone)]
pub(super) struct RawRequire {
    pub spot: Spot,
    pub value: Require,
    /// The keys of a table, each with what it says.
    pub said: Vec<(String, Vec<At<String>>)>,
}

impl RawRequire {
    /// Nothing if something in it was refused.
    pub fn of(node: &Node) -> Option<Self> {
        if node.is_broken() {
            return None;
        }
        let mut said = Vec::new();
        let value = match &node.value {
            Value::Text(word) if word == "none" => Require::None,
            Value::Text(word) if word == "optional" => Require::Optional,
            Value::Text(_) => Require::Principal,
            Value::Table(_) => {
                for key in ["scope", "role"] {
                    said.extend(node.get(key).map(|node| (key.to_owned(), words(node))));
                }
                let claims = node.get("claim").map(Node::entries).unwrap_or_default();
                said.extend(claims.iter().map(|claim| (format!("claim.{}", claim.key), words(&claim.node))));
                Require::Of(demand(node))
            }
            _ => return None,
        };
        Some(Self { spot: node.spot.clone(), value, said })
    }
}

fn demand(node: &Node) -> Demand {
    let of = |key| node.get(key).map(words).map(|words| values(&words)).unwrap_or_default();
    let claims = node.get("claim").map(Node::entries).unwrap_or_default();
    let claim = |Entry { key, node, .. }: &Entry| (ClaimPath(key.clone()), values(&words(node)));
    Demand { scope: of("scope"), role: of("role"), claim: claims.iter().map(claim).collect() }
}

/// Whether keys are taken, and in which header.
fn keys(node: &Node) -> Option<At<Option<String>>> {
    let header = |node: &Node| node.get("header").and_then(text).map(|at| at.value.to_ascii_lowercase());
    match &node.value {
        Value::Boolean(false) => at(node, None),
        Value::Boolean(true) => at(node, Some(ApiKeys::HEADER.to_owned())),
        Value::Table(_) => at(node, Some(header(node).unwrap_or_else(|| ApiKeys::HEADER.to_owned()))),
        _ => None,
    }
}

/// A text, or each of a list of them.
fn words(node: &Node) -> Vec<At<String>> {
    text(node).map_or_else(|| texts(node), |one| vec![one])
}

fn values(words: &[At<String>]) -> BTreeSet<String> {
    words.iter().map(|at| at.value.clone()).collect()
}
