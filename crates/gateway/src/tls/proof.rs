//! What an authority on the network is shown so that it sees that a host is this gateway's: by a connection over TLS
//! (RFC 8737), or by a request in plain (RFC 8555, section 8.3).

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use super::Unusable;

/// The protocol of a connection by which an authority looks whose a host is.
pub(crate) const ACME: &[u8] = b"acme-tls/1";

/// Below it are the proofs in plain.
const PLACE: &str = "/.well-known/acme-challenge/";

/// That one host is this gateway's.
pub enum Proof {
    /// To who connects over TLS and asks for this host and for nothing but proof.
    OverTls {
        /// The host, in lower case.
        host: String,
        /// A certificate that says what is to be proven, and is good for nothing else; DER.
        certificate: Vec<u8>,
        /// Its key, as PKCS #8; DER.
        key: Vec<u8>,
    },
    /// To who asks for this in plain, of whatever host.
    InPlain {
        /// The last part of the path.
        token: String,
        /// What is answered.
        answer: String,
    },
}

/// What is proven now. Cloning it is cheap and gives the same ones.
#[derive(Clone, Default)]
pub(crate) struct Proofs(Arc<Kept>);

#[derive(Default)]
struct Kept {
    /// Looked at by handshakes and requests for proof alone.
    shown: ArcSwap<Vec<Shown>>,
    /// Held while `shown` is replaced.
    changing: Mutex<u64>,
}

#[derive(Clone)]
struct Shown {
    /// Of which [`Proving`] it is.
    of: u64,
    proof: Ready,
}

#[derive(Clone)]
enum Ready {
    OverTls(String, Arc<CertifiedKey>),
    InPlain(String, Arc<str>),
}

/// Proofs are shown as long as it lives.
#[must_use]
pub struct Proving {
    proofs: Proofs,
    number: u64,
}

// === impl Proofs ===

impl Proofs {
    /// Shows these too.
    pub(super) fn show(&self, proofs: Vec<Proof>) -> Result<Proving, Unusable> {
        let ready = proofs.into_iter().map(Ready::of).collect::<Result<Vec<_>, _>>()?;
        let mut last = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        let number = *last;
        let new = ready.into_iter().map(|proof| Shown { of: number, proof });
        let all = self.0.shown.load().iter().cloned().chain(new).collect();
        self.0.shown.store(Arc::new(all));
        Ok(Proving { proofs: self.clone(), number })
    }

    /// What is shown over TLS about a host.
    pub(super) fn certificate(&self, asked: &str) -> Option<Arc<CertifiedKey>> {
        self.0.shown.load().iter().find_map(|shown| match &shown.proof {
            Ready::OverTls(host, key) if host.eq_ignore_ascii_case(asked) => Some(key.clone()),
            Ready::OverTls(..) | Ready::InPlain(..) => None,
        })
    }

    /// What is answered in plain at a path, if it is one for proof.
    pub(crate) fn answer(&self, path: &str) -> Option<Arc<str>> {
        let asked = path.strip_prefix(PLACE)?;
        self.0.shown.load().iter().find_map(|shown| match &shown.proof {
            Ready::InPlain(token, answer) if token == asked => Some(answer.clone()),
            Ready::InPlain(..) | Ready::OverTls(..) => None,
        })
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proofs").finish_non_exhaustive()
    }
}

impl Ready {
    fn of(proof: Proof) -> Result<Self, Unusable> {
        Ok(match proof {
            Proof::InPlain { token, answer } => Self::InPlain(token, answer.into()),
            Proof::OverTls { host, certificate, key } => {
                let provider = rustls::crypto::ring::default_provider();
                let key = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key.into()))?;
                // Not looked at: it must say what no other verifier of certificates understands.
                Self::OverTls(host, Arc::new(CertifiedKey::new(vec![CertificateDer::from(certificate)], key)))
            }
        })
    }
}

// === impl Proving ===

impl Drop for Proving {
    fn drop(&mut self) {
        let kept = &self.proofs.0;
        let _changing = kept.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = kept.shown.load().iter().filter(|shown| shown.of != self.number).cloned().collect();
        kept.shown.store(Arc::new(rest));
    }
}

impl fmt::Debug for Proving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proving").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_plain(token: &str, answer: &str) -> Proof {
        Proof::InPlain { token: token.to_owned(), answer: answer.to_owned() }
    }

    #[test]
    fn a_proof_is_shown_as_long_as_it_is_wanted() {
        let proofs = Proofs::default();
        let at = |path: &str| proofs.answer(path).map(|answer| answer.to_string());
        let first = proofs.show(vec![in_plain("a", "1")]).unwrap();
        let second = proofs.show(vec![in_plain("b", "2"), in_plain("c", "3")]).unwrap();
        assert_eq!(at("/.well-known/acme-challenge/a").as_deref(), Some("1"));
        assert_eq!(at("/.well-known/acme-challenge/c").as_deref(), Some("3"));
        drop(second);
        for none in ["/.well-known/acme-challenge/b", "/.well-known/acme-challenge/", "/a", "a"] {
            assert_eq!(at(none), None, "{none}");
        }
        assert_eq!(at("/.well-known/acme-challenge/a").as_deref(), Some("1"));
        drop(first);
        assert_eq!(at("/.well-known/acme-challenge/a"), None);
    }
}
