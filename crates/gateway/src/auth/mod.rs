//! Identity: for whom a request from outside is made.
//!
//! Map: [`Identity`] outlives every change of the manifest; a `guard` stands before each destination that asks. It reads
//! the `credential` of a request, finds it in the worker's `cache` or verifies it: an API key by `api_keys`, a token
//! (`jws`) by the key (`jwk`, `algorithm`) that its issuer's `keyring` has, within the client's `budget`, and its `claims`.
//! That gives `who` it is, of whom must hold what the route asks for, `sealed` for services to read, or says why not:
//! `denied`.

mod algorithm;
mod api_keys;
mod budget;
pub(crate) mod cache;
pub(crate) mod claims;
pub(crate) mod counted;
mod credential;
pub(crate) mod denied;
pub(crate) mod guard;
pub(crate) mod identity;
pub(crate) mod jwk;
pub(crate) mod jws;
pub(crate) mod keyring;
mod roca;
pub(crate) mod sealed;
#[cfg(any(test, madang_fuzzing))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod who;

pub use api_keys::ApiKey;
pub use counted::IdentityCounts;
pub use identity::Identity;
pub use keyring::KeySource;
