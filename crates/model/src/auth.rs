//! Who a request from outside is made for, and what is asked of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;

use crate::WebUrl;

/// Who can say who a client is: `[gateway.auth]`. With it, a route is closed unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Auth {
    /// Whose tokens are taken.
    pub issuers: Vec<Issuer>,
    /// Present if the keys that `madang key create` makes are taken.
    pub keys: Option<ApiKeys>,
    /// Whether a client's certificate says who it is, where a request has no token and no key.
    pub certificates: bool,
    /// By how much the clocks of issuers and of this machine may differ; a minute at most.
    pub leeway: Duration,
}

/// One whose tokens are taken: `[[gateway.auth.issuers]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issuer {
    /// Its name, as its tokens have it in `iss`, to the letter.
    pub issuer: String,
    /// Where its document of discovery is, unless `jwks` is said.
    pub discovery: WebUrl,
    /// Where its keys are; found by discovery if absent.
    pub jwks: Option<WebUrl>,
    /// Tokens are for one of these; never empty.
    pub audience: BTreeSet<String>,
    /// Where its tokens name roles.
    pub roles: ClaimPath,
    /// The claims that services are told.
    pub claims: BTreeSet<ClaimPath>,
}

/// How API keys are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiKeys {
    /// The header, in lower case, that may carry one instead of `authorization: Bearer`.
    pub header: String,
}

/// Where a claim is: its name, or the names on the way to it with dots between them, `realm_access.roles`. A name that
/// has dots itself is found as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ClaimPath(pub String);

/// What a request must be to take a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Require {
    /// Nothing: nobody is asked who they are.
    None,
    /// Nothing, but who it is made for is told if that is known.
    Optional,
    /// Made for somebody, whoever it is.
    Principal,
    /// Made for somebody of whom all of this holds.
    Of(Demand),
}

/// What must hold of somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// Each of these scopes was granted.
    pub scope: BTreeSet<String>,
    /// They have one of these roles; any if empty.
    pub role: BTreeSet<String>,
    /// Each of these claims has one of these values.
    pub claim: BTreeMap<ClaimPath, BTreeSet<String>>,
}

// === impl Auth ===

impl Auth {
    /// The most that clocks may differ.
    pub(crate) const MOST_LEEWAY: Duration = Duration::from_secs(60);
}

// === impl ApiKeys ===

impl ApiKeys {
    /// The header unless the manifest names another.
    pub const HEADER: &str = "x-api-key";

    /// Whether a header of this name, in lower case, reaches the gateway and means nothing else there.
    pub(crate) fn may_be_in(name: &str) -> bool {
        !matches!(name, "authorization" | "cookie" | "connection" | "content-length" | "transfer-encoding")
            && !name.starts_with("madang-")
            && !name.starts_with("x-forwarded-")
            && !matches!(name, "forwarded" | "x-real-ip")
            && !name.contains('_')
    }
}

// === impl ClaimPath ===

impl ClaimPath {
    /// Where an issuer names roles unless the manifest says otherwise.
    pub fn roles() -> Self {
        Self("roles".to_owned())
    }

    /// The names on the way.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

// === impl Demand ===

impl Demand {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.scope.is_empty() && self.role.is_empty() && self.claim.is_empty()
    }
}
