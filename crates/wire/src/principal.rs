//! Who a request is made for, as the gateway tells services: the header `madang-principal`.
//!
//! Its value is a JSON Web Token (RFC 7519) in compact form, signed with Ed25519 (RFC 8037) by the key of the system's
//! node; the keys that verify it are in the variable `MADANG_PRINCIPAL_KEYS` of each instance, as a JSON Web Key Set. The
//! token that the client sent is not in it, and nobody who calls from outside can set the header.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The variable of an instance that holds the keys, as a JSON Web Key Set (RFC 7517).
pub const KEYS: &str = "MADANG_PRINCIPAL_KEYS";

/// The media type in the header of the token, by which it cannot be taken for another kind of token.
pub const TYPE: &str = "madang-principal+jwt";

/// Who signs.
pub const ISSUER: &str = "madang";

/// What [`PrincipalClaims::from`] is of an API key; an issuer is a URL.
pub const FROM_KEY: &str = "key";

/// What [`PrincipalClaims::from`] is of a client's certificate, by which the gateway knows it.
pub const FROM_CERTIFICATE: &str = "certificate";

/// What the header says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrincipalClaims {
    /// Always [`ISSUER`].
    pub iss: String,
    /// Who it is: the issuer's name for them, `key:` and the name of an API key, or what a certificate names.
    pub sub: String,
    /// Who says so: the URL of the issuer, [`FROM_KEY`] or [`FROM_CERTIFICATE`].
    pub from: String,
    /// When it was signed, in seconds since 1970.
    pub iat: u64,
    /// When it is good for nothing any more, in seconds since 1970: minutes later.
    pub exp: u64,
    /// The scopes that were granted, with blanks between them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Their roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The claims that the manifest says services are told, by their paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Value>,
}
