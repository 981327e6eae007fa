//! The issuer that Madang has itself, and how browsers log in at the gateway.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use serde::Serialize;

use crate::{ClaimPath, Issuer, ServiceName, SystemName, Url};

/// The built-in issuer: `[issuer]`. It hands out tokens to the clients that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnIssuer {
    /// Where it listens, on this machine alone.
    pub listen: SocketAddr,
    /// Its name and where clients reach it, if that is not where it listens.
    pub url: Option<Url>,
    /// The service that knows people and their passwords; without it nobody logs in.
    pub users: Option<ServiceName>,
    /// How long a token is good.
    pub lifetime: Duration,
    /// The origins of pages whose programs may ask for tokens themselves, as `https://app.example`.
    pub origins: BTreeSet<String>,
    /// Who may ask for tokens, by name.
    pub clients: BTreeMap<String, OauthClient>,
}

/// A program that gets tokens of the built-in issuer: `[issuer.clients.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OauthClient {
    /// The name of the secret of the system by which it proves who it is; a public client has none.
    pub secret: Option<String>,
    /// Where a browser may be sent back to, to the letter.
    pub redirects: BTreeSet<String>,
    /// Where it may be sent once logged out, to the letter.
    pub after_logout: BTreeSet<String>,
    /// The scopes that it may ask for.
    pub scopes: BTreeSet<String>,
    /// How it gets tokens.
    pub grants: BTreeSet<Grant>,
}

/// A way to a token (RFC 6749, section 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Somebody logs in.
    AuthorizationCode,
    /// It is for the client itself.
    ClientCredentials,
    /// It follows another token of somebody who logged in.
    RefreshToken,
}

/// How browsers log in at the gateway: `[gateway.login]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Login {
    /// Who is asked: the name of one of the issuers of `[gateway.auth]`.
    pub issuer: String,
    /// As which client, with which secret of the system; the built-in issuer knows the gateway without.
    pub client: Option<(String, Option<String>)>,
    /// Where browsers see the gateway.
    pub url: Url,
    /// The scopes that are asked for, besides `openid`.
    pub scope: BTreeSet<String>,
    /// How long a session lasts at most.
    pub session: Duration,
}

// === impl OwnIssuer ===

impl OwnIssuer {
    /// Where it listens unless the manifest says otherwise.
    pub const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3010));
    /// How long a token is good unless the manifest says otherwise.
    pub const LIFETIME: Duration = Duration::from_secs(600);
    /// As which client it knows the gateway.
    pub const GATEWAY: &str = "gateway";

    /// Its name, as its tokens have it in `iss`.
    pub fn name(&self) -> String {
        match &self.url {
            Some(url) => url.to_string(),
            None => format!("http://{}", self.listen),
        }
    }

    /// The same as one whose tokens are taken. Its keys are asked for where it listens.
    pub fn taken(&self, system: &SystemName) -> Option<Issuer> {
        let at = |path: &str| format!("http://{}{path}", self.listen).parse().ok();
        Some(Issuer {
            issuer: self.name(),
            discovery: at("/.well-known/openid-configuration")?,
            jwks: Some(at("/keys")?),
            audience: [system.to_string()].into(),
            roles: ClaimPath::roles(),
            claims: [ClaimPath("name".to_owned())].into(),
        })
    }
}

// === impl Grant ===

impl Grant {
    /// Its name (RFC 6749).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
        }
    }
}

impl std::str::FromStr for Grant {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::AuthorizationCode, Self::ClientCredentials, Self::RefreshToken];
        all.into_iter().find(|grant| grant.as_str() == text).ok_or(())
    }
}

// === impl Login ===

impl Login {
    /// Below which path the gateway itself answers browsers that log in and out.
    pub const PATH: &str = "/.madang/";
    /// Where a browser is sent back to.
    pub const CALLBACK: &str = "/.madang/callback";
    /// How long a session lasts unless the manifest says otherwise.
    pub const SESSION: Duration = Duration::from_secs(12 * 3600);
}
