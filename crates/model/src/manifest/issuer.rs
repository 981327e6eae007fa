//! What `[issuer]` and `[gateway.login]` say.

use std::{net::SocketAddr, time::Duration};

use super::{
    DEFAULT_LISTEN,
    raw::{RawSystem, address, at, text, texts},
    source::{At, Spot},
    tree::{Entry, Node},
    variables::{Placeholder, placeholders_in},
};
use crate::{Grant, Login, OauthClient, OwnIssuer, ServiceName, Url, parse_duration};

/// `[issuer]`, with the place of each value.
#[derive(Debug)]
pub(super) struct RawIssuerOptions {
    pub spot: Spot,
    pub listen: Option<At<SocketAddr>>,
    pub url: Option<At<Url>>,
    pub users: Option<At<ServiceName>>,
    pub lifetime: Option<At<Duration>>,
    pub origins: Vec<At<String>>,
    pub clients: Vec<RawClient>,
}

/// `[issuer.clients.NAME]`.
#[derive(Debug)]
pub(super) struct RawClient {
    pub name: At<String>,
    pub secret: Option<At<String>>,
    pub redirects: Vec<At<String>>,
    pub after_logout: Vec<At<String>>,
    pub scopes: Vec<At<String>>,
    pub grants: Vec<At<Grant>>,
    /// Whether nothing in it was refused.
    pub sound: bool,
}

/// `[gateway.login]`.
#[derive(Debug)]
pub(super) struct RawLogin {
    pub spot: Spot,
    pub issuer: Option<At<String>>,
    pub client: Option<At<String>>,
    pub secret: Option<At<String>>,
    pub url: Option<At<Url>>,
    pub scope: Vec<At<String>>,
    pub session: Option<At<Duration>>,
    pub sound: bool,
}

impl RawIssuerOptions {
    pub fn of(node: &Node) -> Self {
        let clients = node.get("clients").map(Node::entries).unwrap_or_default();
        Self {
            spot: node.spot.clone(),
            listen: node.get("listen").and_then(address),
            url: node.get("url").and_then(|node| at(node, text(node)?.value.parse().ok()?)),
            users: node.get("users").and_then(|node| at(node, text(node)?.value.parse().ok()?)),
            lifetime: node.get("lifetime").and_then(duration),
            origins: node.get("origins").map(texts).unwrap_or_default(),
            clients: clients.iter().map(RawClient::of).collect(),
        }
    }

    pub fn in_force(&self) -> OwnIssuer {
        OwnIssuer {
            listen: self.listen.as_ref().map_or(OwnIssuer::LISTEN, |at| at.value),
            url: self.url.as_ref().map(|at| at.value.clone()),
            users: self.users.as_ref().map(|at| at.value.clone()),
            lifetime: self.lifetime.as_ref().map_or(OwnIssuer::LIFETIME, |at| at.value),
            origins: self.origins.iter().map(|at| at.value.clone()).collect(),
            clients: self.clients.iter().map(|it| (it.name.value.clone(), it.in_force())).collect(),
        }
    }
}

impl RawClient {
    /// The grants of a client that names none.
    pub const GRANTS: [Grant; 2] = [Grant::AuthorizationCode, Grant::RefreshToken];

    fn of(Entry { key, key_spot, node }: &Entry) -> Self {
        let list = |key: &str| node.get(key).map(texts).unwrap_or_default();
        let grant = |At { value, spot }: At<String>| Some(At { value: value.parse().ok()?, spot });
        Self {
            name: At { value: key.clone(), spot: key_spot.clone() },
            secret: node.get("secret").and_then(text),
            redirects: list("redirects"),
            after_logout: list("after_logout"),
            scopes: list("scopes"),
            grants: list("grants").into_iter().filter_map(grant).collect(),
            sound: !node.is_broken(),
        }
    }

    pub fn has(&self, grant: Grant) -> bool {
        match self.grants.is_empty() {
            true => Self::GRANTS.contains(&grant),
            false => self.grants.iter().any(|at| at.value == grant),
        }
    }

    fn in_force(&self) -> OauthClient {
        let values = |list: &[At<String>]| list.iter().map(|at| at.value.clone()).collect();
        let all = [Grant::AuthorizationCode, Grant::ClientCredentials, Grant::RefreshToken];
        OauthClient {
            secret: self.secret.as_ref().and_then(|at| secret(&at.value)),
            redirects: values(&self.redirects),
            after_logout: values(&self.after_logout),
            scopes: values(&self.scopes),
            grants: all.into_iter().filter(|grant| self.has(*grant)).collect(),
        }
    }
}

impl RawLogin {
    pub fn of(node: &Node) -> Self {
        let scope = node.get("scope");
        Self {
            spot: node.spot.clone(),
            issuer: node.get("issuer").and_then(text),
            client: node.get("client").and_then(text),
            secret: node.get("secret").and_then(text),
            url: node.get("url").and_then(|node| at(node, text(node)?.value.parse().ok()?)),
            scope: scope
                .map(|node| text(node).map_or_else(|| texts(node), |it| vec![it]))
                .unwrap_or_default(),
            session: node.get("session").and_then(duration),
            sound: !node.is_broken(),
        }
    }

    /// Nothing if nobody can be asked, which is refused.
    pub fn in_force(&self, raw: &RawSystem) -> Option<Login> {
        let url = match &self.url {
            Some(url) => url.value.clone(),
            None => {
                let listen = raw.listen.as_ref().map_or(DEFAULT_LISTEN, |at| at.value);
                let scheme = if raw.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{listen}").parse().ok()?
            }
        };
        let secret = self.secret.as_ref().and_then(|at| secret(&at.value));
        Some(Login {
            issuer: asked(self, raw)?,
            client: self.client.as_ref().map(|at| (at.value.clone(), secret)),
            url,
            scope: self.scope.iter().map(|at| at.value.clone()).collect(),
            session: self.session.as_ref().map_or(Login::SESSION, |at| at.value),
        })
    }
}

/// Who is asked to log somebody in: who is named, or else the only one there is.
pub(super) fn asked(login: &RawLogin, raw: &RawSystem) -> Option<String> {
    let names = names(raw);
    match &login.issuer {
        Some(named) => names.contains(&named.value).then(|| named.value.clone()),
        None => names.first().filter(|_| names.len() == 1).cloned(),
    }
}

/// The name of the built-in issuer, if its tokens are taken.
pub(super) fn own(raw: &RawSystem) -> Option<String> {
    let takes = raw.auth.as_ref()?.built_in.as_ref()?.value;
    raw.issuer.as_ref().filter(|_| takes).map(|issuer| issuer.in_force().name())
}

/// All whose tokens are taken.
pub(super) fn names(raw: &RawSystem) -> Vec<String> {
    let named = raw.auth.iter().flat_map(|auth| &auth.issuers).map(|issuer| issuer.issuer.value.clone());
    own(raw).into_iter().chain(named).collect()
}

/// The name in `${secret.NAME}`.
pub(super) fn secret(written: &str) -> Option<String> {
    let mut found = placeholders_in(written);
    match (found.next(), found.next()) {
        (Some((whole, Placeholder::Secret(name))), None) if whole == written => Some(name.to_owned()),
        _ => None,
    }
}

fn duration(node: &Node) -> Option<At<Duration>> {
    at(node, parse_duration(&text(node)?.value).ok()?)
}
