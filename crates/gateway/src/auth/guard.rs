//! What stands before a route: it says for whom a request is made, or why it is not let in.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use http::{HeaderMap, HeaderName, Method};
use madang_model::{Auth, ClaimPath, Demand};

use crate::login::{Login, renewal::Renewing};

use super::{
    cache::Cache,
    claims::Claims,
    credential::Credential,
    denied::{Bad, Denied, Reason},
    identity::Shared,
    jws::Unverified,
    keyring::{Keyring, Looked, Waiting},
    sealed::{Sealed, VerifiedBy},
    who::Who,
};
use crate::tls::peer::Peer;

/// Who can say who a client is, as the manifest has it. One for a system, until the manifest says otherwise.
pub(crate) struct Gatekeeper {
    /// What it has verified is nothing to another.
    pub(crate) id: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) realm: Arc<str>,
    pub(crate) auth: Auth,
    /// The claims that any route asks for.
    pub(crate) asked: BTreeSet<ClaimPath>,
    /// The header of API keys, where they are taken.
    pub(crate) key_header: Option<HeaderName>,
    pub(crate) keyrings: BTreeMap<String, Arc<Keyring>>,
    /// How browsers log in, if they do.
    pub(crate) login: Option<Arc<Login>>,
}

/// What one destination asks for.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) gatekeeper: Arc<Gatekeeper>,
    pub(crate) demand: Demand,
    /// Whether a request may be nobody's.
    pub(crate) optional: bool,
}

/// Where a request comes from.
#[derive(Clone, Copy)]
pub(crate) struct Visitor<'a> {
    pub(crate) address: IpAddr,
    /// What the worker that serves it has verified.
    pub(crate) cache: &'a Mutex<Cache>,
    /// Whoever has shown a certificate.
    pub(crate) peer: Option<&'a Peer>,
}

/// Whether a request is let in.
pub(crate) enum Admission {
    As(Arc<Sealed>),
    /// It is nobody's, and may be.
    Nobody,
    Wait(Pause),
    Not(Denied),
}

/// What a request waits for.
pub(crate) enum Pause {
    /// The key of its token is being fetched.
    Key(Waiting),
    /// Its session is being had anew.
    Session(Arc<Login>, Renewing),
}

/// Who somebody is, or why that is not known.
enum Known {
    Found(Arc<Sealed>),
    Wait(Pause),
    Refused(Reason),
}

impl From<Looked<Arc<Sealed>>> for Known {
    fn from(looked: Looked<Arc<Sealed>>) -> Self {
        match looked {
            Looked::Found(known) => Self::Found(known),
            Looked::Wait(waiting) => Self::Wait(Pause::Key(waiting)),
            Looked::Refused(reason) => Self::Refused(reason),
        }
    }
}

// === impl Visitor ===

impl<'a> Visitor<'a> {
    fn cache(self) -> MutexGuard<'a, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Guard ===

impl Guard {
    /// Finds out for whom a request is, and takes what it said so by out of it. `last` is whether it has waited already.
    pub(crate) fn admit(
        &self,
        method: &Method,
        headers: &mut HeaderMap,
        visitor: Visitor<'_>,
        last: bool,
    ) -> Admission {
        let known = match self.gatekeeper.know(method, headers, visitor, last) {
            Known::Found(known) => known,
            Known::Wait(pause) => return Admission::Wait(pause),
            // What is not good is refused here too: whoever sends it means to be somebody.
            Known::Refused(Reason::Nobody) if self.optional => return Admission::Nobody,
            Known::Refused(reason) => return Admission::Not(self.denied(reason)),
        };
        if let Err(reason) = known.who.meets(&self.demand) {
            return Admission::Not(self.denied(reason));
        }
        Credential::strip(headers, self.gatekeeper.key_header.as_ref());
        Admission::As(known)
    }

    pub(crate) fn denied(&self, reason: Reason) -> Denied {
        let denied = Denied { realm: self.gatekeeper.realm.clone(), reason };
        self.gatekeeper.shared.counted.refused(&denied);
        denied
    }
}

// === impl Gatekeeper ===

impl Gatekeeper {
    fn know(&self, method: &Method, headers: &HeaderMap, visitor: Visitor<'_>, last: bool) -> Known {
        let credential = match Credential::of(headers, self.key_header.as_ref()) {
            Ok(Some(credential)) => credential,
            Ok(None) => {
                let known = self.by_session(method, headers, visitor, last);
                return match known {
                    Known::Refused(Reason::Nobody) => self.by_certificate(visitor.peer).into(),
                    known => known,
                };
            }
            Err(bad) => return Known::Refused(bad.into()),
        };
        let (now, by) = self.now();
        let known = visitor.cache().get(credential.0, |it| it.session.is_none() && it.holds(now, by));
        if let Some(known) = known {
            return Known::Found(known);
        }
        let verified = if credential.is_key() {
            self.by_key(credential.0, now)
        } else {
            self.by_token(credential.0, visitor.address, now, last)
        };
        let (who, ends) = match verified {
            Looked::Found(verified) => verified,
            Looked::Wait(waiting) => return Known::Wait(Pause::Key(waiting)),
            Looked::Refused(reason) => return Known::Refused(reason),
        };
        let Some(known) = self.shared.seal.seal(who, now, ends, by, None) else {
            return Known::Refused(Bad::TooLong.into());
        };
        visitor.cache().put(credential.0, known.clone());
        Known::Found(known)
    }

