//! Codes, which somebody's browser carries back from the log-in and the client turns into tokens, once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use madang_wire::login::Person;

use crate::random;

/// How long a code is good, and how long after that it is noticed if it comes again, in seconds.
const LASTS: u64 = 60;
const REMEMBERED: u64 = 600;

/// How many there may be.
const MOST: usize = 10_000;

/// The codes. They end with the process: whoever was between two pages logs in again.
#[derive(Default)]
pub(crate) struct Codes {
    by_hash: Mutex<HashMap<[u8; 32], Handed>>,
}

/// What a code stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Code {
    pub(crate) client: String,
    pub(crate) redirect: String,
    pub(crate) challenge: String,
    pub(crate) nonce: Option<String>,
    pub(crate) scope: BTreeSet<String>,
    pub(crate) person: Person,
    /// When they logged in, in seconds since 1970.
    pub(crate) at: u64,
}

struct Handed {
    code: Option<Code>,
    at: u64,
    /// The family of the tokens that it gave.
    family: String,
    /// Whether it came again.
    again: bool,
}

/// What came of a code.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// It is good, and what it gives is of this family.
    Once(Box<Code>, String),
    /// It came before: what it gave then is to end.
    Again(String),
    Unknown,
}

// === impl Codes ===

impl Codes {
    /// Hands one out; none, if there are as many as there may be or no randomness.
    pub(crate) fn hand_out(&self, code: Code, now: u64) -> Option<String> {
        let (text, family) = (random::text().ok()?, random::text().ok()?);
        let mut codes = self.lock();
        if codes.len() >= MOST {
            codes.retain(|_, handed| handed.at + REMEMBERED > now);
        }
        if codes.len() >= MOST {
            return None;
        }
        codes.insert(random::hash(&text), Handed { code: Some(code), at: now, family, again: false });
        Some(text)
    }

    /// Takes one, whoever brings it: it is good for nothing after that.
    pub(crate) fn take(&self, text: &str, now: u64) -> Taken {
        let mut codes = self.lock();
        // Looked up by its hash, so that how long it takes says nothing of the text.
        let Some(handed) = codes.get_mut(&random::hash(text)) else { return Taken::Unknown };
        match handed.code.take() {
            Some(_) if handed.at + LASTS <= now => Taken::Unknown,
            Some(code) => Taken::Once(Box::new(code), handed.family.clone()),
            None => {
                handed.again = true;
                Taken::Again(handed.family.clone())
            }
        }
    }

    /// Whether one came again that was taken, while tokens were made of it.
    pub(crate) fn came_again(&self, text: &str) -> bool {
        self.lock().get(&random::hash(text)).is_some_and(|handed| handed.again)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Handed>> {
        self.by_hash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> Code {
        Code {
            client: "app".to_owned(),
            redirect: "http://127.0.0.1/back".to_owned(),
            challenge: "c".to_owned(),
            nonce: None,
            scope: BTreeSet::new(),
            person: Person { subject: "1".to_owned(), claims: serde_json::Map::new() },
            at: 5,
        }
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute() {
        let codes = Codes::default();
        let text = codes.hand_out(code(), 100).unwrap();
        let Taken::Once(taken, family) = codes.take(&text, 100 + LASTS - 1) else { panic!("it is good") };
        assert!(*taken == code() && !codes.came_again(&text));
        assert_eq!(codes.take(&text, 101), Taken::Again(family));
        assert!(codes.came_again(&text));
        let late = codes.hand_out(code(), 100).unwrap();
        assert_eq!(codes.take(&late, 100 + LASTS), Taken::Unknown);
        assert_eq!(codes.take("made up", 100), Taken::Unknown);
    }

    #[test]
    fn nothing_grows() {
        let codes = Codes::default();
        for _ in 0..MOST {
            assert!(codes.hand_out(code(), 100).is_some());
        }
        assert!(codes.hand_out(code(), 100 + REMEMBERED - 1).is_none(), "the rest have to wait");
        assert!(codes.hand_out(code(), 100 + REMEMBERED).is_some());
        assert_eq!(codes.lock().len(), 1);
    }
}
