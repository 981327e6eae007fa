//! An issuer of tokens for development: OAuth 2.0 as its best current practice has it (RFC 6749, 7636, 9700) and OpenID
//! Connect, so that a system can log people in before there is an identity product.
//!
//! Whoever runs it says who may ask for tokens ([`Settings`]) and checks passwords ([`Users`]). Knows nothing of the
//! gateway, of processes or of how services are reached; nobody is known here but by their name.
//!
//! Map: [`Issuer`] is the engine; `http` its endpoints, a file each, over `parameters`, `client` (who asks) and `refused`
//! (what they are told); `tickets` and `guesses` guard the log-in form that `pages` shows; `codes` are handed out once,
//! `families` are refresh tokens that follow each other, and `tokens` are signed by `keys`.

mod client;
mod codes;
mod families;
mod guesses;
mod http;
mod issuer;
mod keys;
mod pages;
mod parameters;
mod random;
mod refused;
mod settings;
mod tickets;
mod tokens;

pub use issuer::{Clock, Error, Issuer};
pub use settings::{Client, Settings};

use futures_util::future::BoxFuture;
use madang_wire::login::{Attempt, Person};

/// Who knows people and their passwords.
pub trait Users: Send + Sync {
    /// Whoever has this name and password; nobody, if the two do not belong together. An error says why that cannot be
    /// found out, for the log.
    fn check(&self, attempt: Attempt) -> BoxFuture<'_, Result<Option<Person>, String>>;
}
