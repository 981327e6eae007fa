//! Who may ask for tokens, and what they are about.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use madang_model::{Grant, OauthClient, OwnIssuer};

use crate::random::hash;

/// What the issuer does, as the manifest says it. One for a system, until the manifest says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Its name, which is its URL without a slash at the end.
    pub name: String,
    /// Where it listens, which is asked by whoever runs it too.
    pub listen: String,
    /// The system, for whose routes tokens are.
    pub audience: String,
    /// How long a token is good.
    pub lifetime: Duration,
    /// The origins of pages whose programs may ask.
    pub origins: BTreeSet<String>,
    /// Who may ask.
    pub clients: BTreeMap<String, Client>,
}

/// A program that may ask for tokens.
#[derive(Clone, PartialEq)]
pub struct Client {
    /// The SHA-256 of its secret; a public client has none.
    pub(crate) secret: Option<[u8; 32]>,
    pub(crate) redirects: BTreeSet<String>,
    pub(crate) after_logout: BTreeSet<String>,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) grants: BTreeSet<Grant>,
}

// === impl Settings ===

impl Settings {
    /// Those of a system of this name, with these clients.
    pub fn new(issuer: &OwnIssuer, system: &str, clients: BTreeMap<String, Client>) -> Self {
        Self {
            name: issuer.name(),
            listen: issuer.listen.to_string(),
            audience: system.to_owned(),
            lifetime: issuer.lifetime,
            origins: issuer.origins.clone(),
            clients,
        }
    }

    /// Whether it is asked for under one of its names.
    pub(crate) fn is_at(&self, host: &str) -> bool {
        let named = self.name.split_once("://").map_or("", |(_, authority)| authority);
        host.eq_ignore_ascii_case(named) || host == self.listen
    }
}

// === impl Client ===

impl Client {
    /// Scopes that any client may ask for: they are about who logs in, and open nothing (OpenID Connect Core 1.0, 5.4).
    pub(crate) const ABOUT: [&str; 4] = ["openid", "profile", "email", "offline_access"];

    /// As the manifest has it, with the secret that it names.
    pub fn new(declared: &OauthClient, secret: Option<&str>) -> Self {
        Self {
            secret: secret.map(hash),
            redirects: declared.redirects.clone(),
            after_logout: declared.after_logout.clone(),
            scopes: declared.scopes.clone(),
            grants: declared.grants.clone(),
        }
    }

    /// Whether it may ask for these scopes.
    pub(crate) fn may(&self, scope: &BTreeSet<String>) -> bool {
        scope.iter().all(|scope| self.scopes.contains(scope) || Self::ABOUT.contains(&scope.as_str()))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("redirects", &self.redirects).finish_non_exhaustive()
    }
}
