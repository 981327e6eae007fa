//! How the built-in issuer asks a service whether somebody is who they say: a `POST` of an [`Attempt`] to [`PATH`], which
//! the service answers with 200 and a [`Person`], or with 401.
//!
//! A service takes as long over a name that it does not know as over a wrong password, so that nobody finds out who is
//! known. How often somebody may try is the issuer's concern; the gateway leads nobody to the path.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a service is asked.
pub const PATH: &str = "/madang/login";

/// What somebody typed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The name by which they log in.
    pub login: String,
    /// The password.
    pub password: String,
}

/// Whoever has that name and password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// What stays when everything else of them changes: up to 256 bytes.
    pub subject: String,
    /// What tokens say of them besides, such as `name` and `roles`: up to 2048 bytes of JSON.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("login", &self.login).finish_non_exhaustive()
    }
}
