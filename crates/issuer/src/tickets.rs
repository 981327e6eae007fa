//! What a log-in form holds of the request that led to it: sealed, so that nothing is kept for somebody who only looks, and
//! tied to the browser that was shown it, so that no other page can send it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::random;

/// How long a form is good, in seconds.
const LASTS: u64 = 900;

/// Seals tickets, by a key that ends with the process.
pub(crate) struct Tickets {
    key: LessSafeKey,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) client: String,
    pub(crate) redirect: String,
    pub(crate) state: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) scope: BTreeSet<String>,
    pub(crate) challenge: String,
}

#[derive(Serialize, Deserialize)]
struct Ticket {
    asked: Asked,
    /// The hash of what the browser's cookie has.
    browser: [u8; 32],
    ends: u64,
}

// === impl Tickets ===

impl Tickets {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|_| getrandom::Error::UNSUPPORTED)?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// A ticket for a browser whose cookie has this.
    pub(crate) fn seal(&self, asked: &Asked, browser: &str, now: u64) -> Option<String> {
        let ticket = Ticket { asked: asked.clone(), browser: random::hash(browser), ends: now + LASTS };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut sealed = serde_json::to_vec(&ticket).ok()?;
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(unique, Aad::empty(), &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// What was asked for, if this is a ticket of ours, for this browser, and has not ended.
    pub(crate) fn open(&self, text: &str, browser: &str, now: u64) -> Option<Asked> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        let Ticket { asked, browser: shown, ends } = serde_json::from_slice(opened).ok()?;
        (random::same(&shown, &random::hash(browser)) && now < ends).then_some(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_in_the_browser_that_was_shown_it_until_it_ends() {
        let tickets = Tickets::new().unwrap();
        let asked = Asked {
            client: "app".to_owned(),
            redirect: "http://127.0.0.1/back".to_owned(),
            state: Some("s".to_owned()),
            nonce: None,
            scope: ["openid".to_owned()].into(),
            challenge: "c".to_owned(),
        };
        let text = tickets.seal(&asked, "cookie", 100).unwrap();
        assert_eq!(tickets.open(&text, "cookie", 100 + LASTS - 1), Some(asked));
        assert_eq!(tickets.open(&text, "another", 100), None);
        assert_eq!(tickets.open(&text, "cookie", 100 + LASTS), None);
        let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        bytes[NONCE_LEN + 3] ^= 1;
        assert_eq!(tickets.open(&URL_SAFE_NO_PAD.encode(bytes), "cookie", 100), None);
        assert_eq!(Tickets::new().unwrap().open(&text, "cookie", 100), None);
        assert_eq!(tickets.open("", "", 100), None);
    }
}
