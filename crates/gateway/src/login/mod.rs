//! Browsers that log in at the gateway: the code flow of OpenID Connect with PKCE, and a session in a sealed cookie.
//!
//! Map: [`Login`] is what the manifest says, ready to be used; what outlives it is [`Lasting`]. A `visit` is a request that
//! the gateway answers itself, on the way in or out; it asks the issuer by a [`Provider`], whose `answers` it verifies. A
//! `session` is what a browser keeps in `cookies`; once its token has ended it is had anew by `renewal`. `origin` says what
//! a browser tells of where a request comes from.

mod answers;
mod cookies;
mod lasting;
pub(crate) mod origin;
pub(crate) mod page;
mod provider;
pub(crate) mod renewal;
mod session;
pub(crate) mod visit;

use std::{collections::BTreeSet, sync::Arc};

use http::{HeaderMap, HeaderValue, Method};
use madang_model::{ClaimPath, OwnIssuer};

pub use provider::{Ask, Provider, Reply};

pub(crate) use lasting::Lasting;
pub(crate) use session::{Person, Session};

use crate::auth::keyring::Keyring;

/// How browsers log in, as the manifest says.
pub(crate) struct Login {
    pub(crate) declared: madang_model::Login,
    pub(crate) lasting: Arc<Lasting>,
    /// The keys of whoever is asked.
    keyring: Arc<Keyring>,
    /// The claims that any route asks for.
    asked: BTreeSet<ClaimPath>,
    leeway: u64,
    /// What a cookie's name begins with: browsers take the one with `__Host-` for this very host only, over TLS.
    prefix: &'static str,
}

// === impl Login ===

impl Login {
    pub(crate) fn new(
        declared: madang_model::Login,
        lasting: Arc<Lasting>,
        keyring: Arc<Keyring>,
        asked: BTreeSet<ClaimPath>,
        leeway: u64,
    ) -> Self {
        let prefix = if declared.url.is_tls() { "__Host-" } else { "" };
        Self { declared, lasting, keyring, asked, leeway, prefix }
    }

    /// The text of the session that a request brings.
    pub(crate) fn session_text(&self, headers: &HeaderMap) -> Option<String> {
        cookies::read(headers, &self.session_cookie())
    }

    /// The session of this text, if it was sealed here and has not ended.
    pub(crate) fn session(&self, text: &str, now: u64) -> Option<Session> {
        let session: Session = self.lasting.seals.load().open(cookies::SESSION, text)?;
        (now < session.ends && !self.lasting.has_ended(&session.id)).then_some(session)
    }

    /// Whether a request may be made by a session that its browser sends along: whatever changes something comes from a
    /// page of this site.
    pub(crate) fn may(&self, method: &Method, headers: &HeaderMap) -> bool {
        method.is_safe() || origin::is_same(headers, &self.declared.url)
    }

    /// Takes what is the gateway's own out of a request.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        cookies::strip(headers, &format!("{}{}", self.prefix, cookies::OURS));
    }

    /// The cookies that keep a session; nothing if it is too large.
    fn keep(&self, session: &Session) -> Option<Vec<HeaderValue>> {
        let text = self.lasting.seals.load().seal(cookies::SESSION, session)?;
        let seconds = session.ends.saturating_sub(self.lasting.now());
        cookies::keep(&self.session_cookie(), &text, seconds, self.is_tls())
    }

    fn forget(&self, name: &str) -> Vec<HeaderValue> {
        cookies::forget(name, self.is_tls())
    }

    fn session_cookie(&self) -> String {
        format!("{}{}", self.prefix, cookies::SESSION)
    }

    fn is_tls(&self) -> bool {
        self.declared.url.is_tls()
    }

    fn client(&self) -> &str {
        self.declared.client.as_ref().map_or(OwnIssuer::GATEWAY, |(name, _)| name)
    }
}