    /// Whoever has a session. A browser with one that is not good is nobody's: it can log in again.
    fn by_session(&self, method: &Method, headers: &HeaderMap, visitor: Visitor<'_>, last: bool) -> Known {
        let nobody = Known::Refused(Reason::Nobody);
        let Some(login) = &self.login else { return nobody };
        let Some(text) = login.session_text(headers) else { return nobody };
        if !login.may(method, headers) {
            return Known::Refused(Reason::Forged);
        }
        let (now, by) = self.now();
        let goes_on = |it: &Sealed| it.session.as_ref().is_some_and(|id| !login.lasting.has_ended(id));
        if let Some(known) = visitor.cache().get(&text, |it| it.holds(now, by) && goes_on(it)) {
            return Known::Found(known);
        }
        let Some(session) = login.session(&text, now) else { return nobody };
        if session.fresh <= now {
            if session.refresh.is_none() || last {
                return nobody;
            }
            return match login.renew(&text, session) {
                Some(renewing) => Known::Wait(Pause::Session(login.clone(), renewing)),
                None => Known::Refused(Reason::NoIssuer),
            };
        }
        let (who, ends) = (Who::of_session(session.who), session.fresh.min(session.ends));
        let Some(known) = self.shared.seal.seal(who, now, ends, by, Some(&session.id)) else {
            return Known::Refused(Bad::TooLong.into());
        };
        visitor.cache().put(&text, known.clone());
        Known::Found(known)
    }

    fn now(&self) -> (u64, VerifiedBy) {
        let by = VerifiedBy { gatekeeper: self.id, generation: self.shared.generation.load(Relaxed) };
        ((self.shared.clock)(), by)
    }

    /// Who a client is by its certificate, which the handshake has verified; remembered with the connection.
    fn by_certificate(&self, peer: Option<&Peer>) -> Looked<Arc<Sealed>> {
        let Some(peer) = peer.filter(|_| self.auth.certificates) else {
            return Looked::Refused(Reason::Nobody);
        };
        let now = (self.shared.clock)();
        let by = VerifiedBy { gatekeeper: self.id, generation: self.shared.generation.load(Relaxed) };
        let mut known = peer.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|sealed| sealed.holds(now, by)) {
            return Looked::Found(known.clone());
        }
        if now >= peer.ends {
            return Looked::Refused(Bad::Certificate.into());
        }
        let Some(sealed) = self.shared.seal.seal(Who::of_peer(peer, &self.asked), now, peer.ends, by, None)
        else {
            return Looked::Refused(Bad::TooLong.into());
        };
        *known = Some(sealed.clone());
        Looked::Found(sealed)
    }

    fn by_key(&self, text: &str, now: u64) -> Looked<(Who, u64)> {
        if self.key_header.is_none() {
            return Looked::Refused(Bad::ApiKey.into());
        }
        match self.shared.api_keys.load().find(text, now) {
            Ok(key) => Looked::Found((Who::of_key(key), key.expires.unwrap_or(u64::MAX))),
            Err(bad) => Looked::Refused(bad.into()),
        }
    }

    fn by_token(&self, text: &str, client: IpAddr, now: u64, last: bool) -> Looked<(Who, u64)> {
        let leeway = self.auth.leeway.as_secs();
        // All that costs little comes before the signature, so that only a token that would be good costs more.
        let read = || {
            let token = Unverified::read(text)?;
            let claims = Claims(token.claims()?);
            let keyring = self.keyrings.get(claims.issuer()?).ok_or(Bad::Issuer)?;
            let ends = claims.check(&keyring.issuer, now, leeway)?;
            Ok::<_, Bad>((token, claims, keyring, ends))
        };
        let (token, claims, keyring, ends) = match read() {
            Ok(read) => read,
            Err(bad) => return Looked::Refused(bad.into()),
        };
        keyring.look(&token, last, |key| {
            let budget = &self.shared.budget;
            budget.check(client).map_err(|retry_after| Reason::TooMany { retry_after })?;
            if !key.signed(&token) {
                budget.charge(client);
                return Err(Bad::Signature.into());
            }
            let who = Who::of_token(&keyring.issuer, &claims, &self.asked)?;
            Ok((who, ends.saturating_add(leeway)))
        })
    }
}
